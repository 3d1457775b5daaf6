package sessions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// unheard makes a call while the forwarder takes nothing in, until the call
// gives up.
func (w *world) unheard(call func() error) error {
	w.stalls(true)
	done := make(chan error, 1)
	go func() { done <- call() }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Millisecond):
			w.advance(ackTime / 4)
		}
	}
}

// settled has the forwarder go round again and waits until nothing is left to count.
func (w *world) settled(device int64) {
	w.t.Helper()
	w.stalls(false)
	w.until("what was revoked is settled", func() bool {
		w.m.Wake()
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		for _, g := range w.m.byID[device].grants {
			if g.revoked {
				return false
			}
		}
		return true
	})
}

// A stretch is one line, by whatever the device was let go of before the
// forwarder had taken in that it was paused, and nothing is said to have begun
// that did not.
func TestAStretchIsInTheLedgerOnce(t *testing.T) {
	disconnect := func(w *world, id int64) error { _, err := w.m.DisconnectDevice(bg(), id, ""); return err }
	pause := func(w *world, id int64) error { _, err := w.m.PauseDevice(bg(), id, ""); return err }
	resume := func(w *world, id int64) error { _, err := w.m.ResumeDevice(bg(), id, ""); return err }
	goesAway := func(w *world, _ int64) error {
		w.loses(pauseNoCarrier)
		w.until("it is known", w.lostWAN)
		return nil
	}
	for _, row := range []struct {
		name  string
		calls []func(w *world, id int64) error
		want  string
	}{
		{"paused, then disconnected", []func(*world, int64) error{pause, disconnect}, "pause paused; pause disconnected"},
		{"disconnected twice", []func(*world, int64) error{disconnect, disconnect}, "pause disconnected"},
		{"paused, the WAN lost, resumed", []func(*world, int64) error{pause, goesAway, resume},
			"pause paused; pause resumed: paused: the WAN port has no carrier"},
		{"the WAN lost, paused", []func(*world, int64) error{goesAway, pause},
			"pause paused: the WAN port has no carrier; pause paused"},
		{"the WAN lost, disconnected", []func(*world, int64) error{goesAway, disconnect},
			"pause paused: the WAN port has no carrier; pause disconnected"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.opt.PauseOnCarrierLoss = true
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, timePlan(600))
			w.connect(d.ID)
			w.advance(6 * time.Second)
			for i, call := range row.calls {
				err := w.unheard(func() error { return call(w, d.ID) })
				if err != nil && !errors.Is(err, ErrForwarder) && !errors.Is(err, ErrNotConnected) {
					t.Errorf("call %d: %v", i, err)
				}
				w.until("its session is not running", func() bool { return w.session(s.ID).State != Running })
			}
			w.settled(d.ID)
			var told []string
			w.until("its ledger is closed", func() bool {
				told = nil
				for _, l := range w.ledger(s.ID)[2:] { // created and connected
					told = append(told, strings.TrimSpace(string(l.Kind)+" "+l.Why))
				}
				return told[len(told)-1] != "now"
			})
			if got := strings.Join(told, "; "); got != row.want {
				t.Errorf("it tells %q\nwant %q", got, row.want)
			}
		})
	}
}

// keeper is a device of which a test draws what happens to it.
type keeper struct {
	w      *world
	random *rand.Rand
	device int64
	sold   []int64
	did    []string
	failed []string // errors that nothing explains
}

var happenings = []string{
	"connect", "connect", "connect", "pause", "pause", "resume", "disconnect", "disconnect", "lose the WAN", "regain the WAN", "wait", "wait", "send", "top up",
}

// draws has something happen to the device, and the forwarder hear of it at
// once, late, or only after the call has given up.
func (k *keeper) draws() {
	w := k.w
	what := happenings[k.random.IntN(len(happenings))]
	more, secs, mb := time.Duration(k.random.IntN(4000))*time.Millisecond, uint(1+k.random.IntN(60)), float64(1+k.random.IntN(8))/1000
	of, up := k.sold[k.random.IntN(len(k.sold))], uint64(k.random.IntN(4000))
	call := func() error {
		var err error
		switch what {
		case "connect":
			_, err = w.m.ConnectDevice(bg(), k.device, "")
		case "pause":
			_, err = w.m.PauseDevice(bg(), k.device, "")
		case "resume":
			_, err = w.m.ResumeDevice(bg(), k.device, "")
		case "disconnect":
			_, err = w.m.DisconnectDevice(bg(), k.device, "")
		case "lose the WAN":
			w.table.Header().Down.Store(1 << clients.WAN)
			w.m.Wake()
		case "regain the WAN":
			w.regains()
		case "wait":
			w.advance(more)
			w.m.Wake()
		case "send":
			w.pass(macA, up, up/2)
		case "top up":
			c := Change{TimeSecs: &secs}
			if w.session(of).Type == TypeData {
				c = Change{DataMB: &mb}
			}
			_, err = w.m.Update(bg(), of, c)
		}
		return err
	}
	how, late := k.random.IntN(3), time.Duration(k.random.IntN(2000))*time.Microsecond
	k.did = append(k.did, fmt.Sprintf("%s (%d)", what, how))
	var err error
	switch how {
	case 0:
		err = w.unheard(call)
		w.stalls(k.random.IntN(3) > 0)
	case 1:
		w.stalls(true)
		done := make(chan error, 1)
		go func() { done <- call() }()
		time.Sleep(late)
		w.stalls(false)
		err = <-done
	default:
		w.stalls(false)
		err = call()
	}
	for _, known := range []error{nil, ErrForwarder, ErrUnavailable, ErrAlreadyConnected, ErrNotConnected, ErrNoSession, ErrPaused, ErrNotPaused} {
		if err == known || known != nil && errors.Is(err, known) {
			return
		}
	}
	k.failed = append(k.failed, fmt.Sprintf("%s: %v", what, err))
}

// counts reads a ledger's lines as they are. None counts less than the one before,
// but for the moment in which a grant began.
func (k *keeper) counts(id int64) {
	k.w.t.Helper()
	h, err := k.w.m.held(bg(), id)
	if err != nil {
		k.w.t.Fatal(err)
	}
	all, err := k.w.m.linesAfter(bg(), id, place{}, h, 1000)
	if err != nil {
		k.w.t.Fatal(err)
	}
	for i := 1; i < len(all); i++ {
		if a, b := all[i-1], all[i]; a.use.time > b.use.time+100*time.Millisecond || a.use.up > b.use.up || a.use.down > b.use.down {
			k.w.t.Errorf("session %d: line %d, %s, counts %+v, the one before %+v", id, b.number, b.kind, b.use, a.use)
		}
	}
}

// adds compares every session's ledger with the session and with what the
// forwarder billed, and looks at how its stretches follow each other.
func (k *keeper) adds() {
	w := k.w
	for _, id := range k.sold {
		k.counts(id)
		lines := w.ledger(id) // which adds up, and to the session
		w.fake.mu.Lock()
		billed := w.fake.billed[id]
		w.fake.mu.Unlock()
		last := lines[len(lines)-1]
		if last.Total != counted(use{billed.up, billed.down, billed.time}) {
			w.t.Errorf("session %d: its ledger says %+v, the forwarder billed %+v", id, last.Total, billed)
		}
		open := false
		for _, l := range lines {
			if !open && l.Used != (Counted{}) {
				w.t.Errorf("session %d: line %d: it used %+v while it was not used", id, l.Number, l.Used)
			}
			switch l.Kind {
			case LineStart, LineResume, LineChain:
				if open {
					w.t.Errorf("session %d: line %d: it begins what is under way", id, l.Number)
				}
				open = true
			case LinePause, LineEnd:
				open = false
			}
		}
	}
}

// Whatever happens to a device, and however late the forwarder takes it in: the
// lines of a ledger add up to what the session says, and that is what the
// forwarder billed.
func TestLedgersAddUp(t *testing.T) {
	seeds := uint64(12)
	if os.Getenv("GATEWAYD_SOAK") != "" {
		seeds *= 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.opt.PauseOnCarrierLoss = true
			w.boots().runs()
			k := &keeper{w: w, random: rand.New(rand.NewPCG(seed, 5)), device: w.add(macA, "10.10.0.2").ID}
			for range 6 {
				p := timePlan(uint(3 + k.random.IntN(10)))
				switch k.random.IntN(3) {
				case 0:
					p = dataPlan(0.008)
				case 1:
					p.Type, p.DataMB = TypeTimeOrData, 0.008
				}
				k.sold = append(k.sold, w.create(k.device, p).ID)
			}
			for range 40 {
				k.draws()
			}
			w.stalls(false)
			w.regains()
			w.until("it is disconnected", func() bool {
				_, err := w.m.DisconnectDevice(bg(), k.device, "")
				return errors.Is(err, ErrNotConnected)
			})
			w.settled(k.device)
			k.adds()
			for _, f := range k.failed {
				t.Error(f)
			}
			if t.Failed() {
				t.Log(strings.Join(k.did, ", "))
			}
		})
	}
}

// A line that counts less than the one before it, as of a grant that began in the
// moment of a change, has nothing counted twice.
func TestNoLineCountsLessThanTheOneBefore(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(600))
	w.m.mu.Lock()
	for _, ms := range []time.Duration{3, 2, 3, 7} {
		v := w.m.sessions[s.ID]
		v.settled.time = ms * time.Millisecond
		w.m.post(v, LineChange, "")
	}
	w.m.mu.Unlock()
	var used []uint64
	for _, l := range w.ledger(s.ID) { // by pages; it adds up
		used = append(used, l.Used.TimeMS)
	}
	if want := []uint64{0, 3, 0, 0, 4}; !slices.Equal(used, want) {
		t.Errorf("used %v, want %v", used, want)
	}
}

// What is next does not begin as the session in use is let go of, whenever the
// forwarder looks.
func TestNothingChainsAsADeviceIsLetGo(t *testing.T) {
	for _, row := range []struct {
		name string
		call func(w *world, id int64) error
	}{
		{"disconnect", func(w *world, id int64) error { _, err := w.m.DisconnectDevice(bg(), id, ""); return err }},
		{"pause", func(w *world, id int64) error { _, err := w.m.PauseDevice(bg(), id, ""); return err }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.opt.Boot = func() time.Duration { // the manager looks at the clock for each grant that it revokes
				w.mu.Lock()
				fake, ends := w.fake, w.skip > 0
				w.mu.Unlock()
				if ends {
					fake.mu.Lock()
					defer fake.mu.Unlock()
					fake.round()
				}
				return w.boot()
			}
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			w.create(d.ID, timePlan(600))
			next := w.create(d.ID, timePlan(600))
			w.connect(d.ID)
			w.until("the next one is ready", func() bool {
				w.m.mu.Lock()
				defer w.m.mu.Unlock()
				d := w.m.byID[d.ID]
				return d.next() != nil && w.m.acked(d.slot, w.table.Policy(d.slot))
			})
			w.advance(time.Second)
			if err := row.call(w, d.ID); err != nil {
				t.Fatal(err)
			}
			w.tells(next.ID, "create")
		})
	}
}
