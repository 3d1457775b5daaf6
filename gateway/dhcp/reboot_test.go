package dhcp

import (
	"errors"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestALeaseOfBefore: whether it still holds is asked first.
func TestALeaseOfBefore(t *testing.T) {
	ended, another, bad, torn := former(), former(), former(), former()
	ended.Renew, ended.Rebind, ended.End = start, start, start
	another.MAC = stranger
	bad.By = nil
	torn.Rebind = torn.End + 1
	nothing := func(w *world) {}
	for _, row := range []struct {
		name string
		has  *Lease
		do   func(w *world)
		then State
		held bool
		sent []string
	}{
		{"everybody is asked", former(), nothing, Rebooting, false, []string{"REQUEST"}},
		{"it still holds: probed for, then in force", former(), func(w *world) { w.says(two, ack).to(time.Second) }, Bound, true, []string{"REQUEST", "probe", "probe", "probe", "announce"}},
		{"it does not: all begins anew", former(), func(w *world) { w.says(one, nak) }, Selecting, false, []string{"REQUEST", "DISCOVER"}},
		{"another is given than was asked for", former(), func(w *world) { w.says(one, ack, dhcpv4.WithYourIP([]byte{203, 0, 113, 21})) }, Rebooting, false, []string{"REQUEST"}},
		{"nobody answers: asked twice, then probed for and in force", former(), func(w *world) { w.to(16 * time.Second) }, Bound, true, []string{"REQUEST", "REQUEST", "probe", "probe", "probe", "announce"}},
		{"nobody answers, and it ends while asked for", &Lease{MAC: own, Address: offered, Server: one.id, By: one.mac, Since: start, Renew: start, Rebind: start, End: start + 5*time.Second},
			func(w *world) { w.to(14100 * time.Millisecond) }, Selecting, false, []string{"REQUEST", "REQUEST", "DISCOVER"}},
		{"it has ended", ended, nothing, Selecting, false, []string{"DISCOVER"}},
		{"it was another port's", another, nothing, Selecting, false, []string{"DISCOVER"}},
		{"it is not whole: no server's MAC", bad, nothing, Selecting, false, []string{"DISCOVER"}},
		{"it is not whole: its times are not in order", torn, nothing, Selecting, false, []string{"DISCOVER"}},
		{"there is none", nil, nothing, Selecting, false, []string{"DISCOVER"}},
		{"what is given on its account is of no use", former(), func(w *world) {
			w.usable = func(*Lease) error { return errors.New("no") }
			w.says(one, ack)
		}, Waiting, false, []string{"REQUEST"}},
		{"the cable goes while it is asked for", former(), func(w *world) { w.to(3 * time.Second).client.Relinked(w.now) }, Rebooting, false, []string{"REQUEST", "REQUEST"}},
		{"the cable goes while it is probed for: maybe it is another's now", former(), func(w *world) { w.says(one, ack).client.Relinked(w.now) },
			Rebooting, false, []string{"REQUEST", "probe", "REQUEST"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.client.Begin(w.now, row.has)
			row.do(w)
			w.at().want(row.then, row.held).wantSent(row.sent...)
		})
	}
	w := newWorld(t)
	w.usable = func(*Lease) error { return errors.New("the config is another now") }
	w.client.Begin(w.now, former())
	w.want(Selecting, false).wantSent("DISCOVER")
}

// No lease that ends while its address is probed for comes in force.
func TestALeaseEndsWhileProbedFor(t *testing.T) {
	w := newWorld(t)
	l := former()
	l.End = w.now + 15*time.Second
	l.Renew, l.Rebind = w.now, w.now
	w.client.Begin(w.now, l)
	for s := Rebooting; s == Rebooting; s, _, _ = w.client.State() {
		w.next()
	}
	w.want(Probing, false).took()
	w.now = l.End
	w.at().want(Selecting, false).wantSent("DISCOVER")
}

// TestTheCableComesBack: with a lease in force.
func TestTheCableComesBack(t *testing.T) {
	nothing := func(w *world) {}
	for _, row := range []struct {
		name  string
		after time.Duration
		do    func(w *world)
		then  State
		held  bool
		sent  []string
		why   string
	}{
		{"everybody is asked, it stays in force", time.Minute, nothing, Rebooting, true, []string{"REQUEST"}, ""},
		{"it holds", time.Minute, func(w *world) { w.says(one, ack) }, Bound, true, []string{"REQUEST"}, ""},
		{"it does not", time.Minute, func(w *world) { w.says(two, nak) }, Selecting, false, []string{"REQUEST", "DISCOVER"}, "refuses"},
		{"nobody answers", time.Minute, func(w *world) { w.to(75 * time.Second) }, Bound, true, []string{"REQUEST", "REQUEST"}, "no DHCP server answers"},
		{"nobody answers, and it is time to renew", 31 * time.Minute, func(w *world) { w.to(31*time.Minute + 15*time.Second) }, Renewing, true, []string{"REQUEST", "REQUEST", "REQUEST"}, "no DHCP server answers"},
		{"what is given is of no use", time.Minute, func(w *world) { w.says(one, ack, lasting(1)) }, Rebooting, true, []string{"REQUEST"}, "less than"},
		{"what is given is of no use, and that stays said", time.Minute, func(w *world) { w.to(66*time.Second).says(one, ack, lasting(1)).to(75 * time.Second) }, Bound, true, []string{"REQUEST", "REQUEST"}, "less than"},
		{"it ends meanwhile", time.Hour - 2900*time.Millisecond, func(w *world) { w.to(time.Hour) }, Selecting, false, []string{"REQUEST", "DISCOVER"}, "has ended"},
		{"it ended while the cable was away", time.Minute, func(w *world) {
			w.now = start + 2*time.Hour
			w.took()
			w.client.Relinked(w.now)
		}, Selecting, false, []string{"DISCOVER"}, "has ended"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := bound(t).to(row.after)
			w.took()
			w.client.Relinked(w.now)
			row.do(w)
			w.want(row.then, row.held).wantSent(row.sent...).wantWhy(row.why)
		})
	}
	t.Run("without a lease all begins at once", func(t *testing.T) {
		w := newWorld(t)
		w.client.Begin(w.now, nil)
		w.to(time.Minute)
		w.took()
		w.client.Relinked(w.now)
		w.want(Selecting, false).wantSent("DISCOVER")
	})
}

// Resume goes on with what is in force, and says nothing until it has to.
func TestALeaseInForceGoesOn(t *testing.T) {
	w := newWorld(t)
	w.client.Resume(w.now, former())
	w.want(Bound, true).wantSent()
	w.to(30*time.Minute).want(Renewing, true).wantSent("REQUEST")

	for name, spoil := range map[string]func(*Lease){
		"it has ended":      func(l *Lease) { l.End = start },
		"no server":         func(l *Lease) { l.Server = none.Prev() },
		"no server's MAC":   func(l *Lease) { l.By = nil },
		"no address":        func(l *Lease) { l.Address = Lease{}.Address },
		"T1 after its end":  func(l *Lease) { l.Renew = l.End + 1 },
		"T2 after its end":  func(l *Lease) { l.Rebind = l.End + 1 },
		"a MAC of 20 bytes": func(l *Lease) { l.By = make([]byte, 20) },
	} {
		w := newWorld(t)
		l := former()
		spoil(l)
		w.client.Resume(w.now, l)
		if s, _, _ := w.client.State(); s != Selecting {
			t.Errorf("%s: it is %s", name, s)
		}
		w.wantSent("DISCOVER")
	}
}
