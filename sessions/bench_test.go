package sessions

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// BenchmarkRound is one look at 1,000 connected devices.
func BenchmarkRound(b *testing.B) { benchmarkRound(b, 1000, Options{}) }

// BenchmarkRoundIdle is one of the looks, one a second, for who is idle, at
// 4,096 connected devices; BenchmarkRoundAll is one of the others.
func BenchmarkRoundIdle(b *testing.B) { benchmarkRound(b, 4096, Options{IdlePause: 24 * time.Hour}) }
func BenchmarkRoundAll(b *testing.B)  { benchmarkRound(b, 4096, Options{}) }

func benchmarkRound(b *testing.B, n int, opt Options) {
	w := &world{t: &testing.T{}}
	mem := make([]uint64, clients.Size(clients.Shape{Slots: n + 100})/8)
	table, err := clients.Format(bytesOf(mem), clients.Shape{Slots: n + 100})
	if err != nil {
		b.Fatal(err)
	}
	opt.Table, opt.Now, opt.Boot, opt.Checkpoint = table, w.now, clients.NewClock().Now, 1
	m := New(opt)
	m.houses(b, n, dataPlan(1))
	for b.Loop() {
		m.idleLooked = -idleEvery // is due
		m.round(b.Context())
	}
}

// BenchmarkTraffic is a look at what 10,000 connected devices send and receive, of which
// 20 are told of.
func BenchmarkTraffic(b *testing.B) {
	const n = 10_000
	for _, by := range []TrafficOrder{ByDown, ByRemaining, ByName} {
		b.Run(string(by), func(b *testing.B) {
			w := (&world{t: &testing.T{}}).stands()
			mem := make([]uint64, clients.Size(clients.Shape{Slots: n + 100})/8)
			table, err := clients.Format(bytesOf(mem), clients.Shape{Slots: n + 100})
			if err != nil {
				b.Fatal(err)
			}
			m := New(Options{Table: table, Now: w.now, Boot: w.boot, RateReasons: []int{someReason, otherReason}})
			m.houses(b, n, dataPlan(1))
			if _, err := m.Traffic(b.Context(), by, 20); err != nil { // which waits
				b.Fatal(err)
			}
			for b.Loop() {
				w.advance(time.Second)
				if v, err := m.Traffic(b.Context(), by, 20); err != nil || len(v.Items) != 20 {
					b.Fatal(len(v.Items), err)
				}
			}
		})
	}
}

// houses makes n connected devices, each with a running session of a plan, that no disk
// knows. The forwarder is not told of the last of their grants.
func (m *Manager) houses(tb testing.TB, n int, p Plan) {
	tb.Helper()
	for i := range n {
		d := &device{turn: newTurn(), id: int64(i + 1), mac: 0x020000000000 + uint64(i+1), known: true, loaded: true, connected: true}
		s := newSession(int64(i+1), d.id, p, epoch)
		s.running, s.startedAt, d.sessions = true, epoch, []*session{s}
		if _, err := m.bind(d, uint32(0x0a0a0100+i)); err != nil || !m.publish(d, s, false) {
			tb.Fatal(fmt.Errorf("device %d: %w", i, err))
		}
		m.byMAC[d.mac], m.byID[d.id], m.sessions[s.id] = d, d, s
	}
}

// BenchmarkPausedDue is one of the looks, one a second, for which of 10,000 paused
// sessions have expired.
func BenchmarkPausedDue(b *testing.B) {
	const n = 10_000
	w := &world{t: &testing.T{}}
	mem := make([]uint64, clients.Size(clients.Shape{Slots: 16})/8)
	table, err := clients.Format(bytesOf(mem), clients.Shape{Slots: 16})
	if err != nil {
		b.Fatal(err)
	}
	m := New(Options{Table: table, Now: w.now, Boot: clients.NewClock().Now})
	look := func(b *testing.B) {
		ends := make(map[int64]*pausedEnd)
		for id := range int64(n) {
			m.paused.put(id, id)
			ends[id] = &pausedEnd{session: id, at: epoch.Add(time.Hour)}
		}
		for b.Loop() {
			m.pausedDue(ends)
		}
	}
	b.Run("on disk only", look)
	for id := range int64(n) {
		d := &device{turn: newTurn(), id: id, mac: 0x020000000000 + uint64(id), known: true, loaded: true}
		s := newSession(id, id, dataPlan(1), epoch)
		s.paused, s.startedAt, d.sessions, d.paused = pauseAsked, epoch, []*session{s}, s
		m.byMAC[d.mac], m.byID[id], m.sessions[id] = d, d, s
	}
	b.Run("in memory", look)
}

// BenchmarkPackCheckpoint packs 1,000 running sessions.
func BenchmarkPackCheckpoint(b *testing.B) {
	entries := make([]entry, 1000)
	for i := range entries {
		entries[i] = entry{int64(i + 1), use{1 << 30, 1 << 35, 1 << 40}}
	}
	n := 0
	for b.Loop() {
		n = len(packCheckpoint(9, entries))
	}
	b.ReportMetric(float64(n)/1000, "bytes/session")
}
