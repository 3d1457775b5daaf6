package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/sessions/races"
)

// race is what many do at once to the devices of a world.
type race struct {
	*races.History
	w      *world
	random *rand.Rand
	ids    [races.Devices]int64

	mu   sync.Mutex
	told map[string]time.Duration // when an event came, by its name and session
}

func newRace(w *world, seed uint64) *race {
	r := &race{History: races.New(w.boot), w: w, random: rand.New(rand.NewPCG(seed, 0)), told: map[string]time.Duration{}}
	for i := range races.Devices {
		r.ids[i] = w.add(macOf(i), fmt.Sprintf("10.10.1.%d", i+1)).ID
	}
	return r
}

func macOf(i int) string { return fmt.Sprintf("02:00:00:00:01:%02x", i) }

// runs makes a history.
func (r *race) runs() {
	ctx, cancel := context.WithCancel(bg())
	var beside sync.WaitGroup
	events := r.w.m.Events(FromNow, EventFilter{})
	beside.Go(func() { r.hears(ctx, events) })
	for _, f := range []func(){r.watches, r.lists, r.ages} {
		beside.Go(func() {
			for ctx.Err() == nil {
				f()
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	r.Run(r.random, 10, 500*time.Microsecond, r.asks)
	for i := range races.Devices {
		r.Do(races.Call{Verb: races.Disconnect, Device: i}, r.asks)
	}
	for i := range races.Devices {
		r.Do(races.Call{Verb: races.Look, Device: i}, r.asks)
	}
	last := fmt.Sprint(ClientCreated, " ", 0)
	r.w.add(macA, "10.10.2.1")
	r.w.until("all events have come", func() bool { return r.heard(last) != 0 })
	cancel()
	beside.Wait()
	for i := range races.Devices {
		r.ends(i)
	}
}

// ages has much more time pass than does.
func (r *race) ages() { r.w.advance(8 * time.Millisecond) }

// hears notes when events come.
func (r *race) hears(ctx context.Context, events *EventReader) {
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return
		}
		at := r.w.boot()
		var v message
		if err := json.Unmarshal(e.Data, &v); err != nil || e.Lost != 0 {
			r.Oddly("event %+v: %v", e, err)
		}
		name := fmt.Sprint(e.Name, " ", v.Session)
		if strings.HasPrefix(v.Message, races.TimeIsUp) {
			name = fmt.Sprint(races.TimeIsUp, " ", v.Session)
		}
		r.mu.Lock()
		if r.told[name] == 0 {
			r.told[name] = at
		}
		r.mu.Unlock()
	}
}

func (r *race) heard(name string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told[name]
}

// watches looks at the table: no slot has two grants in use.
func (r *race) watches() {
	r.w.fake.mu.Lock() // the forwarder stands still meanwhile
	defer r.w.fake.mu.Unlock()
	for i := 1; i < r.w.table.Slots(); i++ {
		if n := inUse(r.w.table.Slot(i)); n > 1 {
			r.Oddly("slot %d has %d grants in use", i, n)
		}
	}
}

// inUse is how many grants of a slot have started and not ended.
func inUse(s *clients.Slot) (n int) {
	for i := range s.Grants {
		g := &s.Grants[i]
		if u := g.Use(g.Sequence.Load()); g.Sequence.Load() != 0 && u.Started != 0 && u.Ended == 0 {
			n++
		}
	}
	return n
}

// lists looks at the sessions that run, of all devices: one of each at most.
func (r *race) lists() {
	all, _, err := r.w.m.Sessions(bg(), Filter{State: Running}, "", maxPage)
	if err != nil && !errors.Is(err, ErrUnavailable) { // a store that is late costs the rest: those that run are in memory
		r.Oddly("list: %v", err)
	}
	for i, s := range all {
		if i > 0 && all[i-1].DeviceID == s.DeviceID {
			r.Oddly("device %d has two sessions that run: %d and %d", s.DeviceID, all[i-1].ID, s.ID)
		}
	}
}

// asks makes a call and says what came of it.
func (r *race) asks(c races.Call) (a races.Answer, err error) {
	defer func() { // without turns anything may happen
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	a, err = r.ask(c)
	for _, row := range []struct {
		err  error
		said string
	}{
		{ErrAlreadyConnected, races.Already}, {ErrNoSession, races.None}, {ErrPaused, races.Paused}, {ErrNotPaused, races.Goes},
		{ErrNotConnected, races.Not}, {ErrUnknownSession, races.Unknown}, {ErrUnavailable, races.Doubt}, {ErrForwarder, races.Doubt},
	} {
		if errors.Is(err, row.err) {
			return races.Answer{Said: row.said}, nil
		}
	}
	return a, err
}

func (r *race) ask(c races.Call) (a races.Answer, err error) {
	m, id := r.w.m, r.ids[c.Device]
	switch c.Verb {
	case races.Create:
		var v Session
		v, err = m.Create(bg(), id, planOf(c))
		a.Session = v.ID
	case races.Connect:
		var d Device
		if d, err = m.ConnectDevice(bg(), id, ""); d.Session != nil {
			a.Session = d.Session.ID
		}
	case races.Disconnect:
		_, err = m.DisconnectDevice(bg(), id, "")
	case races.Pause:
		_, err = m.PauseDevice(bg(), id, "")
	case races.Resume:
		_, err = m.ResumeDevice(bg(), id, "")
	case races.Sell:
		mb := float64(c.Limit) / 1e6
		_, err = m.Update(bg(), c.Session, Change{DataMB: &mb})
	case races.Extend:
		all := uint(races.Long / time.Second)
		_, err = m.Update(bg(), c.Session, Change{TimeSecs: &all})
	case races.Wind:
		used := uint(0)
		if c.Whole {
			used = uint(races.Long / time.Second)
		}
		_, err = m.Update(bg(), c.Session, Change{TimeCons: &used})
	case races.Slow:
		bits := throttleOf(c)
		_, err = m.Update(bg(), c.Session, Change{ThrottleDown: &bits, ThrottleUp: &bits})
	case races.Delete:
		err = m.Delete(bg(), c.Session)
	case races.Pass:
		begin := r.w.boot()
		a.Session = r.w.fake.carries(macOf(c.Device), races.Parcel)
		r.Add(c, a, begin, r.w.boot())
	case races.Look:
		a.All, err = r.look(id)
	}
	return a, err
}

func planOf(c races.Call) Plan {
	p := Plan{Type: TypeData, DataMB: float64(c.Limit) / 1e6, UseGlobalSpeed: true}
	if c.Time != 0 {
		p.Type, p.TimeSecs = TypeTime, uint(c.Time/time.Second)
		if c.Limit != 0 {
			p.Type = TypeTimeOrData
		}
	}
	p.ThrottleDown, p.ThrottleUp = throttleOf(c), throttleOf(c)
	if c.Life != 0 {
		days := uint((c.Life - c.Time) / races.Day)
		p.ExpDays = &days
	}
	return p
}

// throttleOf is the throttle that a session is to have, in bits a second.
func throttleOf(c races.Call) int64 {
	if c.Slow {
		return 512_000
	}
	return 0
}

// carries sends one packet up and returns the session that it is billed to; 0:
// it was dropped.
func (f *fakeForwarder) carries(mac string, size uint64) (session int64) {
	hw, _ := parseMAC(mac)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.macs {
		s := f.table.Slot(i)
		if m != hw {
			continue
		}
		f.goOn(i, s)
		if f.packet(s, size, true) {
			session = int64(s.Record(s.Active.Load()).Session.Load())
		}
	}
	return session
}

// look is what is on the device's sessions, as the model says it.
func (r *race) look(id int64) (text string, err error) {
	all, _, err := r.w.m.Sessions(bg(), Filter{DeviceID: id}, "", maxPage)
	for _, s := range all {
		text += races.Describe(s.ID, string(s.State), s.Type != TypeData, int64(s.UpBytes+s.DownBytes))
	}
	return text, err
}

// ledger is all that is told of a session, also of one that was deleted.
func (r *race) ledger(id int64) []LedgerLine {
	r.w.t.Helper()
	var next string
	all := answered(r.w, func() (all []LedgerLine, err error) {
		all, next, err = r.w.m.Ledger(bg(), id, "", maxPage)
		return all, err
	})
	if next != "" {
		r.w.t.Fatalf("%d lines, next %q", len(all), next)
	}
	return all
}

// ends adds what time did to a device's sessions.
func (r *race) ends(i int) {
	lines, all := map[int64][]races.Line{}, []races.Line{}
	for _, c := range r.Sold(i) {
		for _, x := range r.ledger(c.Session) {
			lines[c.Session] = append(lines[c.Session], races.Line{At: x.At.Sub(epoch), Kind: string(x.Kind), Why: x.Why})
		}
		all = append(all, lines[c.Session]...)
	}
	for _, c := range r.Sold(i) {
		ranOut, expired := fmt.Sprint(races.TimeIsUp, " ", c.Session), fmt.Sprint(SessionExpired, " ", c.Session)
		r.Ends(c, lines[c.Session], all, r.heard(ranOut), r.heard(expired))
	}
}

// sums holds what all sessions of a device have used, deleted ones too, against
// what passed, to the byte, and against the test's own clock.
func (r *race) sums(t *testing.T) {
	t.Helper()
	var least, most, billed time.Duration
	for i := range races.Devices {
		passed := r.Calls(func(c races.Call, a races.Answer) bool {
			return c.Device == i && c.Verb == races.Pass && a.Session != races.Dropped
		})
		bytes, ran := uint64(0), time.Duration(0)
		for _, c := range r.Sold(i) {
			all := r.ledger(c.Session)
			x := all[len(all)-1].Total
			bytes += x.UpBytes + x.DownBytes
			ran += time.Duration(x.TimeMS) * time.Millisecond
		}
		if bytes != races.Parcel*uint64(passed) {
			t.Errorf("device %d: %d bytes are billed, %d packets passed", i, bytes, passed)
		}
		from, to, ok := r.Elapsed(i, patience)
		rounding := time.Duration(len(r.Sold(i))) * time.Millisecond // of each session's sum, down
		if !ok || ran < from-rounding || ran > to {
			t.Errorf("device %d: %v are billed, packets could pass for %v to %v (%v)%s", i, ran, from, to, ok, r.Tell(i))
			for _, c := range r.Sold(i) {
				for _, x := range r.ledger(c.Session) {
					t.Logf("ledger %d: %v %s %q %d ms", c.Session, x.At.Sub(epoch), x.Kind, x.Why, x.Total.TimeMS)
				}
			}
		}
		least, most, billed = least+from, most+to, billed+ran
	}
	t.Logf("%v billed, %v to %v by the test's own clock", billed, least, most)
}

// patience is for what should come at once on a busy machine, and for finding an order
// of one device's calls.
const patience = 3 * time.Minute

// seeds are those of the histories: all with GATEWAYD_SOAK=1, a tenth without.
func seeds(t *testing.T, all int) (list []uint64) {
	t.Helper()
	first := uint64(1)
	if text := os.Getenv("GATEWAYD_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = n
	}
	if os.Getenv("GATEWAYD_SOAK") != "1" {
		all /= 10
	}
	if testing.Short() {
		all = 1
	}
	for i := range all {
		list = append(list, first+uint64(i))
	}
	return list
}

// Whatever is done at once to many devices, by many to each, while sessions run
// out and expire: there is an order, one at a time, in which all that was answered
// and all that passed is right, to the byte; no client ever has two grants in use;
// and the time that is billed is that in which packets could pass.
func TestRacesAreLinear(t *testing.T) {
	ends := map[races.Verb]int{}
	list := seeds(t, 200)
	lacks := func() bool { return !testing.Short() && (ends[races.RunOut] == 0 || ends[races.Expire] == 0) }
	for n := 0; n < len(list) || n < 10*len(list) && lacks(); n++ { // on a fast disk little time passes in one
		seed := list[0] + uint64(n)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := newRace(onDisk(t).boots().runs(), seed)
			r.runs()
			if verdict, why := r.Judge(patience); verdict != races.Linear {
				t.Errorf("the history is %s: %s", verdict, why)
			}
			for _, what := range r.Odd() {
				t.Error(what)
			}
			r.sums(t)
			r.Calls(func(c races.Call, _ races.Answer) bool {
				if c.Verb == races.RunOut || c.Verb == races.Expire {
					ends[c.Verb]++
				}
				return false
			})
		})
	}
	if t.Logf("%v", ends); lacks() {
		t.Error("no session ran out, or none expired")
	}
}
