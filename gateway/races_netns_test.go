//go:build netns

package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewayd/gateway/api/client"
	"gatewayd/sessions/races"
)

// race is what many do at once to the devices of a running gateway.
type race struct {
	*races.History
	t       *testing.T
	l       *lab
	d       *daemon
	began   time.Time
	ids     [races.Devices]int64
	guide   session // of one who is always let in
	parcels *parcels

	mu   sync.Mutex
	told map[string]time.Duration // when an event came, by its name and session
}

func (r *race) now() time.Duration { return time.Since(r.began) }

// newRace adds the devices. Each is a MAC and an address on the client's end of
// the cable.
func newRace(t *testing.T, program string, workers int) *race {
	l := newLab(t, fmt.Sprint("workers: ", workers))
	l.program = program
	r := &race{t: t, l: l, d: l.start(), began: time.Now(), told: map[string]time.Duration{}}
	r.History = races.New(r.now)
	l.client.run("ip", "link", "set", "eth0", "arp", "off") // it is none of them
	add := func(i int) (of string, v device) {
		mac, ip := member(i)
		r.d.must("POST", "/devices", fmt.Sprintf(`{"mac":"%v","ip":"%v"}`, mac, ip), &v)
		return "/devices/" + mac.String(), v
	}
	for i := range races.Devices {
		_, v := add(i)
		r.ids[i] = v.ID
	}
	r.parcels = newParcels(l, r.now)
	guided := map[int]bool{}
	for i := races.Devices; len(guided) < workers && i < races.Devices+candidates; i++ {
		of, _ := add(i)
		r.d.must("POST", of+"/sessions", anHour, &r.guide)
		r.d.must("POST", of+"/connect", "", nil)
		if worker := r.parcels.workerOf(i, workers); !guided[worker] {
			guided[worker] = true
			r.parcels.guides = append(r.parcels.guides, i)
		}
	}
	if len(guided) < workers {
		t.Fatalf("no guide for each of %d workers: %v", workers, guided)
	}
	return r
}

// candidates is how many devices are looked at for one of each worker's.
const candidates = 64

// runs makes a history.
func (r *race) runs(seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { r.hears(ctx) })
	watching.Go(func() { r.watches(ctx) })
	r.Run(random, 12, 600*time.Millisecond, r.ask)
	for i := range races.Devices {
		r.Do(races.Call{Verb: races.Disconnect, Device: i}, r.ask)
	}
	for i := range races.Devices {
		r.Do(races.Call{Verb: races.Look, Device: i}, r.ask)
	}
	last := fmt.Sprint("session:changed ", r.guide.ID)
	eventually(r.t, soon, "all events have come", func() error {
		r.d.must("PATCH", fmt.Sprint("/sessions/", r.guide.ID), `{"up_mbits":1}`, nil)
		if _, ok := r.heard(last); !ok {
			return errNotYet
		}
		return nil
	})
	cancel()
	watching.Wait()
	r.parcels.into(r.History)
	for i := range races.Devices {
		r.ends(i)
	}
}

// burst is how many parcels a device sends in a row; each is a call of the history.
const burst = 3

// ask makes a call.
func (r *race) ask(c races.Call) (a races.Answer, err error) {
	var v device
	var s session
	of, one := fmt.Sprintf("/devices/%d", r.ids[c.Device]), fmt.Sprintf("/sessions/%d", c.Session)
	var code int
	switch c.Verb {
	case races.Create:
		code, err = r.d.ask("POST", of+"/sessions", plan(c), &s)
		a.Session = s.ID
	case races.Connect:
		if code, err = r.d.ask("POST", of+"/connect", "", &v); v.Session != nil {
			a.Session = v.Session.ID
		}
	case races.Disconnect, races.Pause:
		defer r.besides(c.Device)()
		code, err = r.d.ask("POST", of+"/"+string(c.Verb), "", nil)
	case races.Resume:
		code, err = r.d.ask("POST", of+"/resume", "", nil)
	case races.Sell:
		code, err = r.d.ask("PATCH", one, fmt.Sprintf(`{"data_mb":%v}`, float64(c.Limit)/1e6), nil)
	case races.Extend:
		code, err = r.d.ask("PATCH", one, fmt.Sprintf(`{"time_secs":%d}`, races.Long/time.Second), nil)
	case races.Wind:
		used := 0
		if c.Whole {
			used = int(races.Long / time.Second)
		}
		code, err = r.d.ask("PATCH", one, fmt.Sprintf(`{"time_cons":%d}`, used), nil)
	case races.Slow:
		code, err = r.d.ask("PATCH", one, fmt.Sprintf(`{"throttle_down_bits":%d,"throttle_up_bits":%d}`, throttle(c), throttle(c)), nil)
	case races.Delete:
		defer r.besides(c.Device)()
		code, err = r.d.ask("DELETE", one, "", nil)
	case races.Pass:
		for range burst {
			if err := r.parcels.pass(c.Device); err != nil {
				return a, err
			}
		}
		return a, nil
	case races.Look:
		a.All, err = r.look(c.Device)
	}
	if err == nil {
		return a, nil
	}
	said := err.Error()
	for _, row := range []struct{ text, word string }{
		{"no such session", races.Unknown}, {"already connected", races.Already}, {"no more available sessions", races.None},
		{"not paused", races.Goes}, {"not connected", races.Not}, {"is paused", races.Paused},
	} {
		if (code == http.StatusConflict || code == http.StatusNotFound) && strings.Contains(said, row.text) {
			return races.Answer{Said: row.word}, nil
		}
	}
	if code == http.StatusServiceUnavailable {
		return races.Answer{Said: races.Doubt}, nil
	}
	return a, err
}

// besides has a device send parcels until the result is called.
func (r *race) besides(device int) (stop func()) {
	const most = 20
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for range most {
			if err := r.parcels.pass(device); err != nil {
				r.Oddly("%v", err)
			}
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond / 2):
			}
		}
	})
	return func() { close(done); sending.Wait() }
}

// plan is the body of a create.
func plan(c races.Call) string {
	p := map[string]any{"type": "data", "use_global_speed": true}
	if c.Time != 0 {
		p["type"], p["time_secs"] = "time", c.Time/time.Second
	}
	if c.Limit != 0 {
		p["data_mb"] = float64(c.Limit) / 1e6
	}
	if c.Time != 0 && c.Limit != 0 {
		p["type"] = "time_or_data"
	}
	if c.Slow {
		p["throttle_down_bits"], p["throttle_up_bits"] = throttle(c), throttle(c)
	}
	switch c.Life {
	case races.Day:
		p["exp_days"] = 1
	case races.Short:
		p["exp_days"] = 0
	}
	text, _ := json.Marshal(p)
	return string(text)
}

// throttle is the throttle that a session is to have, in bits a second: parcels pass at it
// as they do without one.
func throttle(c races.Call) int64 {
	if c.Slow {
		return 9_000_000
	}
	return 0
}

// look is what is on a device's sessions.
func (r *race) look(i int) (string, error) {
	var all struct {
		Items []struct {
			session
			Type string
		}
	}
	if _, err := r.d.ask("GET", fmt.Sprintf("/devices/%d/sessions", r.ids[i]), "", &all); err != nil {
		return "", err
	}
	text := ""
	for _, s := range all.Items {
		text += races.Describe(s.ID, s.State, s.Type != "data", int64(s.UpBytes+s.DownBytes))
	}
	return text, nil
}

// hears notes when events come, as whoever follows them is told.
func (r *race) hears(ctx context.Context) {
	_, err := client.New(r.l.dir+"/gatewayd.sock", 0).Events(ctx, "/events", func(e client.StreamEvent) error {
		at := r.now()
		var v event
		if err := json.Unmarshal(e.Data, &v); err != nil {
			return err
		}
		if v.Lost != 0 {
			r.Oddly("%d events are lost", v.Lost)
		}
		name := fmt.Sprint(e.Name, " ", v.Data.SessionID)
		if strings.HasPrefix(v.Data.Message, races.TimeIsUp) {
			name = fmt.Sprint(races.TimeIsUp, " ", v.Data.SessionID)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.told[name] == 0 {
			r.told[name] = at
		}
		return nil
	})
	if ctx.Err() == nil {
		r.Oddly("the events broke off: %v", err)
	}
}

// heard says when an event came first.
func (r *race) heard(name string) (at time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok = r.told[name]
	return at, ok
}

// watches looks at the sessions of all: at most one of each device runs.
func (r *race) watches(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i = (i + 1) % races.Devices {
		var all struct{ Items []session }
		if _, err := r.d.ask("GET", fmt.Sprintf("/devices/%d/sessions?state=running", r.ids[i]), "", &all); err != nil {
			r.Oddly("look at device %d: %v", i, err)
		}
		if len(all.Items) > 1 {
			r.Oddly("device %d has %d sessions that run: %+v", i, len(all.Items), all.Items)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// line is a line of a ledger.
type line struct {
	At    time.Time
	Kind  string
	Why   string
	Total struct {
		TimeMS    uint64 `json:"time_ms"`
		UpBytes   uint64 `json:"up_bytes"`
		DownBytes uint64 `json:"down_bytes"`
	}
}

// ledger is all that is told of a session, also of one that was deleted.
func (r *race) ledger(id int64) (all []line) {
	r.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items []line
			Next  string
		}
		r.d.must("GET", fmt.Sprintf("/sessions/%d/ledger?cursor=%s", id, cursor), "", &page)
		if all, cursor = append(all, page.Items...), page.Next; cursor == "" {
			return all
		}
	}
}

// ends adds what time did to a device's sessions.
func (r *race) ends(i int) {
	lines, all := map[int64][]races.Line{}, []races.Line{}
	for _, c := range r.Sold(i) {
		for _, x := range r.ledger(c.Session) {
			lines[c.Session] = append(lines[c.Session], races.Line{At: x.At.Sub(r.began), Kind: x.Kind, Why: x.Why})
		}
		all = append(all, lines[c.Session]...)
	}
	for _, c := range r.Sold(i) {
		ranOut, _ := r.heard(fmt.Sprint(races.TimeIsUp, " ", c.Session))
		expired, _ := r.heard(fmt.Sprint("session:expired ", c.Session))
		r.Ends(c, lines[c.Session], all, ranOut, expired)
	}
}

// sums holds what all sessions of a device have used, deleted ones too, against
// what arrived at the far ends, to the byte, and against the test's own clock.
func (r *race) sums() {
	r.t.Helper()
	up, down := r.l.server.counted(races.Devices-1), r.l.client.counted(races.Devices-1)
	var least, most, billed time.Duration
	var sold int
	for i := range races.Devices {
		var bytes uint64
		var ran time.Duration
		for _, c := range r.Sold(i) {
			all := r.ledger(c.Session)
			x := all[len(all)-1]
			bytes += x.Total.UpBytes + x.Total.DownBytes
			ran += time.Duration(x.Total.TimeMS) * time.Millisecond
			sold++
		}
		if arrived := up[i] + down[i]; bytes != arrived {
			r.t.Errorf("device %d: %d bytes are billed, %d arrived", i, bytes, arrived)
		}
		from, to, ok := r.Elapsed(i, patience)
		rounding := time.Duration(len(r.Sold(i))) * time.Millisecond // of each session's sum, down
		if !ok || ran < from-rounding || ran > to {
			r.t.Errorf("device %d: %v are billed, packets could pass for %v to %v (%v)", i, ran, from, to, ok)
		}
		least, most, billed = least+from, most+to, billed+ran
	}
	r.t.Logf("%d sessions: %v billed, %v to %v by the test's own clock", sold, billed, least, most)
}

// patience is for finding an order of one device's calls. It takes 20 ms as a rule;
// of one history in 150 there is no end of the possible orders to look at.
const patience = time.Minute

// raceSeeds are those of the histories: all with GATEWAYD_SOAK=1, two without.
func raceSeeds(t *testing.T, all int) (seeds []uint64) {
	_, random := tries(t, all)
	if !soaking() {
		all = 2
	}
	for range all {
		seeds = append(seeds, random.Uint64())
	}
	return seeds
}

// Whatever is done at once to many devices of the real program, by many to each,
// while their packets pass and their sessions run out and expire: there is an
// order, one at a time, in which all that was answered and all that passed is
// right; no device ever has two sessions that run; and what is billed is what
// arrived at the far ends, and the time in which it could.
func TestRealRacesAreLinear(t *testing.T) {
	t.Parallel()
	for i, seed := range raceSeeds(t, 50) {
		workers := 1 + i%2
		for try := 1; ; try++ {
			name, open := fmt.Sprintf("seed %d, %d workers", seed, workers), false
			t.Run(name, func(t *testing.T) { open = raceIsLinear(t, seed, workers) })
			if !open {
				break
			}
			if try == 3 {
				t.Errorf("%s: of %d histories in a row nobody knows whether they are linear", name, try)
				break
			}
		}
	}
}

// raceIsLinear fails unless what is done at once with a seed is right. It is open
// when no order was found in time, which says nothing.
func raceIsLinear(t *testing.T, seed uint64, workers int) (open bool) {
	r := newRace(t, "", workers)
	r.runs(seed)
	r.l.settle()
	began := time.Now()
	verdict, why := r.Judge(patience)
	figureOf(t, "to find an order of a history of real packets", time.Since(began))
	for _, what := range r.Odd() {
		t.Error(what)
	}
	switch verdict {
	case races.Open:
		t.Logf("no order was found in %v, nor that there is none: %s", patience, why)
	case races.Refused:
		t.Errorf("the history is %s: %s", verdict, why)
		fallthrough
	default:
		r.sums()
		r.tells()
	}
	r.d.stop()
	return verdict == races.Open
}

// tells says how much of what was done. Of nearly all there has to be some.
func (r *race) tells() {
	r.t.Helper()
	text := ""
	for _, verb := range []races.Verb{races.Create, races.Connect, races.Disconnect, races.Pause, races.Resume, races.Sell, races.Extend,
		races.Wind, races.Slow, races.Delete, races.Pass, races.RunOut, races.Expire} {
		n := r.Calls(func(c races.Call, a races.Answer) bool {
			return c.Verb == verb && a.Said == "" && (verb != races.Pass || a.Session != races.Dropped)
		})
		if n == 0 && verb != races.Resume && verb != races.RunOut {
			r.t.Errorf("nothing of this was done: %s", verb)
		}
		text += fmt.Sprintf(", %d %s", n, verb)
	}
	r.t.Logf("%d calls and packets, of which were done%s", r.Calls(func(races.Call, races.Answer) bool { return true }), text[1:])
}

// TestRealRacesWithoutTurnsAreRefused is of a program built without the lock of a
// device: if porcupine found nothing wrong with it, TestRealRacesAreLinear would
// say nothing.
func TestRealRacesWithoutTurnsAreRefused(t *testing.T) {
	t.Parallel()
	const most = 10 // the first is refused as a rule
	program := filepath.Join(t.TempDir(), "gatewayd")
	build := exec.Command("go", "build", "-tags", "noturns", "-o", program, "./cmd/gatewayd")
	build.Dir = ".."
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, said)
	}
	_, random := tries(t, most)
	for n := range most {
		seed, refused := random.Uint64(), false
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := newRace(t, program, 1)
			r.runs(seed)
			verdict, why := r.Judge(patience / 4)
			if refused = verdict == races.Refused; refused {
				t.Logf("of %d histories this is the first in no order: %s", n+1, why)
			}
		})
		if refused || t.Failed() {
			return
		}
	}
	t.Errorf("%d histories of a gatewayd without turns are all linear: the check would not notice", most)
}
