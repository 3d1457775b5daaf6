package sessions

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// desk is where providers and what they are to hear of are kept. Manager.mu
// guards it.
type desk struct {
	providers []*provider
	asking    map[question]*inquiry
	errands   map[int64]*errand // by session
	locks     map[string]*lock  // by provider's name and key
	restore   uint64            // the newest restore of a backup, as at restoreKey; 0: there was none
	bell      chan struct{}     // an errand is due

	ctx  context.Context // ends with the manager
	end  context.CancelFunc
	jobs sync.WaitGroup
}

// errand is what is to be done at a session's source.
type errand struct {
	device   int64
	provider string        // its name
	source   SessionSource // nil: to be found
	due      time.Duration // since boot
	busy     bool
	fails    int           // in a row
	failed   error         // the last of them
	told     time.Duration // since boot; when consumption was last delivered
	edit     *edit         // in the newest letter
}

// lock keeps those apart who change one session at its source: a session that
// is offered to two devices has two shadows.
type lock struct {
	turn  turn
	users int
}

const (
	never      = time.Duration(math.MaxInt64)
	lookEvery  = 30 * time.Second // a running session is read anew from its source
	tellEvery  = 10 * time.Minute // and what it has used is delivered: two writes to disk
	errandTick = 250 * time.Millisecond
	maxTries   = 3                 // of a Save that the source did not take, in one visit
	maxVisits  = providerLanes / 2 // of a provider, deliveries under way: callers find a lane
)

func newDesk() desk {
	ctx, end := context.WithCancel(context.Background())
	return desk{
		asking: make(map[question]*inquiry), errands: make(map[int64]*errand), locks: make(map[string]*lock),
		bell: make(chan struct{}, 1), ctx: ctx, end: end,
	}
}

// errand returns the errand of a shadow, one that is not due if it has none
// yet. m.mu is held.
func (m *Manager) errand(s *session) *errand {
	e := m.desk.errands[s.id]
	if e == nil {
		e = &errand{device: s.device, provider: s.origin.Provider, due: never}
		m.desk.errands[s.id] = e
	}
	return e
}

// touch has the source of a session told soon. m.mu is held.
func (m *Manager) touch(s *session) {
	if s.origin == nil || m.sessions[s.id] != s {
		return
	}
	if e := m.errand(s); e.failed == nil {
		e.due = 0
		nudge(m.desk.bell)
	}
}

// runErrands does errands when they are due, until ctx ends.
func (m *Manager) runErrands(ctx context.Context) {
	tick := time.NewTicker(errandTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-m.desk.bell:
		}
		m.startErrands()
	}
}

// startErrands has workers do what is due: of a provider that fails one thing,
// to see whether it answers; and it asks again who could not say what it offers.
func (m *Manager) startErrands() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.desk.ctx.Err() != nil || len(m.desk.providers) == 0 {
		return
	}
	now := m.opt.Boot()
	for _, p := range m.desk.providers {
		m.askAgain(p, now)
	}
	for id, e := range m.desk.errands {
		if e.busy || now < e.due {
			continue
		}
		p := m.keeper(e.provider)
		if p == nil || now < p.saves.until || p.saves.trouble != nil && p.visits > 0 {
			continue
		}
		e.busy = true
		p.queue = append(p.queue, id)
		if p.visits < maxVisits {
			p.visits++
			m.desk.jobs.Go(func() { m.doErrands(p) })
		}
	}
}

// doErrands does what is in a provider's queue.
func (m *Manager) doErrands(p *provider) {
	for {
		m.mu.Lock()
		now := m.opt.Boot()
		stop := m.desk.ctx.Err() != nil || now < p.saves.until
		for stop && len(p.queue) > 0 {
			if e := m.desk.errands[p.queue[0]]; e != nil {
				e.busy = false
			}
			p.queue = p.queue[1:]
		}
		if len(p.queue) == 0 {
			p.visits--
			m.mu.Unlock()
			return
		}
		id := p.queue[0]
		p.queue = p.queue[1:]
		e := m.desk.errands[id]
		if e != nil {
			e.due = never // unless it is touched meanwhile
		}
		m.mu.Unlock()
		if e != nil {
			m.doErrand(id, e)
		}
	}
}

// doErrand visits the source of a session and says when the next visit is due.
func (m *Manager) doErrand(id int64, e *errand) {
	again, err := m.visit(m.desk.ctx, id, nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	e.busy = false
	now := m.opt.Boot()
	switch {
	case m.desk.errands[id] != e:
	case errors.Is(err, ErrUnknownSession):
		delete(m.desk.errands, id)
	case err != nil:
		e.due = now + backoff(e.fails)
		e.fails++
		if e.failed == nil && m.desk.ctx.Err() == nil {
			m.log.Warn("what a session used is not delivered to its provider", "session", id, "error", err)
		}
		e.failed = err
	default:
		e.fails, e.failed = 0, nil
		e.due = min(e.due, again)
	}
}

// undelivered says what has not reached its provider. m.mu is held.
func (m *Manager) undelivered() (why []string) {
	count := make(map[string]int)
	last := make(map[string]error)
	for _, e := range m.desk.errands {
		if e.failed != nil {
			count[e.provider]++
			last[e.provider] = e.failed
		}
	}
	for name, n := range count {
		why = append(why, fmt.Sprintf("what %d sessions of provider %s used has not reached it yet and is sent again: %v", n, name, last[name]))
	}
	slices.Sort(why)
	return why
}

// recallErrands finds the sessions whose sources have to hear of them since
// before the manager started.
func (m *Manager) recallErrands(ctx context.Context) error {
	rs, err := m.scanAll(ctx, []byte(openKeys))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rs {
		id, bad := numberOf(r.Key[len(openKeys):])
		if bad != nil || len(r.Value) < 8 {
			m.log.Error("undelivered session left out", "key", string(r.Key))
			continue
		}
		device, _ := numberOf(r.Value[:8])
		if m.desk.errands[id] == nil {
			m.desk.errands[id] = &errand{device: device, provider: string(r.Value[8:])}
		}
	}
	return nil
}

// closeDesk ends calls to providers and waits for who waits for them.
func (m *Manager) closeDesk() {
	m.mu.Lock()
	m.desk.end()
	m.mu.Unlock()
	m.desk.jobs.Wait()
}
