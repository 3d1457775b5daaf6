package sessions

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// Whatever happens, in whatever order, and whenever control dies or the power
// is cut: stretches begin and end in turn, and add up to what the session says.
func TestALedgerAddsUpWhateverHappens(t *testing.T) {
	t.Parallel()
	seeds := 16
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			var ids []int64
			for range 60 {
				ids = w.happens(r, d, ids)
			}
			w.until("all is on disk", w.clean)
			w.followed()
			for _, id := range ids {
				w.alternates(id)
			}
			w.kills()
			w.boots().runs()
			for _, id := range ids {
				w.alternates(id)
			}
		})
	}
}

// happens does one thing at random, whether or not it is refused.
func (w *world) happens(r *rand.Rand, d Device, ids []int64) []int64 {
	w.t.Helper()
	any := func() int64 {
		if len(ids) == 0 {
			return 0
		}
		return ids[r.IntN(len(ids))]
	}
	act := func() (err error) {
		switch r.IntN(8) {
		case 0, 1:
			_, err = w.m.ConnectDevice(bg(), d.ID, "hello")
		case 2:
			_, err = w.m.DisconnectDevice(bg(), d.ID, "bye")
		case 3:
			_, err = w.m.Update(bg(), any(), Change{DataMB: new(0.01 + float64(r.IntN(100))/10_000)})
		case 4:
			_, err = w.m.Update(bg(), any(), Change{TimeCons: new(uint(r.IntN(300)))})
		case 5:
			_, err = w.m.checkpoint(bg(), false)
		case 6:
			if r.IntN(4) == 0 {
				err = w.m.Delete(bg(), any())
			}
		}
		return err
	}
	switch n := r.IntN(16); {
	case n < 2 && len(ids) < 12:
		plan := Plan{Type: Type(r.IntN(3)), TimeSecs: 600, DataMB: 0.01, UseGlobalSpeed: true}
		if s, err := w.m.Create(bg(), d.ID, plan); err == nil {
			ids = append(ids, s.ID)
		}
	case n < 9:
		_ = act()
	case n == 9:
		w.advance(time.Duration(r.IntN(700)) * time.Second)
		w.endsInTime()
	case n < 13:
		w.pass(macA, uint64(r.IntN(4000)), uint64(r.IntN(4000)))
	case n == 13: // control dies
		w.kills()
		w.pass(macA, uint64(r.IntN(4000)), 0)
		w.advance(time.Duration(r.IntN(100)) * time.Second)
		w.endsInTime()
		w.runs()
	case n == 14: // the power is cut
		w.kills()
		w.advance(time.Hour)
		w.boots().runs()
		w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
		w.until("it has its address", func() bool { return w.fake.addressOf(hwA) == ip2 })
	default: // the store does what it is asked, and nobody hears of it; then one or the other
		_ = w.inDoubt(act)
		if r.IntN(2) == 0 {
			w.back()
			break
		}
		w.kills()
		if r.IntN(2) == 0 {
			w.advance(10 * time.Millisecond) // no boot takes less: within its millisecond moments are not in order
			w.boots()
		}
		w.runs()
		w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	}
	return ids
}

// followed waits until the manager knows what the forwarder has done.
func (w *world) followed() {
	w.t.Helper()
	w.until("control has followed the forwarder", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		for _, d := range w.m.slots {
			if d == nil {
				continue
			}
			for i, g := range d.grants {
				u := w.table.Slot(d.slot).Record(g.seq).Use(g.seq)
				if u.Ended != 0 || i == 0 && u.Started == 0 || u.Started != 0 && !g.session.ledger.open {
					return false
				}
			}
		}
		return true
	})
}

// endsInTime waits until the forwarder has ended what was over before now.
func (w *world) endsInTime() {
	w.t.Helper()
	now := w.boot()
	w.until("grants end in time", func() bool {
		for i := range w.table.Slots() {
			s := w.table.Slot(i)
			g := s.Record(s.Active.Load())
			u := g.Use(s.Active.Load())
			if end, _ := g.Deadline(u.Started); u.Started != 0 && u.Ended == 0 && end <= now {
				return false
			}
		}
		return true
	})
}

// alternates checks that what begins a stretch and what closes it take turns,
// and, by reading it, that they add up.
func (w *world) alternates(id int64) {
	w.t.Helper()
	open := false
	story := ""
	for _, l := range w.ledger(id) {
		story += string(l.Kind) + " "
		opens, closes := false, false
		switch l.Kind {
		case LineStart, LineResume, LineChain:
			opens = true
		case LinePause, LineEnd:
			closes = l.Why != "disconnected: bye" || open // one that would have come back may be disconnected
		case LineNow:
			if s := w.session(id); open != (s.State == Running) {
				w.t.Errorf("session %d is %s, its ledger tells %s", id, s.State, story)
			}
		}
		if opens && open || closes && !open {
			w.t.Errorf("session %d: line %d, %s, is not its turn: %s", id, l.Number, l.Kind, story)
		}
		open = open && !closes || opens
	}
}

func TestALineInDoubtThatNeverWasIsNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	for _, call := range []func() error{
		func() error { _, err := w.m.ConnectDevice(bg(), d.ID, ""); return err },
		func() error { _, err := w.m.Update(bg(), s.ID, Change{DataMB: new(5.0)}); return err },
		func() error { return w.m.Delete(bg(), s.ID) },
	} {
		before := w.story(s.ID)
		w.wants(w.inDoubt(call), ErrUnavailable)
		w.back()
		w.until("it is undone", w.clean)
		w.tells(s.ID, before)
		w.kills()
		w.runs() // its ledger, if it is open, goes on behind what is on disk
		w.tells(s.ID, strings.Replace(before, "now", "use now", 1))
		if before == "create" {
			w.connect(d.ID)
		}
	}
}

func TestConsumptionDoesNotGoToDiskBeforeWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.until("all is on disk", w.clean)
	w.away()
	w.m.mu.Lock()
	w.m.post(w.m.sessions[s.ID], LineChange, "it waits")
	w.m.mu.Unlock()
	w.advance(useTime)
	if _, err := w.m.checkpoint(bg(), false); err == nil {
		t.Error("a checkpoint without a store")
	}
	w.back()
	w.until("all is on disk", w.clean)
	w.tells(s.ID, "create start change now")
}
