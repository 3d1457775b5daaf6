package sessions

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// edit is what Save of a handle and Update change: nil or zero leaves a field
// as it is.
type edit struct {
	Change
	incTime    time.Duration
	incData    int64 // bytes
	setStarted bool
	startedAt  *time.Time
	save       *int // the same when a Save that failed is made again; nil: it is not a handle's
}

// same reports that two edits are one, which a handle saves again.
func (e *edit) same(o *edit) bool { return e != nil && o != nil && e.save != nil && e.save == o.save }

// unstarts reports that an edit, if there is one, takes the start away.
func (e *edit) unstarts() bool { return e != nil && e.setStarted && e.startedAt == nil }

func (e *edit) empty() bool {
	return e.Change == Change{} && e.incTime == 0 && e.incData == 0 && !e.setStarted
}

// apply returns the session as the edit makes it. u is what it has used.
func (e *edit) apply(s *session, u use) (session, error) {
	n := *s
	p := s.plan()
	set(&p.TimeSecs, e.TimeSecs)
	set(&p.DataMB, e.DataMB)
	set(&p.DownMbits, e.DownMbits)
	set(&p.UpMbits, e.UpMbits)
	set(&p.UseGlobalSpeed, e.UseGlobalSpeed)
	if e.NeverExpires {
		p.ExpDays = nil
	}
	if e.ExpDays != nil {
		p.ExpDays = copied(e.ExpDays)
	}
	if err := p.Check(); err != nil {
		return n, err
	}
	if c := e.TimeCons; c != nil && uint64(*c) > maxTimeSecs {
		return n, fmt.Errorf("%w: time_cons %d is more than 100 years", ErrBadPlan, *c)
	}
	if c := e.DataCons; c != nil && (math.IsNaN(*c) || *c < 0 || *c > maxDataMB) {
		return n, fmt.Errorf("%w: data_cons %v is not an amount", ErrBadPlan, *c)
	}
	n.timeLimit, n.dataLimit, n.expDays = seconds(p.TimeSecs), megabytes(p.DataMB), p.ExpDays
	n.downMbits, n.upMbits = p.own()
	n.global = p.UseGlobalSpeed
	if e.TimeCons != nil {
		n.timeEdit = seconds(*e.TimeCons) - u.time
	}
	if e.DataCons != nil {
		n.dataEdit = megabytes(*e.DataCons) - int64(u.up+u.down)
	}
	n.timeEdit = min(n.timeEdit+e.incTime, maxTimeSecs*time.Second-u.time) // neither sum overflows
	n.dataEdit = min(n.dataEdit+e.incData, maxDataMB*1e6-int64(u.up+u.down))
	if e.setStarted {
		n.startedAt, n.unsure = time.Time{}, time.Time{}
		if e.startedAt != nil {
			n.startedAt = e.startedAt.UTC().Round(0)
			if y := n.startedAt.Year(); y < firstYear || y > lastYear {
				return n, fmt.Errorf("%w: started_at %v: want a year from %d to %d", ErrBadPlan, n.startedAt, firstYear, lastYear)
			}
		}
	}
	if e.DataMB != nil || e.DataCons != nil {
		n.spent = false
	}
	return n, nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// Update changes a session; a running one at once: the next packet has the
// new limits and rates. It is on disk when Update returns nil. It is answered
// within 5 s: of those, a provider's session is changed at its source first, and
// whatever is waited for before, 3 s, and the forwarder has 2 s to take it in. It
// emits SessionChanged. A change of nothing is none. ErrUnknownSession,
// ErrBadPlan, also for a limit that its type does not have, ErrProvider,
// ErrUnavailable, ErrStopped, and
// ErrForwarder, which says that it is saved and not in force yet.
func (m *Manager) Update(ctx context.Context, id int64, c Change) (Session, error) {
	if c.TimeSecs != nil || c.DataMB != nil {
		s, err := m.Session(ctx, id)
		if err == nil {
			err = c.fits(s.Type)
		}
		if err != nil {
			return Session{}, fmt.Errorf("change session %d: %w", id, err)
		}
	}
	return m.update(ctx, id, edit{Change: c})
}

// fits says whether a type, which does not change, has the limits that are set.
func (c *Change) fits(t Type) error {
	switch {
	case c.TimeSecs != nil && !t.hasTime():
		return fmt.Errorf("%w: time_secs: a session of type %v has no time to set", ErrBadPlan, t)
	case c.DataMB != nil && !t.hasData():
		return fmt.Errorf("%w: data_mb: a session of type %v has no data to set", ErrBadPlan, t)
	}
	return nil
}

func (m *Manager) update(ctx context.Context, id int64, e edit) (Session, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	v, there, err := m.updateHere(ctx, id, e)
	if there {
		return m.updateThere(ctx, id, e)
	}
	return v, err
}

// updateHere changes a local session; of a provider's it says that it is
// there.
func (m *Manager) updateHere(ctx context.Context, id int64, e edit) (v Session, there bool, err error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return v, false, fmt.Errorf("change session %d: %w", id, err)
	}
	defer cancel()
	d, s, err := m.holdSession(ctx, id)
	if err != nil {
		return v, false, fmt.Errorf("change: %w", err)
	}
	defer m.finish(d)
	if e.empty() || s.origin != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.viewSession(s), !e.empty(), nil
	}

	m.mu.Lock()
	m.follow(d)
	n, err := e.apply(s, m.used(d, s))
	if err != nil {
		m.mu.Unlock()
		return v, false, fmt.Errorf("change session %d: %w", id, err)
	}
	if v, err = m.change(ctx, d, s, n); errors.Is(err, ErrForwarder) {
		err = fmt.Errorf("%w: %w", errMade, err)
	}
	return v, false, err
}

// errMade: a change is made and on disk, and the packet path has not taken it in.
var errMade = errors.New("it is saved, and not in force yet")

// change puts n in the place of session s, on disk first, and gives a running
// grant its terms. It is called with m.mu held and gives it back; the turn is
// held.
func (m *Manager) change(ctx context.Context, d *device, s *session, n session) (Session, error) {
	id := s.id
	m.postChange(s, &n, m.used(d, s))
	records := m.pending(d, &n)
	m.mu.Unlock()
	err := m.save(ctx, records)

	m.mu.Lock()
	m.written(d, err)
	if err != nil {
		s.ledger.failed(n.ledger.next)
		m.soil(s) // in doubt: the disk gets back what memory has
		m.mu.Unlock()
		return Session{}, fmt.Errorf("change session %d: %w", id, err)
	}
	*s = n
	s.ledger.landed()
	s.dirty, s.writing, s.unindexed = false, false, false
	m.straighten(s)
	slot, gen := d.slot, uint64(0)
	if m.amend(d, s) {
		gen = m.changed(d)
	}
	d.review = true // it may be used next, or no more
	m.follow(d)
	gen = max(gen, m.table.Policy(slot))
	m.hub.emit(d.id, SessionChanged, message{"the session was changed", id})
	v := m.viewSession(s)
	m.mu.Unlock()
	if d.slot != 0 {
		if err := m.wait(slot, gen); err != nil {
			return Session{}, fmt.Errorf("change session %d: %w", id, err)
		}
		m.mu.Lock()
		m.follow(d)
		v = m.viewSession(s)
		m.mu.Unlock()
	}
	return v, nil
}
