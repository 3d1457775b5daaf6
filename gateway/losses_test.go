package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/config"
)

func TestWhatIsLostNowIsSaid(t *testing.T) {
	cfg := config.Default()
	cfg.LAN.Interface, cfg.WAN.Interface = "eth1", "eth0"
	port := func(i int, p clients.PortCounters) clients.Counters {
		var c clients.Counters
		c.Ports[i] = p
		return c
	}
	drop := func(r forwarder.Reason, n uint64) clients.Counters {
		var c clients.Counters
		c.Drops[r] = n
		return c
	}
	for _, row := range []struct {
		name        string
		before, now clients.Counters
		want        string // the only reason has it; empty: none
	}{
		{"nothing", clients.Counters{}, port(clients.LAN, clients.PortCounters{RxPackets: 1e6}), ""},
		{"a burst that the kernel lost", clients.Counters{}, port(clients.LAN, clients.PortCounters{RxPackets: 100, Overflow: 99}), ""},
		{"less than one of a hundred", clients.Counters{}, port(clients.LAN, clients.PortCounters{RxPackets: 99_001, Overflow: 999}), ""},
		{"one of a hundred on the LAN", clients.Counters{}, port(clients.LAN, clients.PortCounters{RxPackets: 99_000, Overflow: 1000}),
			"port eth1: the kernel lost 1000 of 100000 packets in the last 10 seconds"},
		{"on the WAN", clients.Counters{}, port(clients.WAN, clients.PortCounters{Overflow: 100}), "port eth0: the kernel lost 100 of 100 packets"},
		{"what was lost before", port(clients.LAN, clients.PortCounters{RxPackets: 100, Overflow: 1e6}),
			port(clients.LAN, clients.PortCounters{RxPackets: 1000, Overflow: 1e6 + 5}), ""},
		{"a super-packet that the kernel cannot tell of", clients.Counters{}, port(clients.LAN, clients.PortCounters{RxPackets: 1e6, Truncated: 1}),
			"port eth1: 1 super-packets in the last 10 seconds were lost"},
		{"a port that does not take it", clients.Counters{}, port(clients.WAN, clients.PortCounters{TxPackets: 300, Refused: 200}),
			"port eth0 did not take 200 of 500 packets in the last 10 seconds"},
		{"flows", clients.Counters{}, drop(forwarder.FlowsFull, 3), "3 packets of new conversations were refused in the last 10 seconds; raise limits.nat_flows, which is 262144"},
		{"ports", clients.Counters{}, drop(forwarder.NoPort, 1), "lower limits.ports_per_client, which is 1024"},
		{"one client's cap", clients.Counters{}, drop(forwarder.ClientCap, 1e6), ""},
	} {
		got := lost(&row.before, &row.now, &cfg)
		if row.want == "" && len(got) == 0 || row.want != "" && len(got) == 1 && strings.Contains(got[0], row.want) {
			continue
		}
		t.Errorf("%s: %q, want %q", row.name, got, row.want)
	}
}

func TestWhatHelpsWhereAllPortsAreInUse(t *testing.T) {
	var before, now clients.Counters
	now.Drops[forwarder.NoPort] = 1
	cfg := config.Default()
	one, two := netip.MustParsePrefix("203.0.113.2/24"), netip.MustParsePrefix("203.0.113.3/24")
	for _, row := range []struct {
		name, whose, add string
		own              config.Addresses
	}{
		{"one address", "all ports of 203.0.113.2 are in use", "which is 1024, or add to wan.address", config.Addresses{List: []netip.Prefix{one}}},
		{"two", "all ports of one of the 2 WAN addresses are in use", "which is 1024, or add to wan.address", config.Addresses{List: []netip.Prefix{one, two}}},
		{"a lease", "all ports of the WAN address are in use", "which is 1024, or write several addresses in wan.address in place of dhcp", config.Addresses{DHCP: true}},
	} {
		cfg.WAN.Addresses = row.own
		if got := lost(&before, &now, &cfg); len(got) != 1 || !strings.HasPrefix(got[0], row.whose) || !strings.HasSuffix(got[0], row.add) {
			t.Errorf("%s: %q", row.name, got)
		}
	}
}

func TestLossesAreForgotten(t *testing.T) {
	var c clients.Counters
	l := newLosses(c)
	for n := uint64(1); n <= 20; n++ {
		c.Drops[forwarder.FlowsFull] = n
		l.take(c)
		if got, want := l.oldest().Drops[forwarder.FlowsFull], max(n, 5)-5+1; n >= 5 && got != want || n < 5 && got != 0 {
			t.Errorf("after %d looks the oldest is of %d", n, got)
		}
	}
}

func TestWhoEndsOftenIsNamed(t *testing.T) {
	now := time.Hour
	at := func(n int, when time.Duration) []time.Duration { return slices.Repeat([]time.Duration{when}, n) }
	for _, row := range []struct {
		name string
		ends map[string][]time.Duration
		want string
	}{
		{"nobody", nil, ""},
		{"nine times", map[string][]time.Duration{"control": at(9, now-time.Minute)}, ""},
		{"ten times", map[string][]time.Duration{"control": at(10, now-time.Minute)}, "control has ended 10 times"},
		{"long ago", map[string][]time.Duration{"control": at(10, now-oftenIn)}, ""},
		{"another one", map[string][]time.Duration{"store": at(10, now), "forward": at(3, now)}, "store has ended 10 times"},
	} {
		got := restless(row.ends, now)
		if row.want == "" && len(got) == 0 || row.want != "" && len(got) == 1 && strings.Contains(got[0], row.want) {
			continue
		}
		t.Errorf("%s: %q, want %q", row.name, got, row.want)
	}
}
