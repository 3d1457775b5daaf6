package sessions

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Whatever clients of the API and the traffic do to one device at once: every
// byte that passed is on exactly one session, none has more than it sold, no
// call fails in a way that is not its own, and a restart changes nothing.
func TestAllAtOnceOnOneDevice(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(0.05))
	var passed uint64
	var all sync.WaitGroup
	mine := func(err error, own ...error) {
		for _, e := range own {
			if errors.Is(err, e) {
				return
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	end := time.Now().Add(1500 * time.Millisecond)
	forever := func(do func(n int)) {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				do(n)
			}
		})
	}
	for range 2 {
		forever(func(int) {
			_, err := w.m.ConnectDevice(bg(), d.ID, "")
			mine(err, ErrAlreadyConnected, ErrNoSession, ErrUnavailable)
		})
	}
	forever(func(int) {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		_, err := w.m.DisconnectDevice(bg(), d.ID, "")
		mine(err, ErrNotConnected)
	})
	forever(func(n int) {
		p := dataPlan(0.05)
		if n%3 == 0 {
			p = timePlan(1)
		}
		_, err := w.m.Create(bg(), d.ID, p)
		mine(err)
		time.Sleep(10 * time.Millisecond)
	})
	forever(func(int) {
		ss, _, err := w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 1000)
		mine(err, ErrUnavailable)
		if len(ss) == 0 {
			return
		}
		s := ss[rand.IntN(len(ss))]
		if more := s.DataMB + 0.01; s.Type == TypeData && s.State != Consumed {
			_, err = w.m.Update(bg(), s.ID, Change{DataMB: &more})
			mine(err)
		}
	})
	forever(func(int) {
		passed += w.pass(macA, 3000, 0)
		w.advance(time.Millisecond)
		time.Sleep(200 * time.Microsecond)
	})
	all.Wait()
	if _, err := w.m.DisconnectDevice(bg(), d.ID, ""); err != nil {
		mine(err, ErrNotConnected)
	}
	check := func(when string) {
		t.Helper()
		var ss []Session
		w.until("the store answers in time", func() bool { // else the list is what is in memory
			var next string
			var err error
			if ss, next, err = w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 1000); next != "" || err != nil && !errors.Is(err, ErrUnavailable) {
				t.Fatal(next, err)
			}
			return err == nil && len(w.m.Degraded()) == 0
		})
		total := uint64(0)
		for _, s := range ss {
			total += s.UpBytes
			if s.Type == TypeData && s.DataCons > s.DataMB || s.Type == TypeTime && s.TimeCons > s.TimeSecs || s.State == Running {
				t.Errorf("%s: %+v", when, s)
			}
		}
		if total != passed || passed == 0 {
			t.Errorf("%s: %d bytes billed on %d sessions, %d passed", when, total, len(ss), passed)
		}
	}
	check("at rest")
	w.until("all is on disk", w.clean)
	w.kills()
	w.runs()
	check("after a restart of control")
	w.kills()
	w.boots().runs()
	check("after a power cut")
}
