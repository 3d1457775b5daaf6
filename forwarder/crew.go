package forwarder

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// A Crew is the packet path of one box: one Forwarder a worker. They share the ways
// between them and the client table, of which each writes to its own part, and
// nothing else.
type Crew struct {
	workers []*Forwarder
	shared  *crew
}

// crew is what workers share; nil where there is one alone.
type crew struct {
	spread clients.Spread
	ways   [][]*crossing // by who sends and who takes; nil from one to itself
	beds   []bed
	tables arena.Arena // of the ways

	commons *commons // of a bridge
}

func (c *crew) size() int { return len(c.beds) }

// bed is where a worker sleeps.
type bed struct {
	asleep atomic.Bool
	bell   int // eventfd
	_      [48]byte
}

// oneByte is what an eventfd takes.
var oneByte = [8]byte{1} // in every byte order a count above zero

// wake wakes a worker that sleeps, or is about to. One that works is not disturbed.
func (b *bed) wake() {
	if b.asleep.Load() && b.asleep.CompareAndSwap(true, false) {
		_, _ = unix.Write(b.bell, oneByte[:])
	}
}

// New attaches the workers to the client table, as many as it is made for, each with
// its own links, and takes everything in that stands there. The host's link may be
// nil; only worker 0 receives from it. wake rings control's bell.
func New(cfg Config, links []Links, table *clients.Table, bell *clients.Bell, wake func()) (*Crew, error) {
	return newCrew(cfg, links, table, bell, wake, clients.NewClock().Now)
}

// newCrew is New with a clock, which tells the time since boot.
func newCrew(cfg Config, links []Links, table *clients.Table, bell *clients.Bell, wake func(), clock func() time.Duration) (*Crew, error) {
	if len(links) != table.Workers() {
		return nil, fmt.Errorf("attach: links of %d workers, the client table has %d", len(links), table.Workers())
	}
	c := new(Crew)
	if len(links) > 1 {
		var err error
		if c.shared, err = newShared(table); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		settle(table)
	}
	for i, l := range links {
		f, err := attach(cfg, l, table, bell, wake, clock, seat{i, c.shared})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("worker %d: %w", i, err), c.Close())
		}
		c.workers = append(c.workers, f)
	}
	return c, nil
}

func newShared(table *clients.Table) (*crew, error) {
	n := table.Workers()
	s := &crew{spread: table.Spread(), beds: make([]bed, n), commons: newCommons()}
	for from := range n {
		s.ways = append(s.ways, make([]*crossing, n))
		for to := range n {
			if from == to {
				continue
			}
			x, err := newCrossing(&s.tables)
			if err != nil {
				return s, fmt.Errorf("way between two workers: %w", err)
			}
			s.ways[from][to] = x
		}
	}
	for i := range s.beds {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return s, fmt.Errorf("make a worker's bell: %w", os.NewSyscallError("eventfd", err))
		}
		s.beds[i].bell = fd
	}
	return s, nil
}

// settle counts what waited in workers that ended as lost, before any of them
// begins. What was on the way between two is more than nothing with one of them and
// less with the other: who has more comes first, so that no sum is ever too small.
func settle(table *clients.Table) {
	workers := make([]int, table.Workers())
	queued := func(i int) int64 { return int64(table.Worker(i).Counters().Totals.QueuedPackets) }
	for i := range workers {
		workers[i] = i
	}
	slices.SortFunc(workers, func(a, b int) int { return int(queued(b) - queued(a)) })
	for _, i := range workers {
		var c counters
		c.load(table.Worker(i))
		clients.NewPublisher(table.Worker(i)).Publish(&c.Counters)
	}
}

// Run forwards until Stop. Each worker keeps a thread to itself, so that GOMAXPROCS
// has to be one more than there are. One worker that fails ends them all.
func (c *Crew) Run() error {
	var running sync.WaitGroup
	failures := make([]error, len(c.workers))
	work := func(i int) {
		if failures[i] = c.workers[i].work(); failures[i] != nil {
			c.Stop()
		}
	}
	for i := 1; i < len(c.workers); i++ {
		running.Go(func() { work(i) })
	}
	work(0)
	running.Wait()
	return errors.Join(failures...)
}

// Stop makes Run return.
func (c *Crew) Stop() {
	for _, f := range c.workers {
		f.stop.Store(true)
	}
	c.workers[0].bell.Ring()
}

// Close gives back the memory of all workers, which must not run any more.
func (c *Crew) Close() error {
	var all []error
	for _, f := range c.workers {
		all = append(all, f.Close())
	}
	c.workers = nil
	if s := c.shared; s != nil {
		for i := range s.beds {
			if b := &s.beds[i]; b.bell > 0 {
				_ = unix.Close(b.bell)
				b.bell = 0
			}
		}
		all = append(all, s.tables.Close())
	}
	return errors.Join(all...)
}

// seat is which worker a Forwarder is, and of what crew; nil: it works alone.
type seat struct {
	worker int
	crew   *crew
}

// sit takes the seat: what concerns workers only where there are several.
func (f *Forwarder) sit(s seat) error {
	f.worker, f.crew, f.step = s.worker, s.crew, 1
	f.first = 1
	if s.crew == nil {
		return nil
	}
	f.step = s.crew.size()
	if f.first = s.worker; f.first == clients.HostSlot {
		f.first = f.step
	}
	if l := f.links[clients.Host]; l != nil && s.worker != 0 {
		f.links[clients.Host] = sendOnly{l}
	}
	f.ledTo = make(map[fragmentKey]led)
	o, n := &f.others, f.table.Slots()
	o.changes = f.header.Changes.Load() - 1 // whatever it is, it was not taken in
	var err [4]error
	o.byIP, err[0] = newIndex(&f.tables, n-1)
	o.byMAC, err[1] = newIndex(&f.tables, n-1)
	err[2] = arena.Make(&f.tables, &o.known, n)
	if f.cfg.Bridge {
		o.all, err[3] = newIndex(&f.tables, n-1)
	}
	return errors.Join(err[:]...)
}

// sendOnly is a link that another worker receives from.
type sendOnly struct{ link.Link }

func (sendOnly) Receive() ([][]byte, error) { return nil, nil }
