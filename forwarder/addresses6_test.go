package forwarder

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// from6 is a client's packet over IPv6 from an address.
func from6(mac uint64, src string) []byte {
	return six6(mac, routerMAC, src, "2001:db8::fe", 64, &layers.UDP{SrcPort: 5000, DstPort: 443})
}

func TestIPv6AddressesAreTheirClients(t *testing.T) {
	rows := []struct {
		name  string
		alice []string // what alice speaks from before
		wait  time.Duration
		mac   uint64
		src   string
		why   Reason // Kept: it passes
	}{
		{"a first address", nil, 0, aliceMAC, "2001:db8::1", Kept},
		{"one more", []string{"2001:db8::1", "fe80::1"}, 0, aliceMAC, "2001:db8::2", Kept},
		{"the first again", []string{"2001:db8::1", "2001:db8::2"}, 0, aliceMAC, "2001:db8::1", Kept},
		{"another one's", []string{"2001:db8::1"}, 0, bobMAC, "2001:db8::1", Spoofed},
		{"another one's link-local address", []string{"fe80::1"}, 0, bobMAC, "fe80::1", Spoofed},
		{"another one's after a minute of silence", []string{"2001:db8::1"}, time.Minute + 10*time.Second, bobMAC, "2001:db8::1", Kept},
		{"none", nil, 0, aliceMAC, "::", BadSource},
		{"loopback", nil, 0, aliceMAC, "::1", BadSource},
		{"a group's", nil, 0, aliceMAC, "ff02::1", BadSource},
		{"an IPv4 one in disguise", nil, 0, aliceMAC, "::ffff:10.0.0.9", BadSource},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			b.bind(bob, bobMAC, bobIP)
			b.grant(bob, free())
			for _, src := range row.alice {
				b.in(clients.LAN, from6(aliceMAC, src))
				b.onlyFrame(clients.WAN)
			}
			b.now += row.wait
			b.in(clients.LAN, from6(row.mac, row.src))
			if row.why == Kept {
				b.onlyFrame(clients.WAN)
				return
			}
			b.dropped(row.why, 1)
			b.nothing()
		})
	}
}

// Who keeps speaking keeps its address, also while it speaks from others.
func TestAnAddressInUseIsNotLost(t *testing.T) {
	b := aliceBridge(t)
	b.bind(bob, bobMAC, bobIP)
	b.grant(bob, free())
	for range 12 {
		b.in(clients.LAN, from6(aliceMAC, "2001:db8::1"), from6(aliceMAC, "2001:db8::2"))
		b.now += 10 * time.Second
	}
	b.frames(clients.WAN)
	b.in(clients.LAN, from6(bobMAC, "2001:db8::1"), from6(bobMAC, "2001:db8::2"))
	b.dropped(Spoofed, 2)
	for range 12 { // and from one alone
		b.in(clients.LAN, from6(aliceMAC, "2001:db8::3"))
		b.now += 10 * time.Second
	}
	b.frames(clients.WAN)
	b.in(clients.LAN, from6(bobMAC, "2001:db8::3"))
	b.dropped(Spoofed, 3)
}

// The 17th address takes the place of the one that was silent longest, which anybody may
// have then; but a mere packet takes the place of none that is in use.
func TestAClientHasSixteenAddresses(t *testing.T) {
	says := func(mac uint64, src string) []byte { return discovery(mac, src, allRouters6, 255, 133, 0, 0, 0, 0, 0) }
	rows := []struct {
		name   string
		make   func(mac uint64, src string) []byte
		silent time.Duration
		why    Reason
	}{
		{"a packet", from6, 0, Spoofed},
		{"a packet after half a minute", from6, 30 * time.Second, Spoofed},
		{"a packet after a minute", from6, time.Minute, Kept},
		{"discovery", says, 0, Kept},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			b.bind(bob, bobMAC, bobIP)
			b.grant(bob, free())
			b.now += time.Second
			for i := range addressesEach {
				b.in(clients.LAN, from6(aliceMAC, fmt.Sprintf("2001:db8::%x", i+1)))
				b.onlyFrame(clients.WAN)
				b.now += 100 * time.Millisecond
			}
			b.now += row.silent
			for range 3 { // once more changes nothing
				b.in(clients.LAN, row.make(aliceMAC, "2001:db8::17"))
			}
			b.in(clients.LAN, from6(bobMAC, "2001:db8::17"))
			b.in(clients.LAN, from6(bobMAC, "2001:db8::1"))
			if row.why == Kept {
				if n := len(b.frames(clients.WAN)); n != 3+1 { // bob has the one that she lost
					t.Errorf("%d frames out, want 4; drops %v", n, b.allDrops())
				}
				b.dropped(Spoofed, 1)
				return
			}
			b.dropped(row.why, 4)
			if got := b.onlyFrame(clients.WAN); !bytes.Equal(got[l3+8:l3+24], net.ParseIP("2001:db8::17")) {
				t.Errorf("%x", got)
			}
		})
	}
}

// Nobody fills the table of all: a client is held to its own places.
func TestAFloodOfAddressesIsHeld(t *testing.T) {
	b := aliceBridge(t)
	b.now += time.Second
	for i := range 500 {
		b.offer(clients.LAN, from6(aliceMAC, fmt.Sprintf("2001:db8::%x", i+1)))
	}
	b.round()
	if n := len(b.frames(clients.WAN)); n != addressesEach {
		t.Errorf("%d passed", n)
	}
	if n := len(b.f.bridge.shared.six.held); n != addressesEach {
		t.Errorf("%d addresses are held", n)
	}
}

// Those that are spoken for in turn, by discovery, are held to a rate.
func TestAFloodOfDiscoveryIsHeld(t *testing.T) {
	b := aliceBridge(t)
	b.now += time.Second
	for i := range 500 {
		b.offer(clients.LAN, discovery(aliceMAC, fmt.Sprintf("2001:db8::%x", i+1), allRouters6, 255, 133, 0, 0, 0, 0, 0))
	}
	b.round()
	b.dropped(Spoofed, 500-claimsAtOnce)
	b.dropped(Storm, claimsAtOnce-uint64(clientControl.burst))
	if n := len(b.f.bridge.shared.six.held); n != addressesEach {
		t.Errorf("%d addresses are held", n)
	}
}

// Control reads whose each address is.
func TestAddressesAreTold(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			withWorkers(t, n)
			b := aliceBridge(t)
			b.bind(bob, bobMAC, bobIP)
			told := func(slot int) (all []string) {
				for _, h := range b.table.Addresses6(slot).Heard(uint32(b.table.Slot(slot).Generation.Load())) {
					all = append(all, h.Address.String())
				}
				return all
			}
			wants := func(what string, slot int, want ...string) {
				t.Helper()
				if got := told(slot); !slices.Equal(got, want) {
					t.Errorf("%s: slot %d has %v, want %v", what, slot, got, want)
				}
			}
			wants("before", alice)
			b.in(clients.LAN, discovery(bobMAC, bob6, allRouters6, 255, 133, 0, 0, 0, 0, 0)) // without a session
			wants("in discovery", bob, bob6)
			b.in(clients.LAN, from6(aliceMAC, "2001:db8::1"))
			b.now += time.Second
			b.in(clients.LAN, from6(aliceMAC, "fe80::1"))
			wants("in packets", alice, "fe80::1", "2001:db8::1")
			b.in(clients.LAN, from6(aliceMAC, bob6), from6(aliceMAC, "ff02::1"))
			wants("forged", alice, "fe80::1", "2001:db8::1")
			b.now += saidEvery
			b.in(clients.LAN, from6(aliceMAC, "2001:db8::1"))
			wants("heard again", alice, "2001:db8::1", "fe80::1")
			for i := range addressesEach - 1 {
				b.now += 100 * time.Millisecond
				b.in(clients.LAN, discovery(aliceMAC, fmt.Sprintf("2001:db8::1:%x", i), allRouters6, 255, 133, 0, 0, 0, 0, 0))
			}
			if got := told(alice); len(got) != addressesEach || slices.Contains(got, "fe80::1") || got[15] != "2001:db8::1" {
				t.Errorf("the 17th: %v", got)
			}
			b.bind(alice, aliceMAC, aliceIP) // another generation
			wants("the slot's next client", alice)
			b.in(clients.LAN, discovery(aliceMAC, alice6, allRouters6, 255, 133, 0, 0, 0, 0, 0))
			wants("the slot's next client", alice, alice6)
			wants("at the end", bob, bob6)
		})
	}
}

// A slot's next client begins with none.
func TestTheNextClientHasNoneOfTheAddresses(t *testing.T) {
	b := aliceBridge(t)
	b.in(clients.LAN, from6(aliceMAC, "2001:db8::1"))
	b.bind(alice, aliceMAC, aliceIP) // another generation
	b.grant(alice, free())
	b.in(clients.LAN, from6(aliceMAC, "2001:db8::2"))
	b.frames(clients.WAN)
	if n := len(b.f.bridge.shared.six.held); n != 1 {
		t.Errorf("%d addresses are held, want 1", n)
	}
}

// Whose an address is the next forwarder knows before it has heard anybody.
func TestAddressesOutliveTheForwarder(t *testing.T) {
	const a = "2001:db8::1"
	rows := []struct {
		name  string
		wait  time.Duration // after alice spoke from it
		again bool          // her slot has another client meanwhile
		port  int
		raw   []byte
		why   Reason
	}{
		{"hers", 5 * time.Second, false, clients.LAN, from6(aliceMAC, a), Kept},
		{"hers, after a while", 50 * time.Second, false, clients.LAN, from6(aliceMAC, a), Kept},
		{"bob's packet", 5 * time.Second, false, clients.LAN, from6(bobMAC, a), Spoofed},
		{"bob's packet, after a while", 50 * time.Second, false, clients.LAN, from6(bobMAC, a), Spoofed},
		{"bob's packet, after a minute", time.Minute, false, clients.LAN, from6(bobMAC, a), Kept},
		{"bob's discovery", 5 * time.Second, false, clients.LAN, discovery(bobMAC, a, allRouters6, 255, 133, 0, 0, 0, 0, 0), Spoofed},
		{"the WAN's discovery", 5 * time.Second, false, clients.WAN, discovery(routerMAC, a, allNodes6, 255, 136, 0, target(a, routerMAC)...), Spoofed},
		{"the former client's", 5 * time.Second, true, clients.LAN, from6(bobMAC, a), Kept},
	}
	for _, n := range []int{1, 3} {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				withWorkers(t, n)
				b := aliceBridge(t)
				b.bind(bob, bobMAC, bobIP)
				b.grant(bob, free())
				b.in(clients.LAN, from6(aliceMAC, a))
				b.onlyFrame(clients.WAN)
				if row.again {
					b.bind(alice, aliceMAC, aliceIP)
				}
				b.now += row.wait
				b.start()
				for _, f := range b.workers() {
					f.announcements = [clients.NumPorts]announcement{}
				}
				b.round()
				for port := range b.ends {
					b.frames(port)
				}
				b.in(row.port, row.raw)
				if row.why != Kept {
					b.dropped(row.why, 1)
					b.nothing()
					return
				}
				b.onlyFrame(1 - row.port)
			})
		}
	}
}

// Nor does a client have more of them, or others, after it.
func TestTheNextForwarderKnowsAllAddresses(t *testing.T) {
	b := aliceBridge(t)
	for i := range addressesEach {
		b.in(clients.LAN, from6(aliceMAC, fmt.Sprintf("2001:db8::%x", i+1)))
		b.now += 100 * time.Millisecond
	}
	known := func() (all []string) {
		for _, h := range b.table.Addresses6(alice).Heard(uint32(b.table.Slot(alice).Generation.Load())) {
			all = append(all, h.Address.String())
		}
		return all
	}
	before := known()
	b.start()
	b.round()
	b.in(clients.LAN, from6(aliceMAC, "2001:db8::17"))
	b.dropped(Spoofed, 1)
	if after := known(); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	b.now += time.Minute
	b.in(clients.LAN, from6(aliceMAC, "2001:db8::17"))
	b.dropped(Spoofed, 1)
	if after := known(); len(after) != addressesEach || after[0] != "2001:db8::17" || slices.Contains(after, "2001:db8::1") {
		t.Errorf("the 17th: %v", after)
	}
}
