package sessions

import (
	"sync"
	"time"

	"gatewayd/forwarder/clients"
)

// fakeForwarder does with the table what the forwarder does, without packets:
// it takes policy in, ends grants at their deadline, and bills bytes that a
// test passes.
type fakeForwarder struct {
	table *clients.Table
	boot  func() time.Duration
	wake  func() // control's bell

	mu      sync.Mutex
	stalled bool            // takes nothing in
	alone   bool            // hears nobody on the WAN
	answers map[uint64]bool // MACs that answer probes
	probes  map[int]uint64
	asked   map[uint64]int // probes by MAC
	macs    map[int]uint64 // by slot, as taken in
	ips     map[int]uint32
	mixed   []string // a slot that changed hands without being free between, or two with one MAC or address
	gens    map[int]uint64
	billed  map[int64]use // by session, of grants that have ended
	quit    chan struct{}
	done    sync.WaitGroup
}

func newFakeForwarder(t *clients.Table, boot func() time.Duration) *fakeForwarder {
	f := &fakeForwarder{
		table: t, boot: boot, wake: func() {}, answers: map[uint64]bool{}, probes: map[int]uint64{}, asked: map[uint64]int{},
		macs: map[int]uint64{}, ips: map[int]uint32{}, gens: map[int]uint64{}, billed: map[int64]use{}, quit: make(chan struct{}),
	}
	t.Header().Alive.Add(1)
	f.done.Go(func() {
		for {
			select {
			case <-f.quit:
				return
			case <-time.After(100 * time.Microsecond):
				f.mu.Lock()
				f.round()
				f.mu.Unlock()
			}
		}
	})
	return f
}

func (f *fakeForwarder) stop() {
	close(f.quit)
	f.done.Wait()
}

func (f *fakeForwarder) round() {
	if f.stalled {
		return
	}
	h := f.table.Header()
	h.Worker[0].Attached.Store(h.Alive.Load())
	h.Worker[0].Beat.Store(int64(f.boot()))
	if !f.alone {
		h.Worker[0].HopHeard.Store(int64(f.boot()))
	}
	for i := 1; i < f.table.Slots(); i++ {
		gen := f.table.Policy(i)
		s := f.table.Slot(i)
		if gen == 0 {
			continue
		}
		due := gen != f.table.Acked(i)
		if due {
			f.takeIn(i, s)
		}
		f.goOn(i, s)
		if due { // what was granted has begun, as with the real one
			f.table.Ack(i, gen)
		}
	}
}

func (f *fakeForwarder) takeIn(i int, s *clients.Slot) {
	if s.State.Load() == clients.SlotFree {
		delete(f.macs, i)
		delete(f.ips, i)
		return
	}
	if g := s.Generation.Load(); f.gens[i] != g {
		if f.macs[i] != 0 {
			f.mixed = append(f.mixed, macText(f.macs[i]))
		}
		f.gens[i] = g
		s.Served.Store(g)
	}
	mac, ip := s.MAC.Load(), uint32(s.IP.Load())
	f.macs[i], f.ips[i] = mac, ip
	for j, other := range f.macs { // one that control has changed since is about to let go
		if j != i && (other == mac || ip != 0 && f.ips[j] == ip) && f.table.Policy(j) == f.table.Acked(j) {
			f.mixed = append(f.mixed, macText(mac)+" and "+macText(other))
		}
	}
	for seq := s.Saved.Load() + 1; seq <= s.Published.Load(); seq++ {
		g := s.Record(seq)
		if g.Sequence.Load() == seq && g.Taken.Load() != seq {
			g.Started.Store(0)
			g.Ended.Store(0)
			g.Reason.Store(0)
			g.Up.Store(0)
			g.Down.Store(0)
			g.Taken.Store(seq)
		}
	}
	if p := s.Probe.Load(); p != f.probes[i] {
		f.probes[i] = p
		f.asked[f.macs[i]]++
		if f.answers[f.macs[i]] {
			s.Heard.Store(int64(f.boot()))
		}
	}
}

// active returns the running grant of a slot, if any.
func (f *fakeForwarder) active(s *clients.Slot) *clients.Grant {
	seq := s.Active.Load()
	g := s.Record(seq)
	if seq == 0 || g.Taken.Load() != seq || g.Ended.Load() != 0 {
		return nil
	}
	return g
}

// goOn ends what is over and starts what follows.
func (f *fakeForwarder) goOn(i int, s *clients.Slot) {
	for {
		g, r := f.active(s), time.Duration(0)
		if g != nil {
			r = time.Duration(g.Revoked.Load())
		}
		at := f.boot() // not before it was revoked
		if g != nil {
			deadline, why := g.Deadline(time.Duration(g.Started.Load()))
			if r != 0 { // what takes over was published before
				f.takeIn(i, s)
			}
			switch {
			case r != 0 && r < deadline:
				f.end(g, clients.EndRevoked, max(min(r, at), time.Duration(g.Started.Load())))
			case deadline <= at:
				f.end(g, why, deadline)
				at = deadline
			default:
				return
			}
		}
		if !f.next(s, at) {
			return
		}
	}
}

func (f *fakeForwarder) end(g *clients.Grant, why uint64, at time.Duration) {
	g.Reason.Store(why)
	g.Ended.Store(max(int64(at), 1))
	if began := g.Started.Load(); began != 0 {
		id := int64(g.Session.Load())
		f.billed[id] = f.billed[id].plus(use{g.Up.Load(), g.Down.Load(), at - time.Duration(began)})
	}
	f.wake()
}

// next starts the next grant that was not revoked.
func (f *fakeForwarder) next(s *clients.Slot, at time.Duration) bool {
	for seq := s.Active.Load() + 1; seq <= s.Published.Load(); seq++ {
		g := s.Record(seq)
		if g.Taken.Load() != seq {
			if seq > s.Saved.Load() {
				return false // not taken in yet
			}
			s.Active.Store(seq)
			continue
		}
		if g.Revoked.Load() != 0 {
			f.end(g, clients.EndRevoked, at)
			s.Active.Store(seq)
			continue
		}
		g.Started.Store(int64(at))
		s.Active.Store(seq)
		f.wake()
		return true
	}
	return false
}

// pass bills up and down bytes in packets of at most 1500, and returns how
// many bytes passed.
func (f *fakeForwarder) pass(mac uint64, up, down uint64) (passed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.macs {
		if m != mac {
			continue
		}
		s := f.table.Slot(i)
		if up > 0 {
			s.LastSeen.Store(int64(f.boot()))
		}
		f.goOn(i, s)
		if up > 0 && f.active(s) == nil {
			f.table.Sight(0, clients.Sighting{Kind: clients.NoGrant, Slot: i, MAC: mac, IP: f.ips[i], When: f.boot()})
			f.wake()
		}
		for up+down > 0 {
			size := min(up, 1500)
			isUp := size > 0
			if !isUp {
				size = min(down, 1500)
			}
			if !f.packet(s, size, isUp) {
				return passed
			}
			passed += size
			if isUp {
				up -= size
			} else {
				down -= size
			}
		}
	}
	return passed
}

// packet bills one packet: to the running grant, or, when it does not fit and
// there is a next one, to both; false when it is dropped.
func (f *fakeForwarder) packet(s *clients.Slot, size uint64, up bool) bool {
	for {
		g := f.active(s)
		if g == nil {
			return false
		}
		counter := &g.Down
		if up {
			counter = &g.Up
		}
		limit := g.ByteLimit.Load()
		left := limit - min(limit, g.Up.Load()+g.Down.Load())
		if size <= left {
			counter.Add(size)
			return true
		}
		now := f.boot()
		g.EndLimit.Store(limit)
		if !f.follows(s) {
			f.end(g, clients.EndData, now)
			return false
		}
		counter.Add(left) // before the end: what ended does not grow
		f.end(g, clients.EndData, now)
		f.next(s, now)
		size -= left
	}
}

// follows reports whether a grant is ready to take over from the running one.
func (f *fakeForwarder) follows(s *clients.Slot) bool {
	for seq := s.Active.Load() + 1; seq <= s.Published.Load(); seq++ {
		if g := s.Record(seq); g.Taken.Load() == seq && g.Revoked.Load() == 0 {
			return true
		}
	}
	return false
}

// addressOf returns the address that a MAC is bound to, as taken in.
func (f *fakeForwarder) addressOf(mac uint64) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.macs {
		if m == mac {
			return f.ips[i]
		}
	}
	return 0
}
