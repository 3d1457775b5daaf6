package sessions

import (
	"context"
	"errors"
	"fmt"

	"gatewayd/forwarder/clients"
)

// Update changes a session; a running one at once: the next packet has the
// new limits and rates. It is on disk when Update returns nil. It is answered
// within 5 s: of those, a provider's session is changed at its source first, and
// whatever is waited for before, 3 s, and the forwarder has 2 s to take it in. It
// emits SessionChanged. A change of nothing is none. ErrUnknownSession,
// ErrBadPlan, also for a limit that its type does not have and for a weight or throttle of a provider's, ErrProvider,
// ErrUnavailable, ErrStopped, and
// ErrForwarder, which says that it is saved and not in force yet.
func (m *Manager) Update(ctx context.Context, id int64, c Change) (Session, error) {
	if c.TimeSecs != nil || c.DataMB != nil || c.Weight != nil || c.ThrottleDown != nil || c.ThrottleUp != nil {
		s, err := m.Session(ctx, id)
		if err == nil {
			err = c.fits(s)
		}
		if err != nil {
			return Session{}, fmt.Errorf("change session %d: %w", id, err)
		}
	}
	return m.update(ctx, id, edit{Change: c})
}

// fits says whether a session's type and its provider, which do not change, have what
// is set.
func (c *Change) fits(s Session) error {
	switch t := s.Type; {
	case c.TimeSecs != nil && !t.hasTime():
		return fmt.Errorf("%w: time_secs: a session of type %v has no time to set", ErrBadPlan, t)
	case c.DataMB != nil && !t.hasData():
		return fmt.Errorf("%w: data_mb: a session of type %v has no data to set", ErrBadPlan, t)
	case c.Weight != nil && s.Provider != Local:
		return fmt.Errorf("%w: weight: a session of provider %s has none to set, it weighs 1", ErrBadPlan, s.Provider)
	case (c.ThrottleDown != nil || c.ThrottleUp != nil) && s.Provider != Local:
		return fmt.Errorf("%w: throttle: a session of provider %s has none to set, it is cut off when it is used up", ErrBadPlan, s.Provider)
	case c.Weight != nil && *c.Weight == 0:
		return fmt.Errorf("%w: weight is 0: want 1 to %d", ErrBadPlan, clients.MaxWeight)
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
