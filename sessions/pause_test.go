package sessions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatewayd/store/client"
)

func (w *world) pause(device int64) Device {
	w.t.Helper()
	d, err := w.m.PauseDevice(bg(), device, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) resume(device int64) Device {
	w.t.Helper()
	d, err := w.m.ResumeDevice(bg(), device, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// holds checks that a device counts as connected with a paused session, by
// every call that says so.
func (w *world) holds(d Device, session int64) {
	w.t.Helper()
	page, _, err := w.m.Devices(bg(), "", 0) // first: it may not be in memory
	if err != nil || len(page) == 0 || page[0].ID != d.ID || page[0].Session == nil || page[0].Session.State != Paused || !page[0].Connected {
		w.t.Fatalf("devices: %+v, %v", page, err)
	}
	v := w.device(fmt.Sprint(d.ID))
	if !v.Connected || v.Session == nil || v.Session.ID != session || v.Session.State != Paused || v.Session.PauseReason == "" {
		w.t.Fatalf("device: %+v %+v, want session %d paused", v, v.Session, session)
	}
	if s := w.session(session); s.State != Paused {
		w.t.Fatalf("session: %+v", s)
	}
	clnt := w.m.ClientDevice(v)
	if ok, err := w.m.API().IsConnected(clnt); !ok || err != nil {
		w.t.Fatalf("IsConnected is %v, %v", ok, err)
	}
	current, ok := w.m.API().CurrSession(clnt)
	next, err := w.m.API().GetSession(bg(), clnt)
	if !ok || err != nil || current.(*handle).last.ID != session || next.(*handle).last.ID != session {
		w.t.Fatalf("CurrSession %v, GetSession %v", ok, err)
	}
	list, _, err := w.m.Sessions(bg(), Filter{State: Paused}, "", 0)
	if err != nil || len(list) != 1 || list[0].ID != session {
		w.t.Fatalf("paused sessions: %+v, %v", list, err)
	}
	if n := w.m.Counts()[Paused]; n != 1 {
		w.t.Fatalf("%d sessions are counted as paused", n)
	}
}

func TestPauseInPlace(t *testing.T) {
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	days := uint(1)
	s := w.create(d.ID, Plan{Type: TypeTimeOrData, TimeSecs: 100, DataMB: 1, ExpDays: &days, DownMbits: 5, UpMbits: 3})
	next := w.create(d.ID, timePlan(100))
	changed := w.m.ClientDevice(d).Subscribe(SessionChanged)
	w.connect(d.ID)
	w.pass(macA, 1000, 500)
	w.advance(10*time.Second + time.Millisecond)
	expires := *w.session(s.ID).ExpiresAt
	for range 3 {
		v, err := w.m.PauseDevice(bg(), d.ID, "tea")
		if err != nil || v.Session == nil || v.Session.State != Paused || v.Session.PauseReason != "asked" || !v.Connected {
			t.Fatalf("%+v %+v, %v", v, v.Session, err)
		}
		if n := w.pass(macA, 100, 0) + w.pass(macA, 0, 100); n != 0 {
			t.Fatalf("%d bytes passed while paused", n)
		}
		used := w.session(s.ID)
		w.advance(time.Hour)
		w.holds(d, s.ID)
		if now := w.session(s.ID); now.TimeCons != used.TimeCons || now.UpBytes+now.DownBytes != used.UpBytes+used.DownBytes || *now.ExpiresAt != expires {
			t.Fatalf("after an hour of pause\n%+v, before\n%+v", now, used)
		}
		if v := w.resume(d.ID); v.Session == nil || v.Session.State != Running || v.Session.ID != s.ID || v.Session.PauseReason != "" {
			t.Fatalf("%+v", v.Session)
		}
		if n := w.pass(macA, 100, 100); n != 200 {
			t.Fatalf("%d bytes passed after the pause", n)
		}
		w.advance(10 * time.Second)
	}
	if v := w.session(s.ID); v.TimeCons != 40 || v.UpBytes != 1300 || v.DownBytes != 800 {
		t.Errorf("after all: %+v", v)
	}
	if v := w.session(next.ID); v.State != Available || v.StartedAt != nil {
		t.Errorf("the next one was touched: %+v", v)
	}
	var told []string
	for _, l := range w.ledger(s.ID) {
		told = append(told, string(l.Kind)+" "+l.Why)
	}
	want := "create for device 1, " + macA + "; start connected: hello" + strings.Repeat("; pause paused: tea; resume resumed", 3) + "; now "
	if got := strings.Join(told, "; "); got != want {
		t.Errorf("the ledger says\n%s, want\n%s", got, want)
	}
	for i := range 6 {
		want := []string{`{"message":"tea","session_id":1,"state":"paused"}`, `{"message":"the session goes on","session_id":1,"state":"running"}`}[i%2]
		if got := string(<-changed); got != want {
			t.Errorf("event %d: %s, want %s", i, got, want)
		}
	}
}

func TestPauseIsRefused(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(100))
	calls := map[string]func() error{
		"pause":   func() error { _, err := w.m.PauseDevice(bg(), d.ID, ""); return err },
		"resume":  func() error { _, err := w.m.ResumeDevice(bg(), d.ID, ""); return err },
		"connect": func() error { _, err := w.m.ConnectDevice(bg(), d.ID, ""); return err },
	}
	for _, row := range []struct {
		when string
		do   func()
		call string
		want error
		say  string
	}{
		{"never connected", func() {}, "pause", ErrNotConnected, "pause " + macA + ": not connected"},
		{"never connected", func() {}, "resume", ErrNotPaused, "resume " + macA + ": not paused"},
		{"running", func() { w.connect(d.ID) }, "resume", ErrNotPaused, "not paused"},
		{"paused", func() { w.pause(d.ID) }, "pause", ErrPaused, "session 1 is paused"},
		{"paused", func() {}, "connect", ErrAlreadyConnected, "already connected: session 1 is paused"},
		{"paused", func() {}, "connect", ErrPaused, ""},
		{"disconnected", func() { w.disconnect(d.ID) }, "resume", ErrNotPaused, ""},
		{"disconnected", func() {}, "pause", ErrNotConnected, ""},
	} {
		row.do()
		err := calls[row.call]()
		w.wants(err, row.want)
		if err != nil && !strings.Contains(err.Error(), row.say) {
			t.Errorf("%s when %s: %q, want %q", row.call, row.when, err, row.say)
		}
	}
	_, err := w.m.PauseDevice(bg(), 99, "")
	w.wants(err, ErrNoDevice)
	_, err = w.m.ResumeDevice(bg(), 99, "")
	w.wants(err, ErrNoDevice)
}

// TestWhatHappensToAPausedSession: a device whose session is paused has two
// sessions of 100 s, the first one with 90 left.
func TestWhatHappensToAPausedSession(t *testing.T) {
	none := uint(0)
	edit := func(c Change) func(w *world, d Device) {
		return func(w *world, d Device) {
			if _, err := w.m.Update(bg(), 1, c); err != nil {
				w.t.Error(err)
			}
		}
	}
	more, all := uint(200), uint(100)
	for _, row := range []struct {
		name   string
		single bool // there is no second session
		do     func(w *world, d Device)
		state  [2]State // of the first and the second
		paused int64    // the device's session; 0: it is disconnected
		left   uint     // of the first
	}{
		{"it is topped up", false, edit(Change{TimeSecs: &more}), [2]State{Paused, Available}, 1, 190},
		{"it is disconnected, and keeps its rest", false, func(w *world, d Device) { w.disconnect(d.ID) }, [2]State{Available, Available}, 0, 90},
		{"another one is bought", true, func(w *world, d Device) { w.create(d.ID, timePlan(100)) }, [2]State{Paused, Available}, 1, 90},
		{"it expires, and the next one is paused", false, func(w *world, d Device) { w.advance(200 * time.Second) }, [2]State{Expired, Paused}, 2, 90},
		{"it expires, and none is left", true, func(w *world, d Device) { w.advance(200 * time.Second) }, [2]State{Expired}, 0, 90},
		{"it is edited to nothing", false, edit(Change{TimeCons: &all}), [2]State{Consumed, Paused}, 2, 0},
		{"it is edited to nothing, and none is left", true, edit(Change{TimeCons: &all}), [2]State{Consumed}, 0, 0},
		{"it expires out of its slot, and none is left", true, func(w *world, d Device) {
			w.m.mu.Lock()
			w.m.vacate(1, anyWorker)
			w.m.mu.Unlock()
			w.advance(200 * time.Second)
			_, err := w.m.PauseDevice(bg(), d.ID, "")
			w.wants(err, ErrNotConnected)
		}, [2]State{Expired}, 0, 90},
		{"it is deleted", false, func(w *world, d Device) { w.m.Delete(bg(), 1) }, [2]State{"", Paused}, 2, 0},
		{"it is deleted, and none is left", true, func(w *world, d Device) { w.m.Delete(bg(), 1) }, [2]State{}, 0, 0},
		{"the next one is deleted", false, func(w *world, d Device) { w.m.Delete(bg(), 2) }, [2]State{Paused, ""}, 1, 90},
		{"its slot is needed", false, func(w *world, d Device) { w.m.mu.Lock(); w.m.vacate(1, anyWorker); w.m.mu.Unlock() }, [2]State{Paused, Available}, 1, 90},
		{"the device moves", false, func(w *world, d Device) {
			if err := w.m.ClientDevice(d).Update(bg(), macB, "10.10.0.9", ""); err != nil {
				w.t.Error(err)
			}
		}, [2]State{Paused, Available}, 1, 90},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).stands().boots().runs()
			d := w.add(macA, "10.10.0.2")
			first := timePlan(100)
			first.ExpDays = &none
			w.create(d.ID, first)
			if !row.single {
				w.create(d.ID, timePlan(100))
			}
			gone := w.m.ClientDevice(d).Subscribe(SessionDisconnected)
			w.connect(d.ID)
			w.advance(10*time.Second + time.Millisecond)
			w.pause(d.ID)
			row.do(w, d)
			for round := range 2 {
				w.until("the device is as it should be", func() bool {
					v := w.device(fmt.Sprint(d.ID))
					return v.Connected == (row.paused != 0) && w.m.isPaused(d.ID) == v.Connected && (row.paused == 0 && v.Session == nil || v.Session != nil && v.Session.ID == row.paused)
				})
				for i, want := range row.state {
					if v, err := w.m.Session(bg(), int64(i+1)); v.State != want {
						t.Errorf("session %d is %v, want %q; %v", i+1, v.State, want, err)
					} else if i == 0 && v.RemainingTime != row.left {
						t.Errorf("%d s are left, want %d", v.RemainingTime, row.left)
					}
				}
				if n := w.pass(macA, 100, 0) + w.pass(macB, 100, 0); n != 0 {
					t.Errorf("%d bytes passed", n)
				}
				if round == 1 {
					break
				}
				w.until("all is on disk", w.clean)
				w.kills()
				w.boots().runs()
				w.m.mu.Lock()
				indexed := w.m.paused.of(d.ID)
				w.m.mu.Unlock()
				if indexed != row.paused {
					t.Errorf("the disk has session %d as paused, want %d", indexed, row.paused)
				}
			}
			if row.paused == 0 {
				<-gone
				_, err := w.m.ResumeDevice(bg(), d.ID, "")
				w.wants(err, ErrNotPaused)
				return
			}
			w.resume(d.ID)
			w.advance(5 * time.Second)
			if v := w.session(row.paused); v.State != Running || v.StartedAt == nil {
				t.Errorf("after resume: %+v", v)
			}
			if n := w.pass(macA, 100, 0) + w.pass(macB, 100, 0); n != 100 {
				t.Errorf("%d bytes passed after resume", n)
			}
		})
	}
}

// TestPauseOutlivesWhatEnds: whatever ends while a session is paused, it is
// paused afterwards, and nothing is billed meanwhile.
func TestPauseOutlivesWhatEnds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(w *world, d Device)
	}{
		{"control is killed", func(w *world, d Device) { w.kills(); w.runs() }},
		{"control ends", func(w *world, d Device) { w.end(); w.runs() }},
		{"control is killed, and the store is away at its start", func(w *world, d Device) {
			w.kills()
			w.client = client.New()
			w.away()
			w.serves()
			if ok, err := w.m.API().IsConnected(w.m.ClientDevice(d)); !ok || err != nil {
				w.t.Errorf("IsConnected is %v, %v", ok, err)
			}
			w.back()
			w.until("the books are open", w.m.books.opened.Load)
		}},
		{"its slot is another, and control is killed with the store away", func(w *world, d Device) {
			w.m.mu.Lock()
			w.m.vacate(1, anyWorker)
			w.m.mu.Unlock()
			w.add(macB, "10.10.0.3")
			w.add(macA, "10.10.0.2")
			w.m.mu.Lock()
			slot := w.m.byID[d.ID].slot
			w.m.mu.Unlock()
			if w.table.Slot(slot).Paused.Load() != 1 {
				w.t.Error("its new slot does not say so")
			}
			w.kills()
			w.runs()
		}},
		{"it cannot go on", func(w *world, d Device) {
			w.wants(w.unheard(func() error { _, err := w.m.ResumeDevice(bg(), d.ID, ""); return err }), ErrForwarder)
			w.stalls(false)
			w.until("that is settled", w.clean)
		}},
		{"the power fails", func(w *world, d Device) { w.kills(); w.boots().runs() }},
		{"the power fails, and the client is seen again", func(w *world, d Device) {
			w.kills()
			w.boots().runs()
			if _, _, err := w.m.AddDevice(bg(), macA, "10.10.0.2", ""); err != nil {
				w.t.Error(err)
			}
			w.pass(macA, 100, 0)
		}},
		{"the power fails twice", func(w *world, d Device) { w.kills(); w.boots().runs(); w.kills(); w.boots().runs() }},
		{"the device is forgotten", func(w *world, d Device) {
			w.m.mu.Lock()
			w.m.vacate(1, anyWorker)
			w.m.mu.Unlock()
			w.advance(2 * idle)
			w.m.forget()
		}},
		{"sessions do not go on after a restart", func(w *world, d Device) {
			w.opt.ResumeOnRestart = false
			w.kills()
			w.boots().runs()
		}},
		{"it is restored from a backup", func(w *world, d Device) {
			var b strings.Builder
			if err := w.m.Backup(bg(), &b); err != nil {
				w.t.Error(err)
			}
			w.resume(d.ID)
			w.advance(time.Second)
			if err := w.m.Restore(bg(), strings.NewReader(b.String())); err != nil {
				w.t.Error(err)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).stands().boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, Plan{Type: TypeTimeOrData, TimeSecs: 100, DataMB: 1, DownMbits: 5, UpMbits: 3})
			w.connect(d.ID)
			w.pass(macA, 1000, 500)
			w.advance(10*time.Second + time.Millisecond)
			w.pause(d.ID)
			w.advance(time.Minute)
			row.do(w, d)
			w.advance(time.Minute)
			w.holds(d, s.ID)
			if n := w.pass(macA, 100, 0); n != 0 {
				t.Errorf("%d bytes passed", n)
			}
			w.resume(d.ID)
			w.pass(macA, 10, 0)
			w.advance(5 * time.Second)
			if v := w.session(s.ID); v.State != Running || v.TimeCons != 15 || v.UpBytes != 1010 || v.DownBytes != 500 {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestPauseCutsAtOnce(t *testing.T) {
	for _, row := range []struct {
		name string
		call func(w *world, call func() error) error
		want error
		mend func(w *world)
	}{
		{"while the store is away", func(w *world, call func() error) error { w.away(); return call() }, ErrUnavailable, (*world).back},
		{"while the forwarder does not answer", (*world).unheard, ErrForwarder, func(w *world) { w.stalls(false) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).stands().boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, timePlan(100))
			w.create(d.ID, timePlan(100))
			w.connect(d.ID)
			w.advance(10*time.Second + time.Millisecond)
			w.wants(row.call(w, func() error { _, err := w.m.PauseDevice(bg(), d.ID, ""); return err }), row.want)
			w.advance(50 * time.Second)
			if v := w.session(s.ID); v.State != Paused || v.TimeCons != 10 {
				t.Errorf("%+v", v)
			}
			if row.want == ErrUnavailable && w.pass(macA, 100, 0) != 0 {
				t.Error("passes")
			}
			w.wants(row.call(w, func() error { _, err := w.m.ResumeDevice(bg(), d.ID, ""); return err }), row.want)
			row.mend(w)
			w.until("all is on disk", w.clean)
			w.holds(d, s.ID)
			if w.pass(macA, 100, 0) != 0 {
				t.Error("passes after it was mended")
			}
			w.resume(d.ID)
			w.advance(5 * time.Second)
			if v := w.session(s.ID); v.State != Running || v.TimeCons != 15 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestControlDiesWhilePausing: the pause is in the table and not yet on disk,
// or the other way round.
func TestControlDiesWhilePausing(t *testing.T) {
	for _, row := range []struct {
		name   string
		do     func(w *world, d Device)
		boot   bool // and the power with it
		paused bool
	}{
		{"the table has the pause, the disk not", func(w *world, d Device) {
			w.away()
			_, err := w.m.PauseDevice(bg(), d.ID, "")
			w.wants(err, ErrUnavailable)
		}, false, true},
		{"the pause is lost with the power", func(w *world, d Device) {
			w.away()
			_, err := w.m.PauseDevice(bg(), d.ID, "")
			w.wants(err, ErrUnavailable)
		}, true, false},
		{"the table says so, and the grant still runs", func(w *world, d Device) {
			slot := w.table.Slot(w.m.byID[d.ID].slot)
			slot.PausedWhy.Store(uint64(pauseAsked))
			slot.Paused.Store(1)
		}, false, false},
		{"the disk has that it goes on, the table not", func(w *world, d Device) {
			w.pause(d.ID)
			w.wants(w.inDoubt(func() error { _, err := w.m.ResumeDevice(bg(), d.ID, ""); return err }), ErrUnavailable)
		}, false, true},
		{"that it goes on is on disk as the power fails", func(w *world, d Device) {
			w.pause(d.ID)
			w.wants(w.inDoubt(func() error { _, err := w.m.ResumeDevice(bg(), d.ID, ""); return err }), ErrUnavailable)
		}, true, false},
		{"the table has that it goes on, the disk not", func(w *world, d Device) {
			w.pause(d.ID)
			w.resume(d.ID)
			w.m.mu.Lock()
			w.m.sessions[1].paused = pauseAsked
			records := w.m.sessions[1].records(w.m.sessions[1].settled, 0)
			w.m.mu.Unlock()
			if err := w.m.save(bg(), records); err != nil {
				w.t.Error(err)
			}
		}, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, timePlan(100))
			w.connect(d.ID)
			w.advance(10*time.Second + time.Millisecond)
			row.do(w, d)
			w.kills()
			if row.boot {
				w.boots()
			}
			w.runs()
			if row.paused {
				w.holds(d, s.ID)
				if n := w.pass(macA, 100, 0); n != 0 {
					t.Errorf("%d bytes passed", n)
				}
				w.resume(d.ID)
			} else {
				if row.boot {
					w.connect(d.ID)
				}
				w.until("it runs", func() bool { return w.session(s.ID).State == Running })
			}
			if n := w.pass(macA, 100, 0); n != 100 {
				t.Errorf("%d bytes passed", n)
			}
			w.until("all is on disk", w.clean)
			w.kills()
			w.boots().runs()
			if v := w.device(fmt.Sprint(d.ID)); v.Connected {
				t.Errorf("the disk has it as paused: %+v", v.Session)
			}
		})
	}
}

// TestPauseRacesTheEnd: the session ends by itself as it is paused.
func TestPauseRacesTheEnd(t *testing.T) {
	for i := range 40 {
		w := newWorld(t).boots().runs()
		d := w.add(macA, "10.10.0.2")
		s := w.create(d.ID, timePlan(1))
		next := w.create(d.ID, timePlan(100))
		w.connect(d.ID)
		w.advance(time.Second - time.Duration(i)*50*time.Microsecond)
		v := w.pause(d.ID)
		used := w.session(next.ID).TimeCons // 0, or how long the pause took, if it came too late
		w.advance(time.Hour)
		first, second := w.session(s.ID), w.session(next.ID)
		if v.Session == nil || v.Session.State != Paused || second.TimeCons != used || first.State == Running || second.State == Running ||
			(first.State == Paused) == (second.State == Paused) {
			t.Fatalf("%d: %+v\n%+v\n%+v", i, v.Session, first, second)
		}
		w.resume(d.ID)
		w.advance(5 * time.Second)
		w.until("the second one runs", func() bool { return w.session(next.ID).State == Running })
		w.end()
		w.stopsForwarder()
		w.fake = nil
	}
}
