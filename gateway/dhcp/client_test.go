package dhcp

import (
	"errors"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The life of a lease: got, renewed of its server, then of anybody, then over.
func TestTheLifeOfALease(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	w.want(Selecting, false).wantSent("DISCOVER")
	w.to(100*time.Millisecond).says(one, offer).want(Requesting, false).wantSent("REQUEST")
	w.to(500*time.Millisecond).says(one, ack).want(Probing, false).wantSent("probe")
	if got := w.client.Watched(); got != offered.Addr() {
		t.Errorf("it watches %v", got)
	}
	w.to(1399*time.Millisecond).want(Probing, false).wantSent("probe", "probe")
	w.to(1400*time.Millisecond).want(Bound, true).wantSent("announce").wantWhy("")
	l, _ := w.client.Lease()
	asked := start + 100*time.Millisecond
	if l.Address != offered || l.Router != router || l.Server != one.id || l.By.String() != one.mac.String() || len(l.DNS) != 1 ||
		l.MAC.String() != own.String() || l.Since != asked || l.Renew != asked+30*time.Minute || l.Rebind != asked+3150*time.Second || l.End != asked+time.Hour {
		t.Errorf("the lease: %+v", l)
	}

	w.to(30*time.Minute+99*time.Millisecond).want(Bound, true).wantSent()
	w.to(30*time.Minute+100*time.Millisecond).want(Renewing, true)
	if s := w.last(); s.eth.DstMAC.String() != one.mac.String() || s.ip.DstIP.String() != one.id.String() || s.ip.SrcIP.String() != offered.Addr().String() {
		t.Errorf("it renews with %v, %v to %v", s.eth.DstMAC, s.ip.SrcIP, s.ip.DstIP)
	}
	w.wantSent("REQUEST")
	w.to(40 * time.Minute).wantSent() // half of what is left until T2: 11 minutes and a quarter
	w.to(42 * time.Minute)
	w.says(one, ack).want(Bound, true).wantSent("REQUEST")
	l, _ = w.client.Lease()
	asked += 30*time.Minute + (3150-1800)*time.Second/2
	if l.Since != asked || l.End != asked+time.Hour {
		t.Errorf("renewed at %v, until %v; want %v", l.Since, l.End, asked)
	}

	asked -= start
	w.to(asked+3150*time.Second-1).want(Renewing, true)
	w.took()
	w.to(asked+3150*time.Second).want(Rebinding, true)
	if s := w.last(); s.eth.DstMAC.String() != everybody.String() || s.ip.DstIP.String() != allHosts.String() || s.ip.SrcIP.String() != offered.Addr().String() {
		t.Errorf("it rebinds with %v, %v to %v", s.eth.DstMAC, s.ip.SrcIP, s.ip.DstIP)
	}
	w.wantSent("REQUEST")
	w.to(asked+time.Hour-1).want(Rebinding, true).wantWhy("no DHCP server answers")
	w.took()
	w.to(asked+time.Hour).want(Selecting, false).wantSent("DISCOVER").wantWhy("has ended")
}

// Anybody may answer who rebinds, and the lease is theirs then.
func TestAnotherServerRebinds(t *testing.T) {
	w := bound(t)
	w.to(53*time.Minute).want(Rebinding, true).says(two, ack).want(Bound, true)
	if l, _ := w.client.Lease(); l.Server != two.id || l.By.String() != two.mac.String() {
		t.Errorf("the lease is of %v, %v", l.Server, l.By)
	}
}

// 4, 8, 16, 32 and 64 seconds, one more or less.
func TestSilenceIsAskedLessAndLess(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	w.to(10 * time.Minute).wantWhy("no DHCP server answers")
	seen := map[time.Duration]bool{}
	for i, s := range w.sent[1:] {
		gap, want := s.at-w.sent[i].at, min(4*time.Second<<i, 64*time.Second)
		if gap < want-time.Second || gap > want+time.Second {
			t.Errorf("DISCOVER %d comes after %v, want %v", i+1, gap, want)
		}
		seen[gap-want] = true
	}
	if len(seen) < 5 {
		t.Errorf("it is not by chance: %v", seen)
	}
}

func TestOffersAndWhatComesOfThem(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(w *world)
		then State
		sent []string
		why  string
	}{
		{"a server that offers and never gives is left after three requests", func(w *world) {
			w.says(one, offer).to(40 * time.Second)
		}, Selecting, []string{"REQUEST", "REQUEST", "REQUEST", "DISCOVER", "DISCOVER"}, "no DHCP server answers"},
		{"and said", func(w *world) { w.says(one, offer).to(31100 * time.Millisecond) }, Selecting,
			[]string{"REQUEST", "REQUEST", "REQUEST", "DISCOVER"}, "203.0.113.2 has offered 203.0.113.20 and does not give it"},
		{"an offer of no use is not taken", func(w *world) {
			w.usable = func(*Lease) error { return errors.New("it is the LAN's") }
			w.says(one, offer)
		}, Selecting, nil, "what the DHCP server 203.0.113.2 offers is of no use: it is the LAN's"},
		{"it is still said when the next question is on its way", func(w *world) {
			w.usable = func(*Lease) error { return errors.New("it is the LAN's") }
			w.says(one, offer).to(6 * time.Second)
		}, Selecting, []string{"DISCOVER"}, "it is the LAN's"},
		{"but not for ever", func(w *world) {
			w.usable = func(*Lease) error { return errors.New("it is the LAN's") }
			w.says(one, offer).to(20 * time.Second)
		}, Selecting, []string{"DISCOVER", "DISCOVER"}, "no DHCP server answers"},
		{"the other server's is taken then", func(w *world) {
			w.usable = func(l *Lease) error {
				if l.Server == one.id {
					return errors.New("not of this one")
				}
				return nil
			}
			w.says(one, offer).says(two, offer)
		}, Requesting, []string{"REQUEST"}, "not of this one"},
		{"a second offer is not heard", func(w *world) { w.says(one, offer).says(two, offer).says(two, ack) }, Requesting, []string{"REQUEST"}, ""},
		{"nor the acknowledgement of nobody", func(w *world) {
			w.says(one, offer).says(one, ack, dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier))
		}, Requesting, []string{"REQUEST"}, ""},
		{"nor of an address that was not asked for", func(w *world) {
			w.says(one, offer).says(one, ack, dhcpv4.WithYourIP([]byte{203, 0, 113, 21}))
		}, Requesting, []string{"REQUEST"}, ""},
		{"an address that was not asked for is of no concern", func(w *world) {
			w.says(one, offer).says(one, ack, dhcpv4.WithYourIP([]byte{203, 0, 113, 21}), lasting(1))
		}, Requesting, []string{"REQUEST"}, ""},
		{"an acknowledgement before an offer is not heard", func(w *world) { w.says(one, ack) }, Selecting, nil, ""},
		{"what is acknowledged and of no use is left for ten seconds", func(w *world) { w.says(one, offer).says(one, ack, lasting(1)).to(9 * time.Second) },
			Waiting, []string{"REQUEST"}, "less than"},
		{"and then asked for anew", func(w *world) { w.says(one, offer).says(one, ack, lasting(1)).to(10 * time.Second) },
			Selecting, []string{"REQUEST", "DISCOVER"}, "less than"},
		{"another's transaction is not heard", func(w *world) { w.says(one, offer, dhcpv4.WithTransactionID([4]byte{1, 2, 3, 4})) }, Selecting, nil, ""},
		{"another's MAC is not heard", func(w *world) { w.says(one, offer, dhcpv4.WithHwAddr(stranger)) }, Selecting, nil, ""},
		{"a question is not an answer", func(w *world) {
			w.says(one, offer, func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootRequest })
		}, Selecting, nil, ""},
		{"BOOTP is not heard", func(w *world) { w.says(one, offer, dhcpv4.WithoutOption(dhcpv4.OptionDHCPMessageType)) }, Selecting, nil, ""},
		{"options twice are one long one, of no use", func(w *world) {
			w.says(one, offer, dhcpv4.WithGeneric(dhcpv4.OptionServerIdentifier, []byte{203, 0, 113, 2, 203, 0, 113, 2}))
		}, Selecting, nil, "it names no server"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.client.Begin(w.now, nil)
			w.took()
			row.do(w)
			w.want(row.then, false).wantSent(row.sent...).wantWhy(row.why)
		})
	}
}

func TestRefusals(t *testing.T) {
	begun := func(t *testing.T) *world {
		w := newWorld(t)
		w.client.Begin(w.now, nil)
		return w
	}
	asked := func(t *testing.T) *world { return begun(t).says(one, offer) }
	rebooting := func(t *testing.T) *world {
		w := newWorld(t)
		w.client.Begin(w.now, former())
		return w
	}
	at := func(after time.Duration) func(t *testing.T) *world {
		return func(t *testing.T) *world { return bound(t).to(after) }
	}
	const refuses = "the DHCP server 203.0.113.2 refuses 203.0.113.20"
	for _, row := range []struct {
		name string
		when func(t *testing.T) *world
		by   server
		more []dhcpv4.Modifier
		then State
		held bool
		sent []string
		why  string
	}{
		{"selecting: there is nothing to refuse", begun, one, nil, Selecting, false, nil, ""},
		{"requesting: all begins anew", asked, one, nil, Selecting, false, []string{"DISCOVER"}, refuses},
		{"with what the server says", asked, one, []dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptMessage("no\x1b more"))}, Selecting, false, []string{"DISCOVER"}, refuses + `: "no\x1b more"`},
		{"requesting: another server's", asked, two, nil, Requesting, false, nil, ""},
		{"probing: it was given", func(t *testing.T) *world { return asked(t).says(one, ack) }, one, nil, Probing, false, nil, ""},
		{"bound: nobody asked", at(time.Minute), one, nil, Bound, true, nil, ""},
		{"renewing: the address is gone", at(31 * time.Minute), one, nil, Selecting, false, []string{"DISCOVER"}, refuses},
		{"renewing: another server's", at(31 * time.Minute), two, nil, Renewing, true, nil, ""},
		{"rebinding: whoever says so", at(53 * time.Minute), two, nil, Selecting, false, []string{"DISCOVER"}, "203.0.113.3 refuses"},
		{"rebinding: but who says no name", at(53 * time.Minute), two, []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier)}, Rebinding, true, nil, ""},
		{"rebooting: whoever says so", rebooting, two, nil, Selecting, false, []string{"DISCOVER"}, "203.0.113.3 refuses"},
		{"rebooting: but who says no name", rebooting, two, []dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier)}, Rebooting, false, nil, ""},
		{"waiting: nobody asked", func(t *testing.T) *world { return asked(t).says(one, ack, lasting(1)) }, one, nil, Waiting, false, nil, "less than"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := row.when(t)
			w.took()
			w.says(row.by, nak, row.more...).want(row.then, row.held).wantSent(row.sent...).wantWhy(row.why)
		})
	}
}

// The first refusal is followed at once, the second has it wait, also of a lease that
// was in force for a moment.
func TestRefusedAgainItWaits(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	w.says(one, offer).says(one, nak).want(Selecting, false)
	w.says(one, offer).says(one, nak).want(Waiting, false)
	w.to(10*time.Second-1).want(Waiting, false)
	w.to(10*time.Second).want(Selecting, false)
	w.says(one, offer).says(one, ack, lasting(10)).to(15*time.Second).want(Renewing, true)
	w.says(one, nak).want(Waiting, false)
	w.to(25*time.Second).says(one, offer).says(one, ack, lasting(10)).to(30*time.Second).want(Renewing, true)
	w.says(one, ack, lasting(10)).to(35*time.Second).want(Renewing, true)
	w.says(one, nak).want(Selecting, false) // it was renewed once: that server means well
}

// A lease runs from the first of the requests that may have been answered.
func TestALeaseRunsFromWhenItWasAskedFor(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	w.to(2*time.Second).says(one, offer).to(17 * time.Second)
	w.wantSent("DISCOVER", "REQUEST", "REQUEST", "REQUEST")
	w.says(one, ack).to(18*time.Second).want(Bound, true)
	if l, _ := w.client.Lease(); l.Since != start+2*time.Second || l.End != start+2*time.Second+time.Hour {
		t.Errorf("it runs from %v to %v", l.Since, l.End)
	}
}

// An answer to a former question for more time is none to the last one.
func TestALateAnswerIsNotCountedFromTheLastQuestion(t *testing.T) {
	w := bound(t)
	w.to(30 * time.Minute)
	late := one.frame(w.answer(one, ack))
	w.to(42*time.Minute).wantSent("REQUEST", "REQUEST")
	_ = w.client.Hear(w.now, late, false)
	w.at().want(Renewing, true)
}

// What was acknowledged once does nothing a second time.
func TestReplaysDoNothing(t *testing.T) {
	w := bound(t)
	w.to(30 * time.Minute)
	replay := one.frame(w.answer(one, ack, lasting(7200)))
	w.says(one, ack)
	was, _ := w.client.Lease()
	w.took()
	for range 100 {
		_ = w.client.Hear(w.now, replay, false)
		w.to(w.now-start+time.Second).want(Bound, true)
	}
	if is, _ := w.client.Lease(); is.End != was.End || is.Since != was.Since {
		t.Errorf("the lease is until %v, was until %v", is.End, was.End)
	}
	w.to(61*time.Minute).want(Renewing, true)
	_ = w.client.Hear(w.now, replay, false)
	w.at().want(Renewing, true).wantSent("REQUEST")
}

// More time on terms that are of no use leaves all as it was until its end.
func TestARenewalOfNoUse(t *testing.T) {
	w := bound(t)
	w.to(30*time.Minute).says(one, ack, lasting(2)).want(Renewing, true).wantWhy("less than")
	w.says(one, ack, dhcpv4.WithYourIP([]byte{203, 0, 113, 99})).want(Renewing, true)
	w.to(time.Hour).want(Selecting, false)
}

func TestALeaseWithoutEnd(t *testing.T) {
	w := bound(t, lasting(0xffffffff))
	if l, _ := w.client.Lease(); l.Renew != Never || l.Rebind != Never || l.End != Never || w.client.Next() != Never {
		t.Errorf("the lease: %+v, next %v", l, w.client.Next())
	}
	w.now = 200 * 365 * 24 * time.Hour
	w.at().want(Bound, true).wantSent()
	w.client.Relinked(w.now)
	w.want(Rebooting, true).says(one, ack, lasting(0xffffffff)).want(Bound, true)
}
