//go:build netns

package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// soaking says whether a long matrix is run whole; else a seeded tenth of it is.
func soaking() bool { return os.Getenv("GATEWAYD_SOAK") == "1" }

// tries is how many of a long matrix are run, and the seed, which
// GATEWAYD_SEED replaces.
func tries(t *testing.T, all int) (int, *rand.Rand) {
	t.Helper()
	seed := uint64(1)
	if text := os.Getenv("GATEWAYD_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		check(t, err)
	}
	n := all / 10
	if soaking() {
		n = all
	}
	t.Logf("%d of %d tries, seed %d", n, all, seed)
	return n, rand.New(rand.NewPCG(seed, 0))
}

// The storm's clients: one downloads at 50 Mbit, one sends numbered datagrams,
// one has no session and sends all the same.
const (
	downloads      = `{"type":"time","time_secs":36000,"down_mbits":50,"up_mbits":50}`
	numberedMAC    = "02:00:00:00:00:0d"
	numberedIP     = "10.10.0.3"
	strangerMAC    = "02:00:00:00:00:0e"
	strangerIP     = "10.10.0.4"
	strangersPort  = 7777
	boughtMAC      = "02:00:00:00:00:0f" // sends nothing: sessions are bought for it
	boughtIP       = "10.10.0.5"
	checkpointTime = time.Second
)

// victim is one process of gatewayd, or more, that are killed at once.
type victim struct {
	name  string
	share int // of all kills
}

var victims = []victim{{"forward", 4}, {"control", 2}, {"store", 2}, {"keeper", 1}, {"all", 1}}

// storm is a gateway under load, whose processes are killed.
type storm struct {
	*lab
	d        *daemon
	sender   *namespace // of the numbered stream
	numbered *stream
	paid     []int64 // the sessions that are billed
	worst    map[string]death
	count    map[string]int

	mu      sync.Mutex
	sold    []int64 // acknowledged
	answers map[int]int
}

// death is what one cost.
type death struct {
	gap   time.Duration // without an arrival
	lost  int           // datagrams
	short int64         // bytes that arrived and were not billed
}

// TestDeaths kills gatewayd's processes at random moments, under a download, a
// numbered stream, a storm on the API, and a stranger who never has a session; half
// of them with two workers.
func TestDeaths(t *testing.T) {
	kills, random := tries(t, 100)
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint("workers: ", workers), func(t *testing.T) { deaths(t, workers, kills/2, random) })
	}
}

func deaths(t *testing.T, workers, kills int, random *rand.Rand) {
	l := newLab(t, fmt.Sprint("workers: ", workers))
	l.config["store"] = fmt.Sprintf("{path: %s/store, checkpoint: %v}", l.dir, checkpointTime)
	s := &storm{lab: l, worst: map[string]death{}, count: map[string]int{}, answers: map[int]int{}}
	s.sender = l.neighbour(numberedMAC, numberedIP)
	trespass := s.strangerSends(l.neighbour(strangerMAC, strangerIP))
	s.d = l.start()
	s.paid = []int64{s.d.admit(downloads).ID, s.d.sellTo(numberedMAC, numberedIP, anHour).ID}
	s.d.must("POST", "/devices/"+numberedMAC+"/connect", "", nil)
	s.d.must("POST", "/devices", `{"mac":"`+boughtMAC+`","ip":"`+boughtIP+`"}`, nil)
	stop := s.sells()
	for n := range kills {
		what := pick(random)
		if n == 0 {
			what = "forward" // in every run
		}
		s.round(what, 6000+n, time.Duration(random.IntN(700))*time.Millisecond)
	}
	stop()
	for _, v := range victims {
		w := s.worst[v.name]
		what := "death of " + v.name
		if workers > 1 {
			what = fmt.Sprintf("%s, %d workers", what, workers)
		}
		t.Logf("%d deaths of %s", s.count[v.name], v.name)
		figureOf(t, what+": longest time without an arrival", w.gap)
		figure(t, what+": most datagrams lost at 10,000/s", float64(w.lost), "")
		figure(t, what+": most bytes not billed", float64(w.short), "")
	}
	if n := trespass(); n > 0 {
		t.Errorf("%d packets of a client without a session arrived", n)
	}
	s.keepsItsPromises()
}

// round kills once under load and looks at what it cost when all has come to rest.
func (s *storm) round(what string, port int, moment time.Duration) {
	t := s.t
	t.Helper()
	s.count[what]++
	up, down := s.settle()
	billed := s.billed()
	far := s.server.start("iperf3", "-s", "-1", "-p", fmt.Sprint(port), "--forceflush")
	far.says("Server listening")
	download := s.client.start("iperf3", "-c", serverIP, "-p", fmt.Sprint(port), "-R", "-t", "600", "--forceflush")
	s.numbered = s.streamOf(s.sender, numberedIP, 100*time.Microsecond, 100)
	s.numbered.flows()
	download.says("Mbits/sec") // after its first second
	time.Sleep(moment)

	began := time.Now()
	s.dies(what)
	eventually(t, 2*soon, "the stream arrives after the death of "+what, s.passes())
	var cost death
	cost.gap = s.numbered.gap(began)
	select {
	case <-download.ended:
		if what != "keeper" && what != "all" { // they take the translations along
			t.Errorf("the download did not survive the death of %s: %s", what, download.out.String())
		}
	default:
	}
	download.end()
	far.end()
	sent, arrived := s.numbered.end()
	cost.lost = sent - arrived
	u, d := s.settle()
	cost.short = int64(u.bytes-up.bytes+d.bytes-down.bytes) - int64(s.billed()-billed)
	// None is the aim, and what tests with less load want: all that runs here may
	// keep the forwarder from its ring, which holds what comes in 100 ms.
	if (what == "control" || what == "store") && cost.lost > 5000 {
		t.Errorf("the death of %s lost %d datagrams", what, cost.lost)
	}
	if most := forgets(what); cost.short < 0 || cost.short > most {
		t.Errorf("after the death of %s %d bytes are not billed, want 0 to %d", what, cost.short, most)
	}
	w := s.worst[what]
	s.worst[what] = death{max(w.gap, cost.gap), max(w.lost, cost.lost), max(w.short, cost.short)}
}

// forgets is how many bytes a death may leave unbilled: a forwarder a batch of
// each client, the whole box what came since the last checkpoint, which on a busy
// machine may be late.
func forgets(what string) int64 {
	switch what {
	case "forward":
		return 2 * maxUncounted
	case "all":
		return int64(5 * checkpointTime.Seconds() * (50e6/8 + 10_000*100))
	}
	return 0
}

// billed is what both paying clients were billed so far, bytes.
func (s *storm) billed() (sum uint64) {
	s.t.Helper()
	for _, id := range s.paid {
		v := s.d.session(id)
		if v.State != "running" {
			s.t.Errorf("session %d is %s, want running", id, v.State)
		}
		sum += v.UpBytes + v.DownBytes
	}
	return sum
}

// pick draws what is killed next.
func pick(random *rand.Rand) string {
	all := 0
	for _, v := range victims {
		all += v.share
	}
	n := random.IntN(all)
	for _, v := range victims {
		if n -= v.share; n < 0 {
			return v.name
		}
	}
	return ""
}

// dies kills, and starts again what nobody else does.
func (s *storm) dies(what string) {
	s.t.Helper()
	switch what {
	case "keeper", "all":
		children := s.d.children()
		s.d.expected = true
		if what == "all" {
			for _, pid := range children {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
			}
		}
		check(s.t, syscall.Kill(s.d.cmd.Process.Pid, syscall.SIGKILL))
		gone(s.t, children)
		<-s.d.ended
		s.d = s.start()
	default:
		s.d.replaced(what, s.d.kill(what))
	}
}

// passes says when the numbered stream arrives again.
func (s *storm) passes() func() error {
	before, _ := s.numbered.seen()
	return func() error {
		if now, _ := s.numbered.seen(); now < before+100 {
			return errNotYet
		}
		return nil
	}
}

// sells buys sessions on and on, until the result is called.
func (s *storm) sells() (stop func()) {
	var selling sync.WaitGroup
	done := make(chan struct{})
	asks := s.d // its connections lead to whoever owns the socket
	for range 2 {
		selling.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(10 * time.Millisecond):
				}
				var v session
				code, _ := asks.ask("POST", "/devices/"+boughtMAC+"/sessions", anHour, &v)
				s.mu.Lock()
				if s.answers[code]++; code == http.StatusCreated {
					s.sold = append(s.sold, v.ID)
				}
				s.mu.Unlock()
				_, _, _ = asks.once("GET", "/sessions", "")
			}
		})
	}
	return func() { close(done); selling.Wait() }
}

// strangerSends has a client without a session send 10,000 packets a second.
// The result ends it and says how many of them arrived.
func (s *storm) strangerSends(from *namespace) (arrived func() int) {
	in := s.server.listenUDP(fmt.Sprintf("%s:%d", serverIP, strangersPort))
	out := from.listenUDP(strangerIP + ":0")
	to := &net.UDPAddr{IP: net.ParseIP(serverIP), Port: strangersPort}
	var got, sent atomic.Int64
	done := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
			}
			for range 10 {
				if _, err := out.WriteTo([]byte("let me through"), to); err == nil {
					sent.Add(1)
				}
			}
		}
	})
	both.Go(func() {
		for buf := make([]byte, 64); ; got.Add(1) {
			if _, _, err := in.ReadFrom(buf); err != nil {
				return
			}
		}
	})
	return func() int {
		close(done)
		time.Sleep(100 * time.Millisecond) // what is on its way
		in.Close()
		both.Wait()
		s.t.Logf("a stranger sent %d packets, %d arrived", sent.Load(), got.Load())
		if sent.Load() == 0 {
			s.t.Error("the stranger sent nothing")
		}
		return int(got.Load())
	}
}

// gap is the longest time without an arrival since began.
func (s *stream) gap(began time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var times []time.Time
	for _, at := range s.arrived {
		if at.After(began) {
			times = append(times, at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	for last := began; len(times) > 0; times = times[1:] {
		longest, last = max(longest, times[0].Sub(last)), times[0]
	}
	return longest
}

// keepsItsPromises looks for what was acknowledged.
func (s *storm) keepsItsPromises() {
	t := s.t
	t.Helper()
	t.Logf("changes by answer: %v", s.answers)
	if len(s.sold) == 0 {
		t.Error("nothing was sold")
	}
	for _, id := range s.sold {
		if code, err := s.d.ask("GET", fmt.Sprintf("/sessions/%d", id), "", nil); code != http.StatusOK {
			t.Fatalf("session %d was acknowledged and is not there: %d, %v", id, code, err)
		}
	}
}
