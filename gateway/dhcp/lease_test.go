package dhcp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestWhatALeaseIsReadFrom: what servers write into an offer, also those that mean harm.
func TestWhatALeaseIsReadFrom(t *testing.T) {
	mask := func(b ...byte) dhcpv4.Modifier { return dhcpv4.WithGeneric(dhcpv4.OptionSubnetMask, b) }
	without := dhcpv4.WithoutOption
	server := func(b ...byte) dhcpv4.Modifier { return dhcpv4.WithGeneric(dhcpv4.OptionServerIdentifier, b) }
	routers := func(b ...byte) dhcpv4.Modifier { return dhcpv4.WithGeneric(dhcpv4.OptionRouter, b) }
	all := func(m ...dhcpv4.Modifier) dhcpv4.Modifier {
		return func(d *dhcpv4.DHCPv4) {
			for _, m := range m {
				m(d)
			}
		}
	}
	for _, row := range []struct {
		name string
		more dhcpv4.Modifier
		want string // address, router, T1, T2 and end, seconds; or why not
	}{
		{"an hour", lasting(3600), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"its own T1 and T2", timing(100, 200), "203.0.113.20/24 203.0.113.1 100 200 3600"},
		{"T1 alone", dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(100 * time.Second)), "203.0.113.20/24 203.0.113.1 100 3150 3600"},
		{"T2 alone", dhcpv4.WithOption(dhcpv4.OptRebindingTimeValue(2000 * time.Second)), "203.0.113.20/24 203.0.113.1 1800 2000 3600"},
		{"T1 after T2", timing(200, 100), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"T1 is T2", timing(200, 200), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"T2 is the end", timing(200, 3600), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"T2 after the end", timing(200, 3601), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"T1 is at once", timing(0, 200), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"T1 is almost at once", timing(4, 200), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"T1 and T2 are never", timing(0xffffffff, 0xffffffff), "203.0.113.20/24 203.0.113.1 1800 3150 3600"},
		{"no lease time", without(dhcpv4.OptionIPAddressLeaseTime), "it is for 0s, and less than 10s is of no use"},
		{"no time", lasting(0), "it is for 0s, and less than 10s is of no use"},
		{"nine seconds", lasting(9), "it is for 9s, and less than 10s is of no use"},
		{"ten seconds", lasting(10), "203.0.113.20/24 203.0.113.1 5 8 10"},
		{"for ever", lasting(0xffffffff), "203.0.113.20/24 203.0.113.1 never never never"},
		{"for ever, with T1", all(lasting(0xffffffff), timing(5, 6)), "203.0.113.20/24 203.0.113.1 never never never"},
		{"a second less than for ever", lasting(0xfffffffe), "203.0.113.20/24 203.0.113.1 2147483647 3758096382 4294967294"},
		{"a lease time of two bytes", dhcpv4.WithGeneric(dhcpv4.OptionIPAddressLeaseTime, []byte{1, 0}), "it is for 0s, and less than 10s is of no use"},
		{"no address", dhcpv4.WithYourIP(net.IPv4zero), "it names no address"},
		{"no server", without(dhcpv4.OptionServerIdentifier), "it names no server"},
		{"the server 0.0.0.0", server(0, 0, 0, 0), "it names no server"},
		{"the server is everybody", server(255, 255, 255, 255), "it names no server"},
		{"the server is a group", server(224, 0, 0, 1), "it names no server"},
		{"a server of three bytes", server(203, 0, 113), "it names no server"},
		{"no mask", without(dhcpv4.OptionSubnetMask), "it names no subnet mask, or one that is none"},
		{"a mask with holes", mask(255, 0, 255, 0), "it names no subnet mask, or one that is none"},
		{"a mask of five bytes", mask(255, 255, 255, 0, 0), "it names no subnet mask, or one that is none"},
		{"an empty mask", mask(), "it names no subnet mask, or one that is none"},
		{"everything is the network", mask(0, 0, 0, 0), "203.0.113.20/0 203.0.113.1 1800 3150 3600"}, // who uses it judges
		{"no router", without(dhcpv4.OptionRouter), "203.0.113.20/24 invalid IP 1800 3150 3600"},
		{"the router 0.0.0.0", routers(0, 0, 0, 0), "203.0.113.20/24 invalid IP 1800 3150 3600"},
		{"the first of the routers that is one", routers(0, 0, 0, 0, 203, 0, 113, 9, 203, 0, 113, 8), "203.0.113.20/24 203.0.113.9 1800 3150 3600"},
		{"a router of five bytes", routers(203, 0, 113, 9, 1), "203.0.113.20/24 invalid IP 1800 3150 3600"},
		{"options in the file's field are not read", all(without(dhcpv4.OptionIPAddressLeaseTime), dhcpv4.WithGeneric(dhcpv4.OptionOptionOverload, []byte{3}),
			func(m *dhcpv4.DHCPv4) { m.BootFileName = "\x33\x04\x00\x00\x0e\x10\xff" }), "it is for 0s, and less than 10s is of no use"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.client.Begin(w.now, nil)
			m, err := dhcpv4.FromBytes(w.answer(one, offer, row.more).ToBytes())
			if err != nil {
				t.Fatal(err)
			}
			l, err := read(m, start)
			got := fmt.Sprintf("%v %v %s %s %s", l.Address, l.Router, after(l.Renew), after(l.Rebind), after(l.End))
			if err != nil {
				got = err.Error()
			}
			if got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

// after is a moment in whole seconds after the start.
func after(at time.Duration) string {
	if at == Never {
		return "never"
	}
	return fmt.Sprint(int64((at - start) / time.Second))
}

// Whatever times a server gives, T1, T2 and the end are in order, and none is over.
func TestTimesAreInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	some := func() uint32 { return r.Uint32() >> r.IntN(32) }
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	for range 3000 {
		m := w.answer(one, offer, lasting(some()), timing(some(), some()))
		l, err := read(m, w.now)
		if err != nil {
			continue
		}
		if !l.whole() && l.By != nil || l.Renew < w.now+least/2 || l.End != Never && (l.Renew >= l.Rebind || l.Rebind >= l.End) {
			t.Fatalf("%v: %v %v %v", m, l.Renew, l.Rebind, l.End)
		}
	}
}
