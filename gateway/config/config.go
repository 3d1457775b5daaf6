package config

import (
	"cmp"
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// DefaultPath is the file that is read when none is named.
const DefaultPath = "/etc/gatewayd/gatewayd.yaml"

// The modes.
const (
	ModeRoute  = "route"  // NAT44 between two networks
	ModeBridge = "bridge" // transparent: one network on both sides
)

// Example is a commented file that names every key. Its ports and its WAN
// addresses are placeholders; everything else is the default.
//
//go:embed example.yaml
var Example []byte

// Config is everything a person decides about one gateway. It is plain values:
// it can be built in Go from Default, compared, and carried as JSON. Rates are
// in JSON as bits per second, durations as nanoseconds, sizes as bytes.
type Config struct {
	Mode      string    `json:"mode"`    // ModeRoute or ModeBridge
	Workers   int       `json:"workers"` // threads that forward, 1 to 16; 0: as many as there are cores
	LAN       LAN       `json:"lan"`
	WAN       WAN       `json:"wan"`
	Host      Host      `json:"host"`
	NAT       NAT       `json:"nat"`
	Forwards  []Forward `json:"forwards"` // ports of the WAN that lead inside, at most 256
	Bandwidth Bandwidth `json:"bandwidth"`
	Sessions  Sessions  `json:"sessions"`
	Store     Store     `json:"store"`
	API       API       `json:"api"`
	Metrics   Metrics   `json:"metrics"`
	Log       Log       `json:"log"`
	Limits    Limits    `json:"limits"`
	Kernel    Kernel    `json:"kernel"`
}

// LAN is the side of the clients. Its port is an interface or a TAP, one of both.
type LAN struct {
	Interface string       `json:"interface"` // an Ethernet port's name
	TAP       string       `json:"tap"`       // the name of a TAP device that gatewayd makes
	Address   netip.Prefix `json:"address"`   // the gateway's own address and the clients' prefix, IPv4, /8 to /30
}

// WAN is the side of the internet. Neither address can be guessed, so in ModeRoute both
// are required, or come by DHCP. In ModeBridge there are no Addresses, and Gateway is for what the box
// itself has to say (Host.DefaultRoute) and hear (Sessions.PauseOnSilentGateway).
// The clients share all of the gateway's own addresses; each client has one at a time.
type WAN struct {
	Interface string `json:"interface"` // an Ethernet port's name, or else
	TAP       string `json:"tap"`       // the name of a TAP device that gatewayd makes
	// Addresses are the gateway's own; required.
	Addresses Addresses  `json:"address"`
	Gateway   netip.Addr `json:"gateway"` // the next router, inside their prefix; required unless it comes by DHCP
}

// Addresses are the gateway's own on the WAN: what comes by DHCP, or what the list has.
type Addresses struct {
	DHCP bool `json:"dhcp"` // one address, its prefix and the next router come by DHCP (RFC 2131); List must be empty
	// List is IPv4, /8 to /31 (RFC 3021), at most 16, all different and of one prefix;
	// the gateway's own traffic comes from the first.
	List []netip.Prefix `json:"list"`
}

// Bridges says whether the mode is ModeBridge.
func (c *Config) Bridges() bool { return c.Mode == ModeBridge }

// Port is the name of the interface or TAP device.
func (l LAN) Port() string { return cmp.Or(l.Interface, l.TAP) }

// Port is the name of the interface or TAP device.
func (w WAN) Port() string { return cmp.Or(w.Interface, w.TAP) }

// ByDHCP says whether the address and the next router come by DHCP.
func (w WAN) ByDHCP() bool { return w.Addresses.DHCP }

// Address is the first of the list; the zero Prefix if there is none.
func (w WAN) Address() (first netip.Prefix) {
	if len(w.Addresses.List) > 0 {
		first = w.Addresses.List[0]
	}
	return first
}

// has says whether an address is in the list.
func (w WAN) has(a netip.Addr) bool {
	return slices.ContainsFunc(w.Addresses.List, func(p netip.Prefix) bool { return p.Addr() == a })
}

// Own is the list without the prefix.
func (w WAN) Own() (own []netip.Addr) {
	for _, p := range w.Addresses.List {
		own = append(own, p.Addr())
	}
	return own
}

// HostLink is the name of the box's own way to the clients, a device that
// gatewayd makes.
const HostLink = "gw-host"

// Host is what the box itself does beside forwarding.
type Host struct {
	DefaultRoute bool  `json:"default_route"` // the box's own traffic leaves through gatewayd
	Ports        Ports `json:"ports"`         // what clients may reach on the box
}

// NAT is how the clients' addresses are translated.
type NAT struct {
	// Filtering is whom a client's WAN port lets in once the client has sent from
	// it: FilterEndpoint, FilterAddress or FilterAddressPort.
	Filtering string `json:"filtering"`
}

// The kinds of filtering of RFC 4787, section 5, strictest last.
const (
	FilterEndpoint    = "endpoint-independent" // everybody
	FilterAddress     = "address"              // the addresses that the client has sent to
	FilterAddressPort = "address-and-port"     // the addresses and ports that the client has sent to
)

// Bandwidth holds speeds shared by more than one session.
type Bandwidth struct {
	Total  Speed `json:"total"`  // of all clients together
	Global Speed `json:"global"` // of each session that uses the global speed
}

// Speed is a pair of rates as the client sees them; 0 is unlimited.
type Speed struct {
	Down Rate `json:"down"` // towards the client
	Up   Rate `json:"up"`   // from the client
}

// Sessions is how sessions behave over a restart, and how long is known what they did.
type Sessions struct {
	ResumeOnRestart bool          `json:"resume_on_restart"` // what ran before a restart runs again after it
	LedgerKeep      time.Duration `json:"ledger_keep"`       // how long a session's ledger is kept after its end, 1h to 3650d
	// IdlePause is after how long without a packet of its client a session is
	// paused until the next one, 1s to 7d; 0: never.
	IdlePause time.Duration `json:"idle_pause"`
	// PauseOnCarrierLoss has sessions with time paused while the WAN port has no
	// carrier, PauseOnSilentGateway while wan.gateway is silent for so long, 5s to
	// 1h; 0: never.
	PauseOnCarrierLoss   bool          `json:"pause_on_carrier_loss"`
	PauseOnSilentGateway time.Duration `json:"pause_on_silent_gateway"`
}

// Store is where sessions are kept.
type Store struct {
	Path       string        `json:"path"`       // an absolute directory of its own
	Checkpoint time.Duration `json:"checkpoint"` // between two writes of what running sessions have used, 1s to 10m
}

// API is where the daemon answers.
type API struct {
	Socket string `json:"socket"` // absolute path of a Unix socket, at most 107 bytes; who may open it may administer
}

// Metrics is where counters are served for Prometheus.
type Metrics struct {
	Listen string `json:"listen"` // address and TCP port; empty: nowhere
}

// Log is what is written to standard error.
type Log struct {
	Level  string `json:"level"`  // debug, info, warn or error
	Format string `json:"format"` // text or json
}

// Limits size the tables, which are made once at start.
type Limits struct {
	Clients        int  `json:"clients"`          // devices known at once, 1 to 16384
	NATFlows       int  `json:"nat_flows"`        // translations held at once, 64 to 1048576
	FlowsPerClient int  `json:"flows_per_client"` // of them, one client's at most
	PortsPerClient int  `json:"ports_per_client"` // WAN ports one client may hold, 1 to 64512
	QueueMemory    Size `json:"queue_memory"`     // bytes of what waits for its rate, all clients together, 1 MB to 1 GB
}

// Kernel is how gatewayd gets on with the kernel.
type Kernel struct {
	// Without are the features to be done without even where the kernel has
	// them, as is done where it has them not: TCX and the like.
	Without []string `json:"without,omitempty"`
}

// What gatewayd does without where the kernel does not have it.
const (
	TCX          = "tcx"           // ingress programs, Linux 6.6; else clsact and cls_bpf
	Ring         = "ring"          // a port's receive ring; else a system call for each batch
	TransmitRing = "transmit_ring" // a port's transmit ring; else a system call and a message for each frame
	Joining      = "joining"       // packets of a flow leave as one super-packet, of UDP since Linux 6.2; else one by one
	TapUDP       = "tap_udp"       // UDP super-packets on TAPs, Linux 6.2; else the kernel cuts them
	Landlock     = "landlock"      // Linux 5.19; else the store is held by its user and its system calls only
)

// Lacks says whether a feature is to be done without.
func (k Kernel) Lacks(feature string) bool { return slices.Contains(k.Without, feature) }

// Default returns every key's default. The ports and the WAN addresses have
// none and are empty: Check refuses them until they are set.
func Default() Config {
	return Config{
		Mode:      ModeRoute,
		Workers:   1,
		LAN:       LAN{Address: netip.MustParsePrefix("10.10.0.1/16")},
		Host:      Host{Ports: Ports{All: true}},
		NAT:       NAT{Filtering: FilterAddress},
		Bandwidth: Bandwidth{Global: Speed{Down: 10 * Mbit, Up: 10 * Mbit}},
		Sessions:  Sessions{ResumeOnRestart: true, LedgerKeep: 90 * day, PauseOnCarrierLoss: true, PauseOnSilentGateway: 10 * time.Second},
		Store:     Store{Path: "/var/lib/gatewayd", Checkpoint: 5 * time.Second},
		API:       API{Socket: "/run/gatewayd/gatewayd.sock"},
		Metrics:   Metrics{Listen: "127.0.0.1:9464"},
		Log:       Log{Level: "info", Format: "text"},
		Limits:    Limits{Clients: 4096, NATFlows: 262144, FlowsPerClient: 4096, PortsPerClient: 1024, QueueMemory: 32 * MB},
	}
}

// Warnings returns what is allowed but likely to surprise, one sentence each
// with its key and the remedy. It expects a Config that passes Check.
func (c *Config) Warnings() []string {
	var warnings []string
	if c.Host.Ports.All {
		warnings = append(warnings, "host.ports: all: there is no firewall, so every client, paid or not, reaches every port "+
			"that listens on this box, sshd included; set host.ports to none, or to a list such as [tcp/80, udp/53]")
	}
	if a, err := netip.ParseAddrPort(c.Metrics.Listen); err == nil && (a.Addr().IsUnspecified() || a.Addr().Unmap() == c.LAN.Address.Addr()) &&
		c.Host.Ports.Open("tcp", a.Port()) {
		warnings = append(warnings, fmt.Sprintf("metrics.listen: every client can read %s; set metrics.listen to an address such as %s",
			c.Metrics.Listen, Default().Metrics.Listen))
	}
	if !c.Bridges() && !isShared(c.LAN.Address) {
		warnings = append(warnings, fmt.Sprintf("lan.address: %v is not a private prefix (RFC 1918), so clients cannot reach "+
			"the real owners of those addresses; use one such as 10.10.0.1/16", c.LAN.Address))
	}
	if len(c.Kernel.Without) > 0 {
		warnings = append(warnings, fmt.Sprintf("kernel.without: what this kernel has of %s is not used; remove it unless you look for a fault",
			strings.Join(c.Kernel.Without, ", ")))
	}
	return warnings
}
