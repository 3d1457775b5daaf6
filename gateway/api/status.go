package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

// Status is the gateway's state at one moment. Counters count since the first
// start after the shared memory was made and never go back.
type Status struct {
	Ready       bool                   `json:"ready" doc:"both ports are open and packets are forwarded"`
	Degraded    []string               `json:"degraded" nullable:"false" doc:"what does not work, and why; empty when all does"`
	Ports       Ports                  `json:"ports"`
	Sessions    map[sessions.State]int `json:"sessions" doc:"how many sessions of the devices seen lately are in each state: all that run or are paused, and some of the others"`
	Clients     Clients                `json:"clients"`
	NAT         NAT                    `json:"nat"`
	Lease       *Lease                 `json:"lease,omitempty" doc:"of the WAN's address; absent unless it comes by DHCP"`
	Drops       map[string]uint64      `json:"drops" doc:"packets dropped, by reason"`
	BilledBytes uint64                 `json:"billed_bytes" doc:"layer-3 bytes billed to sessions, both directions"`
	ExemptBytes uint64                 `json:"exempt_bytes" doc:"layer-3 bytes forwarded for the box itself, billed to nobody"`
	Version     string                 `json:"version"`
	UptimeSecs  uint64                 `json:"uptime_secs"`
	Processes   []Process              `json:"processes" nullable:"false"`
	Config      ConfigState            `json:"config"`
}

// Ports are the gateway's three: towards the clients, towards the internet, and
// towards the box itself.
type Ports struct {
	LAN  Port `json:"lan"`
	WAN  Port `json:"wan"`
	Host Port `json:"host"`
}

// Port is one port and its counters. rx is what the gateway received on it,
// bytes are layer-3 bytes.
type Port struct {
	Name      string `json:"name" doc:"the interface's or TAP device's name; empty when the port is not open"`
	MAC       string `json:"mac" doc:"the gateway's own"`
	Up        bool   `json:"up" doc:"it is there, set up and has a link"`
	MTU       int    `json:"mtu" doc:"bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	Refused   uint64 `json:"refused" doc:"packets the kernel did not take"`
	Overflow  uint64 `json:"overflow" doc:"packets the kernel dropped before the gateway could read them"`
}

// Clients counts those on the packet path.
type Clients struct {
	Bound     int `json:"bound" doc:"clients whose address is known"`
	Connected int `json:"connected" doc:"clients whose packets pass"`
}

// NAT counts the translations in use.
type NAT struct {
	Mappings  int          `json:"mappings" doc:"external ports in use"`
	Flows     int          `json:"flows" doc:"conversations on them"`
	Addresses []NATAddress `json:"addresses" nullable:"false" doc:"the gateway's own on the WAN, which the clients share; the first is that of its own traffic"`
}

// NATAddress is one of the gateway's own on the WAN.
type NATAddress struct {
	Address  string `json:"address"`
	Mappings int    `json:"mappings" doc:"ports of it in use, as of at most 100 ms ago"`
}

// Lease is what the gateway has of a DHCP server on the WAN (RFC 2131). Without an
// address it has none.
type Lease struct {
	State   string     `json:"state" doc:"what its client does"`
	Address string     `json:"address" doc:"with the prefix length; empty: none"`
	Router  string     `json:"router" doc:"empty: the server names none"`
	Server  string     `json:"server"`
	DNS     []string   `json:"dns" nullable:"false" doc:"name servers"`
	Since   *time.Time `json:"since,omitempty" doc:"when it was last given"`
	Renews  *time.Time `json:"renews,omitempty" doc:"when more time is asked for; absent: it has no end"`
	Ends    *time.Time `json:"ends,omitempty" doc:"absent: it has no end"`
	Trouble string     `json:"trouble" doc:"what is wrong; empty: nothing is"`
}

// Process is one of gatewayd's own.
type Process struct {
	Name     string `json:"name" doc:"keeper, forward, control or store"`
	PID      int    `json:"pid" doc:"0 while it is away"`
	Restarts int    `json:"restarts" doc:"how often it was started again"`
}

func registerStatus(api huma.API, status func(context.Context) Status) {
	type answer struct{ Body Status }
	huma.Register(api, operation("get-status", http.MethodGet, "/status", "The gateway's state"),
		func(ctx context.Context, _ *struct{}) (*answer, error) {
			s := status(ctx)
			if s.Degraded == nil {
				s.Degraded = []string{}
			}
			if s.NAT.Addresses == nil {
				s.NAT.Addresses = []NATAddress{}
			}
			if s.Processes == nil {
				s.Processes = []Process{}
			}
			if s.Config.NeedsRestart == nil {
				s.Config.NeedsRestart = []string{}
			}
			if s.Sessions == nil {
				s.Sessions = map[sessions.State]int{}
			}
			if s.Drops == nil {
				s.Drops = map[string]uint64{}
			}
			return &answer{s}, nil
		})
}
