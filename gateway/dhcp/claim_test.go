package dhcp

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
)

// TestSomebodyHasTheAddress: while it is probed for.
func TestSomebodyHasTheAddress(t *testing.T) {
	const asks, replies = layers.ARPRequest, layers.ARPReply
	for _, row := range []struct {
		name           string
		op             uint16
		by             net.HardwareAddr
		sender, target netip.Addr
		declined       bool
	}{
		{"they answer", replies, stranger, offered.Addr(), none, true},
		{"they ask for another's", asks, stranger, offered.Addr(), router, true},
		{"they announce it", asks, stranger, offered.Addr(), offered.Addr(), true},
		{"they probe for it, too", asks, stranger, none, offered.Addr(), true},
		{"they ask who has it, having another", asks, stranger, router, offered.Addr(), false},
		{"they probe for another", asks, stranger, none, router, false},
		{"they answer about another", replies, stranger, router, none, false},
		{"somebody answers without an address", replies, stranger, none, offered.Addr(), false},
		{"an own probe comes back", asks, own, none, offered.Addr(), false},
		{"an own announcement comes back", asks, own, offered.Addr(), offered.Addr(), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.client.Begin(w.now, nil)
			w.says(one, offer).says(one, ack)
			w.took()
			w.hears(row.op, row.by, row.sender, row.target)
			if !row.declined {
				w.want(Probing, false).wantSent().to(time.Second).want(Bound, true)
				return
			}
			m := w.asked
			if got := m.RequestedIPAddress().String() + " " + m.ServerIdentifier().String(); got != offered.Addr().String()+" "+one.id.String() {
				t.Errorf("it declines %s", got)
			}
			w.want(Waiting, false).wantSent("DECLINE").wantWhy("203.0.113.20, which the DHCP server 203.0.113.2 has given, is in use by 02:00:00:00:00:09")
			if ip := w.client.Watched(); ip.IsValid() {
				t.Errorf("it watches %v", ip)
			}
			w.hears(row.op, row.by, row.sender, row.target).to(10*time.Second-1).want(Waiting, false).wantSent()
			w.to(10*time.Second).want(Selecting, false).wantSent("DISCOVER")
		})
	}
}

// An own frame that somebody passed on is no claim of theirs.
func TestAnOwnClaimPassedOnIsNone(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	w.says(one, offer).says(one, ack)
	_ = w.client.Hear(w.now, arpFrame(layers.ARPRequest, stranger, own, none, offered.Addr()), false)
	w.at().want(Probing, false)
	w.to(time.Second)
	_ = w.client.Hear(w.now, arpFrame(layers.ARPRequest, stranger, own, offered.Addr(), offered.Addr()), false)
	w.took()
	w.at().want(Bound, true).wantSent()
}

// TestSomebodyClaimsTheAddressInForce: it is defended once in ten seconds, then given up.
func TestSomebodyClaimsTheAddressInForce(t *testing.T) {
	claim := func(w *world) *world { return w.hears(layers.ARPReply, stranger, offered.Addr(), none) }
	for _, row := range []struct {
		name string
		do   func(w *world)
		then State
		held bool
		sent []string
	}{
		{"once", func(w *world) { claim(w) }, Bound, true, []string{"announce"}},
		{"twice in ten seconds", func(w *world) { claim(claim(w).to(70*time.Second - 1)) }, Waiting, false, []string{"announce", "DECLINE"}},
		{"again after ten", func(w *world) { claim(claim(w).to(70 * time.Second)) }, Bound, true, []string{"announce", "announce"}},
		{"a question without an address claims nothing", func(w *world) { w.hears(layers.ARPRequest, stranger, none, offered.Addr()) }, Bound, true, nil},
		{"while the cable is back", func(w *world) { w.client.Relinked(w.now); claim(claim(w)) }, Waiting, false, []string{"REQUEST", "announce", "DECLINE"}},
		{"a storm", func(w *world) {
			for range 1000 {
				claim(w)
			}
		}, Waiting, false, []string{"announce", "DECLINE"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := bound(t).to(time.Minute)
			w.took()
			row.do(w)
			w.want(row.then, row.held).wantSent(row.sent...)
		})
	}
}

// A server that gives an address that somebody has, again and again: what is sent stays little.
func TestAStormOfClaims(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	for range 6000 { // ten minutes
		w.says(one, offer).says(one, ack)
		w.hears(layers.ARPReply, stranger, offered.Addr(), none)
		w.to(w.now - start + 100*time.Millisecond)
	}
	sent := map[string]int{}
	for _, s := range w.took() {
		sent[s]++
	}
	if sent["DECLINE"] > 60 || sent["announce"] > 60 || sent["DISCOVER"] > 61 {
		t.Errorf("in ten minutes it sent %v", fmt.Sprint(sent))
	}
}
