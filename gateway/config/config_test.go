package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// usual is Default with the ports and addresses of sides and of the example.
func usual() Config {
	c := Default()
	c.LAN.Interface = "eth1"
	c.WAN = WAN{
		Interface: "eth0",
		Addresses: Addresses{List: prefixes("203.0.113.2/24")},
		Gateway:   netip.MustParseAddr("203.0.113.1"),
	}
	return c
}

func TestDefaultIsTheContract(t *testing.T) {
	want := Config{
		Mode:      "route",
		Workers:   1,
		LAN:       LAN{Address: netip.MustParsePrefix("10.10.0.1/16")},
		Host:      Host{DefaultRoute: false, Ports: Ports{All: true}},
		NAT:       NAT{Filtering: "address"},
		Bandwidth: Bandwidth{Global: Speed{Down: 10_000_000, Up: 10_000_000}},
		Sessions:  Sessions{ResumeOnRestart: true, LedgerKeep: 90 * 24 * time.Hour, PauseOnCarrierLoss: true, PauseOnSilentGateway: 10 * time.Second},
		Store:     Store{Path: "/var/lib/gatewayd", Checkpoint: 5 * time.Second},
		API:       API{Socket: "/run/gatewayd/gatewayd.sock"},
		Metrics:   Metrics{Listen: "127.0.0.1:9464"},
		Log:       Log{Level: "info", Format: "text"},
		Limits:    Limits{Clients: 4096, NATFlows: 262144, FlowsPerClient: 4096, PortsPerClient: 1024, QueueMemory: 32_000_000},
	}
	if got := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if DefaultPath != "/etc/gatewayd/gatewayd.yaml" {
		t.Errorf("DefaultPath is %s", DefaultPath)
	}
}

func TestEveryKeyReachesItsField(t *testing.T) {
	const text = `
mode: route
workers: 3
lan: {interface: enp1s0, address: 192.168.7.1/24}
wan: {interface: enp2s0, address: 100.64.3.3/31, gateway: 100.64.3.2}
host: {default_route: true, ports: [tcp/80, udp/53, tcp/8000-8010]}
nat: {filtering: address-and-port}
bandwidth: {total: {down: 2 Gbit, up: 64 kbit}, global: {down: 1.5 Gbit, up: 500 kbit}}
sessions: {resume_on_restart: false, ledger_keep: 30d, idle_pause: 10m, pause_on_carrier_loss: false, pause_on_silent_gateway: 30s}
store: {path: /srv/gw, checkpoint: 1m30s}
api: {socket: /tmp/gw.sock}
metrics: {listen: "[::1]:9000"}
log: {level: debug, format: json}
limits: {clients: 16384, nat_flows: 1048576, flows_per_client: 1048576, ports_per_client: 64512, queue_memory: 64 MiB}
`
	want := Config{
		Mode: "route", Workers: 3,
		LAN:  LAN{"enp1s0", "", netip.MustParsePrefix("192.168.7.1/24")},
		WAN:  WAN{"enp2s0", "", Addresses{List: prefixes("100.64.3.3/31")}, netip.MustParseAddr("100.64.3.2")},
		Host: Host{true, Ports{List: []PortRange{{"tcp", 80, 80}, {"udp", 53, 53}, {"tcp", 8000, 8010}}}},
		NAT:  NAT{"address-and-port"},
		Bandwidth: Bandwidth{
			Total:  Speed{Down: 2_000_000_000, Up: 64_000},
			Global: Speed{Down: 1_500_000_000, Up: 500_000}},
		Sessions: Sessions{ResumeOnRestart: false, LedgerKeep: 30 * day, IdlePause: 10 * time.Minute, PauseOnSilentGateway: 30 * time.Second},
		Store:    Store{"/srv/gw", 90 * time.Second},
		API:      API{"/tmp/gw.sock"},
		Metrics:  Metrics{"[::1]:9000"},
		Log:      Log{"debug", "json"},
		Limits:   Limits{16384, 1048576, 1048576, 64512, 64 << 20},
	}
	got, err := Parse("gw.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}

func TestTheEdgesOfEachRangeAreAccepted(t *testing.T) {
	for _, text := range []string{
		"bandwidth: {global: {down: 0, up: 0}}", "bandwidth: {global: {down: 64 kbit, up: 100 Gbit}}",
		"bandwidth: {total: {down: 0, up: 0}}", "bandwidth: {total: {down: 100 Gbit, up: 64 kbit}}",
		"limits: {queue_memory: 1 MB}", "limits: {queue_memory: 1 GB}",
		"workers: 1", "workers: 16", "workers: auto", "workers: 0",
		"store: {checkpoint: 1s}", "store: {checkpoint: 10m}",
		"limits: {clients: 1, nat_flows: 64, flows_per_client: 64, ports_per_client: 1}",
		"limits: {clients: 16384, nat_flows: 1048576, flows_per_client: 1048576, ports_per_client: 64512}",
		"api: {socket: /run/" + strings.Repeat("x", 102) + "}",
		"host: {ports: [tcp/1-65535, udp/65535]}",
		"nat: {filtering: endpoint-independent}", "nat: {filtering: address}",
		"metrics: {listen: ''}", "metrics: {listen: 0.0.0.0:1}", "metrics: {listen: '[::]:65535'}", "metrics: {listen: 10.10.0.1:9464}",
	} {
		if _, err := Parse("gw.yaml", []byte(sides+text+"\n")); err != nil {
			t.Error(err)
		}
	}
	for _, row := range []struct{ lan, wan, gateway string }{
		{"10.0.0.1/8", "203.0.113.2/30", "203.0.113.1"},
		{"10.10.0.1/30", "203.0.113.2/31", "203.0.113.3"},
		{"192.168.0.1/30", "10.255.255.254/8", "10.0.0.1"},
	} {
		c := usual()
		c.LAN.Interface, c.WAN.Interface = "enp0s31f6u1u2u3", "wan.1" // 15 characters
		c.LAN.Address, c.WAN.Addresses.List = netip.MustParsePrefix(row.lan), prefixes(row.wan)
		c.WAN.Gateway = netip.MustParseAddr(row.gateway)
		if err := c.Check(); err != nil {
			t.Errorf("%v: %v", row, err)
		}
	}
}

func TestPortsAreAllOrNoneOrAList(t *testing.T) {
	for _, row := range []struct {
		text   string
		want   Ports
		string string
	}{
		{"all", Ports{All: true}, "all"},
		{"none", Ports{}, "none"},
		{"[]", Ports{}, "none"},
		{"[tcp/1-65535]", Ports{List: []PortRange{{"tcp", 1, 65535}}}, "[tcp/1-65535]"},
		{"[udp/53, tcp/80]", Ports{List: []PortRange{{"udp", 53, 53}, {"tcp", 80, 80}}}, "[udp/53, tcp/80]"},
	} {
		c, err := Parse("gw.yaml", []byte(sides+"host: {ports: "+row.text+"}\n"))
		if err != nil {
			t.Errorf("%s: %v", row.text, err)
			continue
		}
		if !reflect.DeepEqual(c.Host.Ports, row.want) || c.Host.Ports.String() != row.string {
			t.Errorf("%s: got %+v, written as %v", row.text, c.Host.Ports, c.Host.Ports)
		}
	}
}

// leased is the usual config with its place on the WAN by DHCP.
func leased() Config {
	c := usual()
	c.WAN.Addresses, c.WAN.Gateway = Addresses{DHCP: true}, netip.Addr{}
	return c
}

func TestTheWANsAddressMayComeByDHCP(t *testing.T) {
	for _, row := range []struct {
		text string
		dhcp bool
	}{
		{"{interface: eth0, address: dhcp}", true},
		{"{interface: eth0, address: 'dhcp'}", true},
		{"{interface: eth0, address: \"dhcp\"}", true},
		{"{interface: eth0, address: 203.0.113.2/24, gateway: 203.0.113.1}", false},
		{"{interface: eth0, address: [203.0.113.2/24], gateway: 203.0.113.1}", false},
	} {
		want := usual()
		if row.dhcp {
			want = leased()
		}
		c, err := Parse("gw.yaml", []byte(lanSide+"wan: "+row.text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", row.text, err)
			continue
		}
		if !reflect.DeepEqual(*c, want) || c.WAN.ByDHCP() != row.dhcp || row.dhcp && (c.WAN.Address().IsValid() || c.WAN.Own() != nil) {
			t.Errorf("%s: got %+v", row.text, c.WAN)
		}
	}
	c := leased()
	c.Metrics.Listen = "203.0.113.2:9464" // nobody knows whose it will be
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	c.WAN.Addresses.List = prefixes("203.0.113.2/24")
	if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), "wan.address: dhcp and a list contradict each other; use one of them") {
		t.Error(err)
	}
}

func TestTheExampleIsTheDefaultsAndNamesEveryKey(t *testing.T) {
	got, err := Parse("example.yaml", Example)
	if err != nil {
		t.Fatal(err)
	}
	if want := usual(); !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	r := newReader(string(Example))
	r.section("", place{}, r.parse())
	for _, k := range keys {
		_, named := r.at[k.path]
		if strings.HasSuffix(k.path, ".tap") { // in place of the interface
			named = bytes.Contains(Example, []byte("  # tap: "))
		}
		if !named {
			t.Errorf("%s is not in the example", k.path)
		}
	}
}

func TestJSONBringsBackTheSameConfig(t *testing.T) {
	list := usual()
	list.Host.Ports = Ports{List: []PortRange{{"tcp", 80, 90}}}
	none := usual()
	none.Host.Ports = Ports{}
	for _, want := range []Config{{}, Default(), usual(), leased(), list, none} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Config
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s brings back %+v, want %+v", text, got, want)
		}
	}
}

func TestAConfigMadeInGoIsHeldToTheSameRules(t *testing.T) {
	c := usual()
	if err := c.Check(); err != nil {
		t.Errorf("the usual config: %v", err)
	}
	c = Default()
	c.Host.Ports.List = []PortRange{{"tcp", 1, 1}}
	c.LAN.Address = netip.MustParsePrefix("::ffff:10.0.0.1/104")
	c.WAN.Interface = "lo"
	c.WAN.Addresses.List = prefixes("203.0.113.2/24")
	c.WAN.Gateway = netip.MustParseAddr("fd00::1")
	c.Limits.Clients = -1
	const want = `lan.interface: missing; name the Ethernet port towards the clients, such as eth1
wan.interface: lo is the loopback; name the Ethernet port towards the internet, such as eth0
lan.address: ::ffff:10.0.0.1/104 is not IPv4; gatewayd forwards IPv4
wan.gateway: fd00::1 is not inside wan.address 203.0.113.2/24; write the next router's address inside 203.0.113.0/24, such as 203.0.113.1
host.ports: all and a list contradict each other; use one of them
limits.clients: -1 is out of range; write 1 to 16384`
	err := c.Check()
	if err == nil || err.Error() != want {
		t.Fatalf("got\n%v\nwant\n%s", err, want)
	}
	var one *Error
	if !errors.As(err, &one) || one.Key != "lan.interface" || one.Line != 0 {
		t.Errorf("errors.As gives %+v", one)
	}
	c = usual()
	c.Host.Ports = Ports{List: make([]PortRange, 1025)}
	const long = "host.ports: 1025 entries are more than 1024; join neighbours into ranges such as tcp/8000-8010"
	if err := c.Check(); err == nil || err.Error() != long {
		t.Errorf("got %v, want %s", err, long)
	}
	if err := new(Config).Check(); err == nil || len(err.(Errors)) < 10 {
		t.Errorf("the zero Config: %v", err)
	}
}

func TestWarningsNameTheKeyAndTheRemedy(t *testing.T) {
	c := usual()
	c.LAN.Address = netip.MustParsePrefix("8.8.8.1/24")
	want := []string{
		"host.ports: all: there is no firewall, so every client, paid or not, reaches every port that listens on this box, " +
			"sshd included; set host.ports to none, or to a list such as [tcp/80, udp/53]",
		"lan.address: 8.8.8.1/24 is not a private prefix (RFC 1918), so clients cannot reach the real owners of those addresses; " +
			"use one such as 10.10.0.1/16",
	}
	if got := c.Warnings(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	c.Host.Ports = Ports{}
	c.LAN.Address = netip.MustParsePrefix("172.16.0.1/11") // half of it is owned
	if got := c.Warnings(); len(got) != 1 {
		t.Errorf("a prefix that is only half private: %q", got)
	}
	c.LAN.Address = netip.MustParsePrefix("10.10.0.1/16")
	for _, listen := range []string{"0.0.0.0:9464", "[::]:9464", "10.10.0.1:9464"} {
		c.Metrics.Listen, c.Host.Ports = listen, Ports{List: []PortRange{{"tcp", 9000, 9999}}}
		if got, want := c.Warnings(), []string{"metrics.listen: every client can read " + listen +
			"; set metrics.listen to an address such as 127.0.0.1:9464"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", listen, got, want)
		}
		c.Host.Ports = Ports{List: []PortRange{{"udp", 9000, 9999}, {"tcp", 80, 80}}}
		if got := c.Warnings(); len(got) > 0 {
			t.Errorf("%s, closed to clients: %q", listen, got)
		}
	}
	c.Kernel.Without = []string{TCX, Ring}
	if got, want := c.Warnings(), []string{"kernel.without: what this kernel has of tcx, ring is not used; remove it unless you look for a fault"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	c.Kernel.Without = nil
	for _, private := range []string{"10.10.0.1/16", "172.31.0.1/16", "192.168.1.1/24", "100.64.0.1/10"} {
		c.LAN.Address = netip.MustParsePrefix(private)
		if got := c.Warnings(); len(got) > 0 {
			t.Errorf("%s: %q", private, got)
		}
	}
}

func TestLoadReadsAFileOrSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gw.yaml")
	_, err := Load(path)
	want := "read config: open " + path + ": no such file or directory; write that file (lan.interface, wan.interface, wan.address " +
		"and, unless that is dhcp, wan.gateway are all it needs), or name another with --config"
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: got %v, want %s", err, want)
	}
	if _, err := Load(dir); err == nil || err.Error() != "read config: read "+dir+": is a directory; write a plain file there, or name another with --config" {
		t.Errorf("a directory: %v", err)
	}
	for _, row := range []struct {
		err  error
		want string
	}{
		{syscall.EACCES, "give it to whoever runs gatewayd to read, such as by chown and chmod 600"},
		{os.ErrDeadlineExceeded, "whoever holds that pipe has not closed it within 5s; write a plain file"},
		{syscall.ELOOP, "write a plain file there, or name another with --config"},
	} {
		if got := remedy(&fs.PathError{Op: "open", Path: path, Err: row.err}); got != row.want {
			t.Errorf("%v: %q, want %q", row.err, got, row.want)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	loaded := make(chan error, 1)
	go func() { _, err := Load(pipe); loaded <- err }()
	select {
	case err := <-loaded:
		if err == nil {
			t.Error("a pipe that nobody writes to is a config")
		}
	case <-time.After(20 * readTime):
		t.Fatal("a pipe that nobody writes to is waited for without an end")
	}
	if err := os.WriteFile(path, []byte(sides), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || !reflect.DeepEqual(*c, usual()) {
		t.Errorf("got %+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte(sides+"mode: none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":3:7: mode: ") {
		t.Errorf("a wrong file: %v", err)
	}
}

func TestATAPStandsInAnInterfacesPlace(t *testing.T) {
	c, err := Parse("gw.yaml", []byte("lan: {tap: gwlan0}\nwan: {tap: gwwan0, address: 203.0.113.2/24, gateway: 203.0.113.1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.LAN.TAP != "gwlan0" || c.WAN.TAP != "gwwan0" || c.LAN.Port() != "gwlan0" || c.WAN.Port() != "gwwan0" || c.LAN.Interface+c.WAN.Interface != "" {
		t.Errorf("%+v %+v", c.LAN, c.WAN)
	}
	c.WAN.Interface, c.WAN.TAP = "eth0", ""
	if err := c.Check(); err != nil || c.WAN.Port() != "eth0" {
		t.Errorf("%v: %v", c.WAN.Port(), err)
	}
}
