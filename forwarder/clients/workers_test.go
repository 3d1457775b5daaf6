package clients

import (
	"math/rand/v2"
	"testing"
	"time"
)

func newTeam(t *testing.T, workers int) *Table {
	t.Helper()
	shape := Shape{Slots: 16, Workers: workers, Seed: 7}
	table, err := Format(make([]byte, Size(shape)), shape)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestWhatWorkersSayIsSummedUp(t *testing.T) {
	table := newTeam(t, 3)
	h := table.Header()
	for i := range table.Workers() {
		w, c := table.Worker(i), new(Counters)
		n := uint64(i + 1)
		w.Mappings.Store(n)
		w.Flows.Store(10 * n)
		w.Lost.Store(100 * n)
		w.HopHeard.Store(int64(5 - n))
		counted(c, n)
		c.Totals.QueuedPackets = uint64(1 - i) // 1, 0, -1: one is on its way
		NewPublisher(w).Publish(c)
	}
	m, f := h.Translations()
	if m != 6 || f != 60 || h.LostSightings() != 600 || h.HopHeard() != 4 {
		t.Errorf("%d mappings, %d flows, %d lost, heard at %v", m, f, h.LostSightings(), h.HopHeard())
	}
	want := counted(new(Counters), 6)
	want.Totals.QueuedPackets = 0
	if c := h.Counters(); c != *want {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// One worker that does not do its work is enough.
func TestTheForwarderIsWhatItsWorstWorkerIs(t *testing.T) {
	table := newTeam(t, 3)
	h := table.Header()
	well := func() {
		h.Alive.Store(2)
		for i := range table.Workers() {
			w := table.Worker(i)
			w.Attached.Store(2)
			w.Beat.Store(int64(10 * time.Second))
			w.Resolved.Store(1)
		}
	}
	rows := []struct {
		name                   string
		change                 func(w *Worker)
		round, final, resolved bool
	}{
		{"nothing", func(*Worker) {}, true, false, true},
		{"one has not attached", func(w *Worker) { w.Attached.Store(1) }, false, false, true},
		{"one has ended", func(w *Worker) { w.Attached.Store(0) }, false, false, true},
		{"one hangs", func(w *Worker) { w.Beat.Store(int64(8 * time.Second)) }, false, false, true},
		{"one hears no next hop", func(w *Worker) { w.Resolved.Store(0) }, true, false, false},
		{"all have ended", func(*Worker) {
			for i := range table.Workers() {
				table.Worker(i).Attached.Store(0)
			}
		}, false, true, true},
		{"none is alive", func(*Worker) { h.Alive.Store(0) }, false, false, true},
	}
	for _, row := range rows {
		for i := range table.Workers() {
			well()
			row.change(table.Worker(i))
			if got := h.GoesRound(11*time.Second, 2*time.Second); got != row.round {
				t.Errorf("%s, worker %d: goes round: %v", row.name, i, got)
			}
			if got := h.Final(); got != row.final {
				t.Errorf("%s, worker %d: final: %v", row.name, i, got)
			}
			if got := h.Resolved(); got != row.resolved {
				t.Errorf("%s, worker %d: resolved: %v", row.name, i, got)
			}
		}
	}
}

// A worker with much to say keeps no other's sightings from being heard.
func TestSightingsOfAllWorkersAreHeard(t *testing.T) {
	table := newTeam(t, 3)
	for i := range sightings {
		table.Sight(0, Sighting{MAC: uint64(i)})
	}
	table.Sight(1, Sighting{MAC: 1 << 20})
	table.Sight(2, Sighting{MAC: 2 << 20})
	heard := map[uint64]bool{}
	var buf [8]Sighting
	for range 3 {
		for _, s := range buf[:table.Sightings(buf[:])] {
			heard[s.MAC] = true
		}
	}
	if !heard[1<<20] || !heard[2<<20] {
		t.Errorf("after three looks: %v", heard)
	}
}

func TestTheSpreadIsEven(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for _, workers := range []int{1, 2, 3, 4, 16} {
		for _, macs := range []struct {
			name string
			of   func(i uint64) uint64
		}{
			{"in a row", func(i uint64) uint64 { return 0x020000000000 + i }},
			{"of makers in a row", func(i uint64) uint64 { return i << 24 }},
			{"at random", func(uint64) uint64 { return dice.Uint64() >> 16 }},
		} {
			const clients = 16384
			worst := 0
			for seed := range uint64(20) {
				s := NewSpread(seed, workers)
				got := make([]int, workers)
				for i := range uint64(clients) {
					got[s.Of(macs.of(i))]++
				}
				for _, n := range got {
					worst = max(worst, n)
				}
			}
			if room := SlotsFor(clients, workers)/workers - 1; worst > room && workers > 1 {
				t.Errorf("%d MACs %s over %d workers: one gets %d, it has %d slots", clients, macs.name, workers, worst, room)
			}
		}
	}
}

func TestSlotsFor(t *testing.T) {
	for _, row := range []struct{ clients, workers, want int }{
		{1, 1, 2}, {4096, 1, 4097}, {16384, 1, 16385},
		{1, 2, 4}, {14, 4, 60}, {4096, 2, 4656}, {4096, 16, 5776}, {16384, 16, 19600},
	} {
		if got := SlotsFor(row.clients, row.workers); got != row.want || got > MaxSlots {
			t.Errorf("%d clients, %d workers: %d slots, want %d", row.clients, row.workers, got, row.want)
		}
	}
}

// Each slot has one worker, and each worker room for its share.
func TestOwners(t *testing.T) {
	table := newTeam(t, 3)
	owned := make([]int, 3)
	for i := 1; i < table.Slots(); i++ {
		owned[table.Owner(i)]++
	}
	if table.Owner(HostSlot) != 0 || owned[0] != 5 || owned[1] != 5 || owned[2] != 5 {
		t.Errorf("slot 0 is worker %d's; %v", table.Owner(HostSlot), owned)
	}
}
