package sessions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"gatewayd/forwarder/clients"
)

// racers are the devices of a history, and the most who change one at once.
const (
	racers     = 16
	maxWriters = 8
	callsEach  = 10
)

// track is a history as it is made.
type track struct {
	w      *world
	random *rand.Rand // of who makes the history
	began  time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	sold    [racers][]call // create calls that were done, with the session's id
	odd     []string       // what no history may have
}

// runner is one device of a history.
type runner struct {
	*track
	at   int
	id   int64
	mac  string
	gift bool // nothing of it is deleted, so that all that passed is on its sessions
}

func newTrack(w *world, seed uint64) *track {
	return &track{w: w, random: rand.New(rand.NewPCG(seed, 0)), began: time.Now()}
}

// race has all devices' writers run at once and returns the history.
func (k *track) race() []porcupine.Operation {
	var writers sync.WaitGroup
	var all []*runner
	for i := range racers {
		mac := fmt.Sprintf("02:00:00:00:01:%02x", i)
		r := &runner{track: k, at: i, id: k.w.add(mac, fmt.Sprintf("10.10.1.%d", i+1)).ID, mac: mac, gift: i%2 == 0}
		all = append(all, r)
	}
	watched := k.watch()
	for _, r := range all {
		for range 1 + k.random.IntN(maxWriters) {
			random := rand.New(rand.NewPCG(k.random.Uint64(), 1))
			writers.Go(func() {
				for range callsEach {
					r.does(r.draw(random))
					time.Sleep(time.Duration(random.IntN(500)) * time.Microsecond)
				}
			})
		}
	}
	writers.Wait()
	watched()
	for _, r := range all {
		r.does(call{verb: toDisconnect, device: r.at})
		r.does(call{verb: toLook, device: r.at})
	}
	return k.history
}

// watch looks at the table until the result is called: no slot has two grants in use.
func (k *track) watch() (stop func()) {
	done := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Microsecond):
			}
			k.w.fake.mu.Lock() // the forwarder stands still meanwhile
			for i := 1; i < k.w.table.Slots(); i++ {
				if n := inUse(k.w.table.Slot(i)); n > 1 {
					k.oddly("slot %d has %d grants in use", i, n)
				}
			}
			k.w.fake.mu.Unlock()
		}
	})
	return func() { close(done); looking.Wait() }
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

func (k *track) oddly(format string, a ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.odd) < 10 {
		k.odd = append(k.odd, fmt.Sprintf(format, a...))
	}
}

// draw draws what is done next.
func (r *runner) draw(random *rand.Rand) call {
	r.mu.Lock()
	known := slices.Clone(r.sold[r.at])
	r.mu.Unlock()
	n := random.IntN(100)
	if len(known) == 0 || n < 12 && len(known) < maxSold-maxWriters {
		c := call{verb: toCreate, device: r.at, timed: random.IntN(3) == 0, expires: random.IntN(2) == 0}
		if !c.timed {
			c.limit = parcel * int64(1+random.IntN(4))
		}
		return c
	}
	one := known[random.IntN(len(known))]
	c := call{verb: toPass, device: r.at}
	switch {
	case n < 35:
		c.verb = toConnect
	case n < 50:
		c.verb = toDisconnect
	case n < 56:
		c.verb = toPause
	case n < 62:
		c.verb = toResume
	case n < 80:
	case one.timed:
		c.verb, c.session, c.whole = toWind, one.session, random.IntN(3) > 0
	case one.expires && n < 84:
		c.verb, c.session = toExpire, one.session
	case n < 93 || r.gift:
		c.verb, c.session, c.limit = toSell, one.session, parcel*int64(1+random.IntN(6))
	default:
		c.verb, c.session = toDelete, one.session
	}
	return c
}

// does makes a call and notes it.
func (r *runner) does(c call) {
	begin := time.Since(r.began)
	said, err := r.ask(c)
	end := time.Since(r.began)
	switch {
	case err == nil:
	case errors.Is(err, ErrAlreadyConnected):
		said.said = saidAlready
	case errors.Is(err, ErrNoSession):
		said.said = saidNone
	case errors.Is(err, ErrPaused):
		said.said = saidPaused
	case errors.Is(err, ErrNotPaused):
		said.said = saidGoes
	case errors.Is(err, ErrNotConnected):
		said.said = saidNot
	case errors.Is(err, ErrUnknownSession):
		said.said = saidUnknown
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrForwarder):
		said.said = saidDoubt
	default:
		r.oddly("%v: %v", c, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.verb == toCreate {
		if err != nil {
			return // nothing was bought
		}
		made := c
		made.session = said.session
		r.sold[r.at] = append(r.sold[r.at], made)
	}
	r.history = append(r.history, porcupine.Operation{ClientId: r.at, Input: c, Output: said, Call: int64(begin), Return: int64(end)})
}

// ask makes a call.
func (r *runner) ask(c call) (said result, err error) {
	defer func() { // without turns anything may happen
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	m := r.w.m
	switch c.verb {
	case toCreate:
		p := Plan{Type: TypeData, DataMB: float64(c.limit) / 1e6, UseGlobalSpeed: true}
		if c.timed {
			p = Plan{Type: TypeTime, TimeSecs: hourly, UseGlobalSpeed: true}
		}
		if day := uint(1); c.expires {
			p.ExpDays = &day
		}
		var v Session
		v, err = m.Create(bg(), r.id, p)
		said.session = v.ID
	case toConnect:
		var d Device
		if d, err = m.ConnectDevice(bg(), r.id, ""); err == nil {
			if d.Session == nil {
				return said, errors.New("connected without a session")
			}
			said.session = d.Session.ID
		}
	case toDisconnect:
		_, err = m.DisconnectDevice(bg(), r.id, "")
	case toPause:
		_, err = m.PauseDevice(bg(), r.id, "")
	case toResume:
		_, err = m.ResumeDevice(bg(), r.id, "")
	case toSell:
		mb := float64(c.limit) / 1e6
		_, err = m.Update(bg(), c.session, Change{DataMB: &mb})
	case toWind:
		used := uint(0)
		if c.whole {
			used = hourly
		}
		_, err = m.Update(bg(), c.session, Change{TimeCons: &used})
	case toExpire:
		long := epoch.Add(-48 * time.Hour)
		_, err = m.update(bg(), c.session, edit{setStarted: true, startedAt: &long})
	case toDelete:
		err = m.Delete(bg(), c.session)
	case toPass:
		said.session = r.w.fake.carries(r.mac, parcel)
	case toLook:
		said.all, err = r.look()
	}
	return said, err
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
		f.goOn(s)
		if f.packet(s, size, true) {
			session = int64(s.Record(s.Active.Load()).Session.Load())
		}
	}
	return session
}

// look is what is on the device's sessions, as the model says it.
func (r *runner) look() (string, error) {
	all, _, err := r.w.m.Sessions(bg(), Filter{DeviceID: r.id}, "", 1000)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%d %s %d of %d; ", s.ID, s.State, s.UpBytes+s.DownBytes, megabytes(s.DataMB))
	}
	return b.String(), nil
}

// judge asks porcupine, and the table's watcher.
func (k *track) judge() (verdict porcupine.CheckResult, why string) {
	verdict = porcupine.CheckOperationsTimeout(deviceModel.ToModel(), k.history, 2*time.Minute)
	if verdict != porcupine.Ok {
		why = k.shortest()
	}
	return verdict, why
}

// shortest is the history of the first device that is refused, and how far it
// can be told.
func (k *track) shortest() string {
	model := deviceModel.ToModel()
	for _, part := range deviceModel.Partition(k.history) {
		if porcupine.CheckOperationsTimeout(model, part, 2*time.Second) == porcupine.Ok {
			continue
		}
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for n := range part { // with all that began before it ended
			short := slices.DeleteFunc(slices.Clone(part), func(op porcupine.Operation) bool { return op.Call > part[n].Return })
			if porcupine.CheckOperationsTimeout(model, short, 2*time.Second) == porcupine.Ok {
				continue
			}
			var b strings.Builder
			for _, op := range short[max(0, len(short)-40):] {
				fmt.Fprintf(&b, "\n%9.3f..%9.3f ms  %v -> %+v", float64(op.Call)/1e6, float64(op.Return)/1e6, op.Input, op.Output)
			}
			return b.String()
		}
	}
	return ""
}

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

// Whatever is done at once to many devices, by many to each: there is an order,
// one at a time, in which all that was answered and all that passed is right, to
// the byte; and no client ever has two grants in use.
func TestRacesAreLinear(t *testing.T) {
	for _, seed := range seeds(t, 200) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			k := newTrack(newWorld(t).boots().runs(), seed)
			history := k.race()
			if verdict, why := k.judge(); verdict != porcupine.Ok {
				t.Errorf("%d calls are %v:%s", len(history), verdict, why)
			}
			for _, what := range k.odd {
				t.Error(what)
			}
			k.sums(t)
		})
	}
}

// sums holds what passed of devices of which nothing was deleted against what is
// on their sessions.
func (k *track) sums(t *testing.T) {
	t.Helper()
	var passed [racers]uint64
	for _, op := range k.history {
		call := op.Input.(call)
		if op := op.Output.(result); op.session != 0 && call.verb == toPass {
			passed[call.device] += parcel
		}
	}
	for i := 0; i < racers; i += 2 {
		d := k.w.device(fmt.Sprintf("02:00:00:00:01:%02x", i))
		all, _, err := k.w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		billed := uint64(0)
		for _, s := range all {
			billed += s.UpBytes + s.DownBytes
		}
		if billed != passed[i] {
			t.Errorf("device %d: %d bytes are billed, %d passed", i, billed, passed[i])
		}
	}
}
