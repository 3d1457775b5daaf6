package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
	"gatewayd/store/client"
)

// What a call can end with. Compare with errors.Is; the text says what was
// asked for and for whom.
var (
	ErrNoDevice         = errors.New("no such device")
	ErrNoBinding        = errors.New("no client has this address")
	ErrNoSession        = errors.New("no more available sessions")
	ErrUnknownSession   = errors.New("no such session")
	ErrAlreadyConnected = errors.New("already connected")
	ErrNotConnected     = errors.New("not connected")
	ErrPaused           = errors.New("paused")
	ErrNotPaused        = errors.New("not paused")
	ErrBadPlan          = errors.New("bad plan")
	ErrBadDevice        = errors.New("bad device")
	ErrConflict         = errors.New("held by another client")
	ErrTableFull        = errors.New("client table is full")
	ErrBadCursor        = errors.New("bad cursor")
	ErrForwarder        = errors.New("the forwarder does not answer")
	ErrStopped          = errors.New("the gateway has stopped")
	// ErrBadBackup: what was to be restored is not a whole backup of this version.
	ErrBadBackup = errors.New("bad backup")
	// ErrUnavailable: the store is away or full. Nothing changed; what may be
	// on disk all the same is undone when the store is back.
	ErrUnavailable = errors.New("the store is unavailable")
)

// Options is what a Manager is made of.
type Options struct {
	Table           *clients.Table       // what forwarder and manager share
	Store           *client.Client       // of which calls may fail, and wait
	RingForwarder   func()               // wakes the forwarder; nil: it looks by itself
	Now             func() time.Time     // wall clock
	Boot            func() time.Duration // CLOCK_MONOTONIC
	GlobalDown      limiter.Rate         // what a session with the global speed gets, bytes a second; 0: no limit
	GlobalUp        limiter.Rate         // likewise
	ResumeOnRestart bool                 // connected devices go on after a restart
	Checkpoint      time.Duration        // between checkpoints; 0: 5 s
	IdlePause       time.Duration        // after how long without a packet of its client a session is paused; 0: never
	// PauseOnCarrierLoss has sessions with time paused while the WAN port has no
	// carrier, PauseOnSilence while the next router is silent for so long; 0: never.
	PauseOnCarrierLoss bool
	PauseOnSilence     time.Duration
	LedgerKeep         time.Duration                       // how long a ledger is kept after its session's end; 0: 90 days
	LAN                netip.Prefix                        // the clients'
	Gateway            netip.Addr                          // the gateway's own address
	Bridge             bool                                // clients may have addresses outside of LAN, too
	RateReasons        []int                               // the forwarder's reasons for which packets are dropped because of their client's rate
	Log                *slog.Logger                        // nil: none
	Checkpointed       func(took time.Duration, err error) // told of each checkpoint; nil: nobody
}

// Limits of time.
const (
	callTime  = 3 * time.Second         // a call's deadline; with ackTime it is answered within 5 s
	readTime  = 700 * time.Millisecond  // how long a call that only reads waits for the store
	flushTime = 1500 * time.Millisecond // how long a write in the background keeps devices from being changed
	askTime   = time.Second             // between questions how the store is
	ackTime   = 2 * time.Second         // how long the forwarder may take to take a change in
	roundTime = 200 * time.Millisecond  // between rounds when nobody wakes
	retryTime = 500 * time.Millisecond  // after the store failed
	idleStamp = 10 * time.Minute        // between stamps on disk while nothing runs
)

// Manager decides about devices and sessions. Its methods may be called from
// many goroutines.
type Manager struct {
	opt   Options // what Adopt changes is guarded by mu
	table *clients.Table
	store *client.Client
	log   *slog.Logger
	clock *clock
	hub   *hub
	books books
	desk  desk
	bell  chan struct{} // a round is due
	ink   chan struct{} // something is to be written
	ask   chan struct{} // a device is to be looked up
	tuned chan struct{} // opt has changed
	ready chan struct{}
	warm  bool // the table had been in use when this process started

	looks       looks        // at what passes
	gate        sync.RWMutex // held for reading by whatever uses devices, for writing while all are replaced
	checkpoints sync.Mutex   // one at a time
	stopped     atomic.Bool
	running     atomic.Bool
	jobs        sync.WaitGroup // address contests under way

	mu         sync.Mutex // guards all below, all devices and sessions, and control's half of the table
	byID       map[int64]*device
	byMAC      map[uint64]*device
	byIP       map[uint32]*device
	sessions   map[int64]*session
	wan        wan
	idleDue    bool          // this round looks who is idle
	idleLooked time.Duration // since boot; when it was last looked
	paused     pauseIndex
	slots      []*device // by slot; nil: none
	bound      int       // slots that have a device
	free       [][]int   // slots that have none, by the worker whose they are
	leaving    []leaving
	contests   map[uint32]bool // addresses whose holder is being asked
	moving     map[uint64]bool // MACs that a device is about to take
	lookups    []*device
	dirty      map[*device]bool
	moves      map[int64]time.Duration // by how much a clock that was not trusted since that ns was behind
	regulars   *regulars
	newcomer   struct { // unknown MACs taken in during one second: strangers, regulars
		second time.Duration
		count  [2]int
	}
	full     time.Duration // when a newcomer last found no slot, since boot; 0: never
	refusals uint64        // addresses refused because their holder answered
}

// New takes over the table as it is. It does not touch the store; the first
// call that needs it, or Run, does.
func New(opt Options) *Manager {
	opt.fill()
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Checkpointed == nil {
		opt.Checkpointed = func(time.Duration, error) {}
	}
	if opt.RingForwarder == nil {
		opt.RingForwarder = func() {}
	}
	m := &Manager{
		opt: opt, table: opt.Table, store: opt.Store, log: opt.Log,
		clock: newClock(opt.Now, opt.Boot), desk: newDesk(), looks: looks{turn: newLock()},
		bell: make(chan struct{}, 1), ink: make(chan struct{}, 1), ask: make(chan struct{}, 1), tuned: make(chan struct{}, 1), ready: make(chan struct{}),
		byID: make(map[int64]*device), byMAC: make(map[uint64]*device), byIP: make(map[uint32]*device),
		sessions: make(map[int64]*session), slots: make([]*device, opt.Table.Slots()), free: make([][]int, opt.Table.Workers()),
		moves:    make(map[int64]time.Duration),
		regulars: newRegulars(),
		contests: make(map[uint32]bool), moving: make(map[uint64]bool), dirty: make(map[*device]bool),
	}
	m.hub = newHub(func() time.Time { return m.clock.read().Wall }, &opt.Table.Header().Events)
	m.paused.clear()
	m.books.init()
	m.takeOver()
	return m
}

// Ready is closed when Run has rebuilt what can be rebuilt and serves.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Wake has the manager look at the table: the forwarder rang control's bell.
func (m *Manager) Wake() { nudge(m.bell) }

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run serves until ctx ends; then it writes what is not on disk yet and
// returns. Grants stay published: a later control takes them over. Run may be
// called once. The error says what could not be written; it is in the table.
func (m *Manager) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return errors.New("run sessions: already running")
	}
	opening, cancel := context.WithTimeout(ctx, callTime)
	if err := m.openSoon(opening); err != nil {
		m.log.Warn("sessions without store", "error", err)
	}
	cancel()
	m.round(ctx)
	close(m.ready)

	var loops sync.WaitGroup
	loops.Go(func() { m.lookUp(ctx) })
	loops.Go(func() { m.learnRegulars(ctx) })
	loops.Go(func() { m.keepBooks(ctx) })
	loops.Go(func() { m.runErrands(ctx) })
	loops.Go(func() { m.keepLedgers(ctx) })
	loops.Go(func() { m.endPauses(ctx) })
	m.rounds(ctx)
	m.stopped.Store(true)
	m.closeDesk()
	loops.Wait()
	m.jobs.Wait()
	m.gate.RLock()
	err := m.lastWrite()
	m.gate.RUnlock()
	m.hub.close()
	return err
}

// rounds looks at the table when woken and at least every roundTime.
func (m *Manager) rounds(ctx context.Context) {
	tick := time.NewTicker(roundTime)
	defer tick.Stop()
	var looks rest
	var soon <-chan time.Time // when those who are granted are looked at, if not at once
	for {
		rested := false
		select {
		case <-ctx.Done():
			return
		case <-m.bell:
		case <-tick.C:
		case <-soon:
			rested = true // whatever the clock says, which in tests may stand still
		}
		began := m.opt.Boot()
		if left := looks.left(began); left > 0 && !rested {
			m.greet(ctx)
			if soon == nil {
				soon = time.After(left)
			}
		} else {
			m.round(ctx)
			looks.worked(began, m.opt.Boot())
			soon = nil
		}
		m.hub.remind()
	}
}

// rest is how long work that is asked for again and again rests: restFor times as long
// as it last took, a round at most. With 10,000 running sessions a round takes 10 ms, and
// each call and each bell asks for one.
type rest struct{ until time.Duration }

const restFor = 9

func (r *rest) left(now time.Duration) time.Duration { return r.until - now }

func (r *rest) worked(began, ended time.Duration) {
	r.until = ended + min(restFor*(ended-began), roundTime)
}

// round reads sightings, follows the grants in use and keeps slots free.
func (m *Manager) round(ctx context.Context) {
	m.greet(ctx)
	m.gate.RLock()
	defer m.gate.RUnlock()
	m.correctClock()

	m.mu.Lock()
	m.lookAtWAN()
	m.lookForIdle()
	m.mu.Unlock()
	m.looks.forget(m.opt.Boot())
	var granted []*device
	now := m.clock.read().Wall
	m.inParts(m.slots, func(d *device) {
		if len(d.grants) > 0 || d.connected || d.paused != nil && (m.mayGoOn(d) || !d.usable(d.paused, now) || m.asksProviders() && m.expiresSoon(d.paused)) {
			granted = append(granted, d)
		}
	})
	for _, d := range granted {
		if d.turn.try() { // who has it looks when done
			m.mu.Lock()
			m.follow(d)
			m.mindClock(d)
			m.mu.Unlock()
			d.turn.done()
		}
	}
}

// greet reads sightings and keeps slots free.
func (m *Manager) greet(ctx context.Context) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	var buf [64]clients.Sighting
	for {
		n := m.table.Sightings(buf[:])
		for _, s := range buf[:n] {
			m.sighted(ctx, s)
		}
		if n < len(buf) {
			break
		}
	}
	m.keepSlotsFree()
}

// call prepares a call: it gets a deadline, and the books are open.
func (m *Manager) call(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel, err := m.enter(ctx, callTime)
	if err != nil {
		return nil, nil, err
	}
	if err := m.openSoon(ctx); err != nil {
		cancel()
		return nil, nil, err
	}
	return ctx, cancel, nil
}

// enter gives a call its deadline and keeps a restore out until cancel.
func (m *Manager) enter(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc, error) {
	if m.stopped.Load() {
		return nil, nil, ErrStopped
	}
	if !m.gate.TryRLock() {
		return nil, nil, fmt.Errorf("%w: a backup is being restored", ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, func() { cancel(); m.gate.RUnlock() }, nil
}

// finish gives a device's turn back and has the rest of the work done.
func (m *Manager) finish(d *device) {
	m.mu.Lock()
	d.touched = m.opt.Boot()
	due := m.dirty[d] || d.dirty || d.dirtySessions()
	if due {
		m.dirty[d] = true
	}
	if d.onDisk && !d.gone && m.unclaimed(d) {
		m.wonder(d)
	}
	m.mu.Unlock()
	d.turn.done()
	if due {
		nudge(m.ink)
	}
	m.Wake()
}

// correctClock moves the starts that were stamped by a wrong clock once the
// wall clock has been set. Those that are only on disk move when they are read.
func (m *Manager) correctClock() {
	by, since, moved := m.clock.correct()
	if !moved {
		return
	}
	m.log.Info("wall clock has been set", "by", by)
	m.mu.Lock()
	m.moves[since.UnixNano()] = by
	for _, s := range m.sessions {
		m.straighten(s)
	}
	m.mu.Unlock()
	m.owe(client.Record{Key: moveKey(since), Value: number(int64(by))})
}

// straighten moves the start of a session, and up to where its ledger tells of its
// grants, if the clock that stamped it has been set since. m.mu is held.
func (m *Manager) straighten(s *session) {
	if s.unsure.IsZero() {
		return
	}
	by, ok := m.moves[s.unsure.UnixNano()]
	if !ok {
		return
	}
	s.startedAt, s.unsure = s.startedAt.Add(by), time.Time{}
	s.ledger.move(by)
	if m.sessions[s.id] == s {
		m.soil(s)
	}
}

// soil marks a session as ahead of the disk. m.mu is held.
func (m *Manager) soil(s *session) {
	s.dirty = true
	if d := m.byID[s.device]; d != nil {
		m.dirty[d] = true
		nudge(m.ink)
	}
}

// unavailable wraps an error of the store.
func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}
