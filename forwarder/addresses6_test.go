package forwarder

import (
	"fmt"
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
// have then.
func TestAClientHasSixteenAddresses(t *testing.T) {
	b := aliceBridge(t)
	b.bind(bob, bobMAC, bobIP)
	b.grant(bob, free())
	for i := range addressesEach + 1 {
		b.in(clients.LAN, from6(aliceMAC, fmt.Sprintf("2001:db8::%x", i+1)))
		b.now += 100 * time.Millisecond
	}
	b.frames(clients.WAN)
	b.in(clients.LAN, from6(bobMAC, "2001:db8::2"))
	b.dropped(Spoofed, 1)
	b.in(clients.LAN, from6(bobMAC, "2001:db8::1"))
	b.onlyFrame(clients.WAN)
	if n := len(b.f.bridge.shared.six.held); n != addressesEach+1 {
		t.Errorf("%d addresses are held", n)
	}
}

// Nobody fills the table of all: a client is held to a rate, and to its own places.
func TestAFloodOfAddressesIsHeld(t *testing.T) {
	b := aliceBridge(t)
	for i := range 500 {
		b.offer(clients.LAN, from6(aliceMAC, fmt.Sprintf("2001:db8::%x", i+1)))
	}
	b.round()
	if n := len(b.frames(clients.WAN)); n != claimsAtOnce {
		t.Errorf("%d passed", n)
	}
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
				b.in(clients.LAN, from6(aliceMAC, fmt.Sprintf("2001:db8::1:%x", i)))
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
