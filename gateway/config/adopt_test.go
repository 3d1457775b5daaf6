package config

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

// other returns the usual config with another value, which Check takes, of one key.
var other = map[string]func(*Config){
	"mode":               func(c *Config) { c.Mode = ModeBridge },
	"workers":            func(c *Config) { c.Workers = 2 },
	"lan.interface":      func(c *Config) { c.LAN.Interface = "eth2" },
	"lan.tap":            func(c *Config) { c.LAN.Interface, c.LAN.TAP = "", "gwlan0" },
	"lan.address":        func(c *Config) { c.LAN.Address = netip.MustParsePrefix("10.11.0.1/16") },
	"wan.interface":      func(c *Config) { c.WAN.Interface = "eth3" },
	"wan.tap":            func(c *Config) { c.WAN.Interface, c.WAN.TAP = "", "gwwan0" },
	"wan.address":        func(c *Config) { c.WAN.Addresses.List = prefixes("203.0.113.3/24", "203.0.113.2/24") },
	"wan.gateway":        func(c *Config) { c.WAN.Gateway = netip.MustParseAddr("203.0.113.9") },
	"host.default_route": func(c *Config) { c.Host.DefaultRoute = true },
	"host.ports":         func(c *Config) { c.Host.Ports = Ports{List: []PortRange{{"tcp", 80, 80}}} },
	"nat.filtering":      func(c *Config) { c.NAT.Filtering = FilterAddressPort },
	"forwards": func(c *Config) {
		c.Forwards = []Forward{{PortRange{"tcp", 8080, 8080}, netip.Addr{}, netip.MustParseAddr("10.10.0.5"), 80}}
	},
	"bandwidth.total.down":             func(c *Config) { c.Bandwidth.Total.Down = 50 * Mbit },
	"bandwidth.total.up":               func(c *Config) { c.Bandwidth.Total.Up = 50 * Mbit },
	"bandwidth.global.down":            func(c *Config) { c.Bandwidth.Global.Down = 0 },
	"bandwidth.global.up":              func(c *Config) { c.Bandwidth.Global.Up = 20 * Mbit },
	"sessions.resume_on_restart":       func(c *Config) { c.Sessions.ResumeOnRestart = false },
	"sessions.ledger_keep":             func(c *Config) { c.Sessions.LedgerKeep = time.Hour },
	"sessions.idle_pause":              func(c *Config) { c.Sessions.IdlePause = time.Minute },
	"sessions.pause_on_carrier_loss":   func(c *Config) { c.Sessions.PauseOnCarrierLoss = false },
	"sessions.pause_on_silent_gateway": func(c *Config) { c.Sessions.PauseOnSilentGateway = 0 },
	"store.path":                       func(c *Config) { c.Store.Path = "/srv/gatewayd" },
	"store.checkpoint":                 func(c *Config) { c.Store.Checkpoint = time.Second },
	"api.socket":                       func(c *Config) { c.API.Socket = "/run/other.sock" },
	"metrics.listen":                   func(c *Config) { c.Metrics.Listen = "" },
	"log.level":                        func(c *Config) { c.Log.Level = "debug" },
	"log.format":                       func(c *Config) { c.Log.Format = "json" },
	"limits.clients":                   func(c *Config) { c.Limits.Clients = 16 },
	"limits.nat_flows":                 func(c *Config) { c.Limits.NATFlows = 8192 },
	"limits.flows_per_client":          func(c *Config) { c.Limits.FlowsPerClient = 16 },
	"limits.ports_per_client":          func(c *Config) { c.Limits.PortsPerClient = 16 },
	"limits.queue_memory":              func(c *Config) { c.Limits.QueueMemory = 64 * MB },
	"kernel.without":                   func(c *Config) { c.Kernel.Without = []string{Ring} },
}

// prefixes parses them.
func prefixes(texts ...string) (all []netip.Prefix) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// atOnce are the keys that a running gateway changes.
var atOnce = []string{
	"wan.address", "wan.gateway", "host.ports", "nat.filtering", "forwards",
	"bandwidth.total.down", "bandwidth.total.up", "bandwidth.global.down", "bandwidth.global.up",
	"sessions.resume_on_restart", "sessions.ledger_keep", "sessions.idle_pause", "sessions.pause_on_carrier_loss",
	"sessions.pause_on_silent_gateway", "store.checkpoint", "metrics.listen", "log.level", "log.format",
	"limits.flows_per_client", "limits.ports_per_client",
}

// Whoever adds a key says when a running gateway takes over a new value of it.
func TestEveryKeyIsTakenAtReloadOrAtRestart(t *testing.T) {
	for _, k := range keys {
		t.Run(k.path, func(t *testing.T) {
			if k.when == "" {
				t.Errorf("nobody says when %s is taken over: atReload, or why it needs a restart", k.path)
			}
			change, known := other[k.path]
			if !known {
				t.Fatalf("the test knows no other value of %s", k.path)
			}
			if !field(&Config{}, k.path).IsValid() {
				t.Fatalf("Config has no field whose names in JSON are %s", k.path)
			}
			now, next := usual(), usual()
			change(&next)
			taken, stay := now.Adopt(&next)
			if slices.Contains(atOnce, k.path) {
				if !slices.Equal(taken, []string{k.path}) || stay != nil || !reflect.DeepEqual(now, next) {
					t.Errorf("taken %v, stay %v: %+v, want %+v", taken, stay, now, next)
				}
				return
			}
			if !slices.Contains(stay, k.path) || taken != nil || !reflect.DeepEqual(now, usual()) {
				t.Errorf("taken %v, stay %v: %+v", taken, stay, now)
			}
		})
	}
	if got := LiveKeys(); !slices.Equal(got, atOnce) {
		t.Errorf("live are %v, want %v", got, atOnce)
	}
	restart, why := RestartKeys()
	if len(restart)+len(atOnce) != len(keys) {
		t.Errorf("%d keys need a restart and %d do not, of %d", len(restart), len(atOnce), len(keys))
	}
	for _, path := range restart {
		if why[path] == "" || slices.Contains(atOnce, path) {
			t.Errorf("%s needs a restart because: %q", path, why[path])
		}
	}
	if len(other) != len(keys) {
		t.Errorf("the test knows %d keys, there are %d", len(other), len(keys))
	}
}

// The router of a bridge is who is listened for, and taken at a reload, unless the box's own
// route leads to it.
func TestAdoptBehindABridge(t *testing.T) {
	for route, want := range map[bool][]string{false: {"wan.gateway"}, true: nil} {
		now := usual()
		now.Mode, now.WAN.Addresses.List, now.WAN.Gateway, now.Host.DefaultRoute = ModeBridge, nil, netip.MustParseAddr("10.10.0.254"), route
		next := now
		next.WAN.Gateway = netip.MustParseAddr("10.10.0.253")
		if taken, stay := now.Adopt(&next); !slices.Equal(taken, want) || len(taken)+len(stay) != 1 {
			t.Errorf("default route %v: taken %v, stay %v", route, taken, stay)
		}
	}
}

// A lease is no address of a bridge, nor does it take the bridge's router away.
func TestAdoptALeaseBehindABridge(t *testing.T) {
	now, next := usual(), leased()
	now.Mode, now.WAN.Addresses, now.WAN.Gateway = ModeBridge, Addresses{}, netip.MustParseAddr("10.10.0.254")
	was := now
	taken, stay := now.Adopt(&next)
	if len(taken) > 0 || !slices.Equal(stay, []string{"mode", "wan.address", "wan.gateway"}) || !reflect.DeepEqual(now, was) {
		t.Errorf("a bridge takes %v, leaves %v: %+v", taken, stay, now.WAN)
	}
	if taken, stay := next.Adopt(&was); len(taken) > 0 || len(stay) != 3 || !reflect.DeepEqual(next, leased()) {
		t.Errorf("behind a lease: taken %v, stay %v: %+v", taken, stay, next.WAN)
	}
}

// What comes by DHCP and what is written replace each other whole, or not at all.
func TestAdoptALease(t *testing.T) {
	client := netip.MustParseAddr("10.10.0.5")
	at := []Forward{{PortRange{"tcp", 80, 80}, netip.MustParseAddr("203.0.113.2"), client, 80}}
	lease := []Forward{{PortRange{"udp", 68, 68}, netip.Addr{}, client, 68}}
	host := []Forward{{PortRange{"tcp", 22, 22}, netip.Addr{}, netip.Addr{}, 22}}
	both := []string{"wan.address", "wan.gateway"}
	for _, row := range []struct {
		name        string
		now, next   Config
		change      func(now, next *Config)
		taken, stay []string
	}{
		{"to a lease", usual(), leased(), func(now, next *Config) {}, both, nil},
		{"to a lease from several addresses", usual(), leased(), func(now, next *Config) {
			now.WAN.Addresses.List = prefixes("203.0.113.2/24", "203.0.113.3/24")
		}, both, nil},
		{"back from a lease", leased(), usual(), func(now, next *Config) {}, both, nil},
		{"from a lease to a lease", leased(), leased(), func(now, next *Config) { next.Log.Level = "debug" }, []string{"log.level"}, nil},
		{"to a lease, with forwards that leave their address", usual(), leased(), func(now, next *Config) {
			now.Forwards, next.Forwards = at, []Forward{{at[0].PortRange, netip.Addr{}, client, 80}}
		}, []string{"wan.address", "wan.gateway", "forwards"}, nil},
		{"not to a lease as long as a forward that stays names an address", usual(), leased(), func(now, next *Config) {
			now.Forwards, next.Forwards, next.Host.DefaultRoute = at, host, true
		}, nil, []string{"wan.address", "wan.gateway", "host.default_route", "forwards"}},
		{"not to a lease as long as a forward that stays has the client's port", usual(), leased(), func(now, next *Config) {
			now.Forwards, next.Forwards, next.Host.DefaultRoute = lease, host, true
		}, nil, []string{"wan.address", "wan.gateway", "host.default_route", "forwards"}},
		{"not back from a lease to what overlaps a LAN that stays", leased(), usual(), func(now, next *Config) {
			next.LAN.Address, next.WAN.Addresses.List, next.WAN.Gateway = netip.MustParsePrefix("192.168.0.1/16"), prefixes("10.10.3.2/24"), netip.MustParseAddr("10.10.3.1")
		}, nil, []string{"lan.address", "wan.address", "wan.gateway"}},
		{"back from a lease to where the counters were served", leased(), usual(), func(now, next *Config) {
			now.Metrics.Listen = "203.0.113.2:9464"
		}, []string{"wan.address", "wan.gateway", "metrics.listen"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			now, next := row.now, row.next
			row.change(&now, &next)
			for _, c := range []*Config{&now, &next} {
				if err := c.Check(); err != nil {
					t.Fatal(err)
				}
			}
			if taken, stay := now.Adopt(&next); !slices.Equal(taken, row.taken) || !slices.Equal(stay, row.stay) {
				t.Errorf("taken %v, stay %v, want %v and %v", taken, stay, row.taken, row.stay)
			}
			if err := now.Check(); err != nil {
				t.Error(err)
			}
			if row.stay == nil && !reflect.DeepEqual(now, next) {
				t.Errorf("%+v, want %+v", now.WAN, next.WAN)
			}
		})
	}
}

func TestAdopt(t *testing.T) {
	for _, row := range []struct {
		name        string
		next        func(*Config)
		taken, stay []string
	}{
		{"nothing, if nothing differs", func(*Config) {}, nil, nil},
		{"what can be, beside what cannot", func(c *Config) {
			c.Limits.Clients, c.Log.Level, c.Workers, c.Bandwidth.Total.Up = 16, "debug", 2, Mbit
		}, []string{"bandwidth.total.up", "log.level"}, []string{"workers", "limits.clients"}},
		{"not more flows of a client than the table that stays has", func(c *Config) {
			c.Limits.NATFlows, c.Limits.FlowsPerClient, c.Limits.PortsPerClient = 1000000, 500000, 10
		}, []string{"limits.ports_per_client"}, []string{"limits.nat_flows", "limits.flows_per_client"}},
		{"no forward to the box as long as that has no way back", func(c *Config) {
			c.Host.DefaultRoute, c.Log.Level = true, "debug"
			c.Forwards = []Forward{{PortRange{"tcp", 22, 22}, netip.Addr{}, netip.Addr{}, 22}}
		}, []string{"log.level"}, []string{"host.default_route", "forwards"}},
		{"another network on the WAN, whole", func(c *Config) {
			c.WAN.Addresses.List, c.WAN.Gateway, c.Metrics.Listen = prefixes("198.51.100.5/28", "198.51.100.6/28"), netip.MustParseAddr("198.51.100.1"), "203.0.113.2:9464"
		}, []string{"wan.address", "wan.gateway", "metrics.listen"}, nil},
		{"not what contradicts a value that stays, nor what then contradicts that", func(c *Config) {
			c.LAN.Address, c.WAN.Addresses.List, c.WAN.Gateway = netip.MustParsePrefix("192.168.0.1/16"), prefixes("10.10.3.2/24"), netip.MustParseAddr("10.10.3.1")
			c.Metrics.Listen, c.Log.Level = "203.0.113.2:9464", "debug"
		}, []string{"log.level"}, []string{"lan.address", "wan.address", "wan.gateway", "metrics.listen"}},
		{"no other mode, nor what only it allows", func(c *Config) {
			c.Mode, c.WAN.Addresses.List, c.WAN.Gateway, c.Log.Level = ModeBridge, nil, netip.Addr{}, "debug"
		}, []string{"log.level"}, []string{"mode", "wan.address", "wan.gateway"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			now, next := usual(), usual()
			row.next(&next)
			if err := next.Check(); err != nil {
				t.Fatal(err)
			}
			if taken, stay := now.Adopt(&next); !slices.Equal(taken, row.taken) || !slices.Equal(stay, row.stay) {
				t.Errorf("taken %v, stay %v, want %v and %v", taken, stay, row.taken, row.stay)
			}
			if err := now.Check(); err != nil {
				t.Error(err)
			}
			if again, stay := now.Adopt(&next); len(again) > 0 || !slices.Equal(stay, row.stay) {
				t.Errorf("a second time: taken %v, stay %v", again, stay)
			}
		})
	}
}
