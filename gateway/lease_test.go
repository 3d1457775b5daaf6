package gateway

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/config"
	"gatewayd/gateway/dhcp"
	"gatewayd/store"
	"gatewayd/store/client"
)

// lessee is a control whose config asks for DHCP, with a store in memory.
func lessee(t *testing.T) *control {
	t.Helper()
	cfg := config.Default()
	cfg.LAN.Interface, cfg.WAN.Interface, cfg.WAN.Addresses = "eth1", "eth0", config.Addresses{DHCP: true}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	c := newControl(&cfg, eightSlots(t), aBell(t), aBell(t))
	kept, closed, err := store.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closed)
	c.store = kept
	return c
}

// given is a lease of a minute, at a moment.
func given(now time.Duration) dhcp.Lease {
	return dhcp.Lease{
		MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, By: net.HardwareAddr{2, 0, 0, 0, 0, 2},
		Address: netip.MustParsePrefix("203.0.113.50/24"), Router: netip.MustParseAddr("203.0.113.1"), Server: netip.MustParseAddr("203.0.113.2"),
		DNS:   []netip.Addr{netip.MustParseAddr("203.0.113.3")},
		Since: now - 10*time.Second, Renew: now + 20*time.Second, Rebind: now + 40*time.Second, End: now + 50*time.Second,
	}
}

// A lease on the disk is what it was, in the boot in which it was given; in another one
// only its end is known, and it is renewed at once.
func TestALeaseIsRecalled(t *testing.T) {
	const now = 100 * time.Hour
	for _, row := range []struct {
		name   string
		change func(*dhcp.Lease)
		boot   string        // of which it is recalled
		later  time.Duration // when that is
		ended  bool
	}{
		{"in the same boot", nil, "a boot", time.Second, false},
		{"in another", nil, "another", time.Second, false},
		{"in another, after its end", nil, "another", time.Minute, true},
		{"without an end", func(l *dhcp.Lease) { l.Renew, l.Rebind, l.End = dhcp.Never, dhcp.Never, dhcp.Never }, "another", time.Minute, false},
		{"without a router", func(l *dhcp.Lease) { l.Router = netip.Addr{} }, "a boot", time.Second, false},
		{"where no boot has a name", nil, "", time.Second, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := lessee(t)
			c.leasing.boot = "a boot"
			if row.boot == "" {
				c.leasing.boot = ""
			}
			was := given(now)
			if row.change != nil {
				row.change(&was)
			}
			if !c.keptLease(t.Context(), now, was, true) {
				t.Fatal("it is not kept")
			}
			c.leasing.boot = row.boot
			at := now + row.later
			l, err := c.recallLease(t.Context(), at)
			if err != nil || l == nil {
				t.Fatal(l, err)
			}
			if row.boot == "a boot" {
				if !reflect.DeepEqual(*l, was) {
					t.Errorf("%+v, was %+v", *l, was)
				}
				return
			}
			if l.Address != was.Address || l.Router != was.Router || l.Server != was.Server || !slices.Equal(l.DNS, was.DNS) || l.Since != at || l.Renew > at {
				t.Errorf("%+v, was %+v", *l, was)
			}
			if (l.End <= at) != row.ended || l.Renew > l.Rebind || l.Rebind > l.End {
				t.Errorf("at %v it is %+v", at, *l)
			}
			if off := l.End - was.End; off.Abs() > time.Second {
				t.Errorf("its end is off by %v", off)
			}
		})
	}
}

// What is on the disk and is no lease is said, and what is gone is none.
func TestWhatIsNoLeaseIsNotRecalled(t *testing.T) {
	c := lessee(t)
	if l, err := c.recallLease(t.Context(), 0); l != nil || err != nil {
		t.Errorf("of nothing %+v, %v", l, err)
	}
	for _, value := range []string{"", "{", "{}", `{"lease":{"address":"fe80::1/64","server":"1.2.3.4"}}`, `{"lease":{"address":"1.2.3.4/24","server":"fe80::1"}}`,
		`{"lease":{"address":"1.2.3.4/24","server":"1.2.3.4","router":"fe80::1"}}`} {
		if err := c.store.Batch(t.Context(), []client.Record{{Key: []byte(leaseKey), Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
		if l, err := c.recallLease(t.Context(), 0); l != nil || err == nil {
			t.Errorf("of %q %+v, %v", value, l, err)
		}
	}
	now := 100 * time.Hour
	if !c.keptLease(t.Context(), now, given(now), true) || !c.keptLease(t.Context(), now, dhcp.Lease{}, false) {
		t.Fatal("it is not kept")
	}
	if l, err := c.recallLease(t.Context(), now); l != nil || err != nil {
		t.Errorf("after its end %+v, %v", l, err)
	}
	away, end := context.WithCancel(t.Context())
	end()
	if _, err := c.recallLease(away, now); err == nil {
		t.Error("a store that does not answer knows of nothing")
	}
}

// An offer that the config would be refused for is of no use.
func TestWhatTheGatewayCanUse(t *testing.T) {
	c := lessee(t)
	for _, row := range []struct{ name, address, router, wrong string }{
		{"a network of its own", "203.0.113.50/24", "203.0.113.1", ""},
		{"of two addresses (RFC 3021)", "203.0.113.50/31", "203.0.113.51", ""},
		{"without a router", "203.0.113.50/24", "", ""},
		{"without a router, the last address", "203.0.113.254/24", "", ""},
		{"without a router, the last of two", "203.0.113.51/31", "", ""},
		{"without a router, the first of four", "203.0.113.49/30", "", ""},
		{"the clients' network", "10.10.3.50/24", "10.10.3.1", "overlaps"},
		{"around the clients' network", "10.0.0.50/8", "10.0.0.1", "overlaps"},
		{"the network's address", "203.0.113.0/24", "203.0.113.1", "the network's address"},
		{"everybody's address", "203.0.113.255/24", "203.0.113.1", "broadcast"},
		{"a group's address", "224.0.0.5/24", "224.0.0.1", "multicast"},
		{"a loopback", "127.0.0.5/24", "127.0.0.1", "loopback"},
		{"link-local", "169.254.1.5/16", "169.254.1.1", "link-local"},
		{"a host's route", "203.0.113.50/32", "203.0.113.1", "/32"},
		{"a router elsewhere", "203.0.113.50/24", "198.51.100.1", "not inside"},
		{"the router's own address", "203.0.113.50/24", "203.0.113.50", "this box itself"},
	} {
		l := given(0)
		l.Address, l.Router = netip.MustParsePrefix(row.address), netip.Addr{}
		if row.router != "" {
			l.Router = netip.MustParseAddr(row.router)
		}
		err := c.canUse(&l)
		if row.wrong == "" && err != nil || row.wrong != "" && (err == nil || !strings.Contains(err.Error(), row.wrong)) {
			t.Errorf("%s: %v, want %q", row.name, err, row.wrong)
		}
	}
	if cfg := c.cfg.Load(); !cfg.WAN.ByDHCP() || len(cfg.WAN.Addresses.List) != 0 {
		t.Errorf("the config is another: %+v", cfg.WAN)
	}
}

// Where the gateway is is what the table says until control knows better, then the lease
// that is in force, or the config.
func TestWhereTheGatewayIs(t *testing.T) {
	c := lessee(t)
	h := c.table.Header()
	own := func(when string, want ...string) {
		t.Helper()
		a, _ := h.Addressing()
		var got []string
		for _, ip := range a.Addresses {
			got = append(got, ipv4(ip).String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	h.SetAddressing(clients.Addressing{Addresses: []uint32{bits(netip.MustParseAddr("203.0.113.9"))}, Bits: 24})
	c.readdress()
	own("a control that has not asked", "203.0.113.9")
	if why := c.leaseTrouble(); why != (advice{}) {
		t.Errorf("meanwhile %q", why)
	}
	l := &c.leasing
	l.standing = false
	c.readdress()
	own("without a lease")
	if why := c.leaseTrouble(); !strings.Contains(why.seen, "no address on the WAN yet") || !strings.Contains(why.do, "cable of") {
		t.Errorf("without a lease: %q", why)
	}
	l.lease, l.held, l.state = given(0), true, dhcp.Bound
	c.readdress()
	own("with one", "203.0.113.50")
	if a, _ := h.Addressing(); a.Bits != 24 || ipv4(a.Gateway) != l.lease.Router {
		t.Errorf("%+v", a)
	}
	if s := c.leaseStatus(); s == nil || s.Address != "203.0.113.50/24" || s.Router != "203.0.113.1" || s.Ends == nil || c.leaseTrouble() != (advice{}) {
		t.Errorf("%+v, %q", s, c.leaseTrouble())
	}
	next := *c.cfg.Load()
	next.WAN.Addresses, next.WAN.Gateway = config.Addresses{List: []netip.Prefix{netip.MustParsePrefix("198.51.100.2/24")}}, netip.MustParseAddr("198.51.100.1")
	before := c.cfg.Swap(&next)
	l.standing = true
	c.readdress()
	own("by the config", "198.51.100.2")
	if s := c.leaseStatus(); s != nil || c.leaseTrouble() != (advice{}) {
		t.Errorf("by the config: %+v, %q", s, c.leaseTrouble())
	}
	c.cfg.Store(before)
	l.held = false
	c.readdress()
	own("by DHCP again, without a lease")
}
