package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// address is where a session is kept.
type address struct {
	session   int64
	restore   uint64 // the newest one when the session was looked up
	by        *provider
	source    SessionSource
	device    int64
	name, key string
	kind      Type
	created   time.Time
}

// replaced says whether an id, or what was told, may not be what it was when a provider
// was called: a backup was restored meanwhile, or the store was damaged. m.mu is held.
func (m *Manager) replaced(before uint64) error {
	if before != m.desk.restore {
		return fmt.Errorf("%w: a backup was restored meanwhile, or the store made anew", ErrUnavailable)
	}
	return nil
}

func (a address) fails(what string, err error) error {
	return fmt.Errorf("provider %s: %s: %w: %w", a.name, what, ErrProvider, err)
}

// answered notes how a call to a source went, and returns err.
func (m *Manager) answered(at address, err error) error {
	if err == nil || ofProvider(err) {
		m.noted(at.by, &at.by.saves, at.device, err)
	}
	return err
}

// reach finds the source of a session.
func (m *Manager) reach(ctx context.Context, id int64) (at address, err error) {
	at, err = m.whereabouts(ctx, id)
	switch {
	case err != nil || at.source != nil:
		return at, err
	case at.by == nil:
		return at, at.fails("look for the session", errors.New("no provider of that name is registered"))
	}
	at.source, err = m.locate(ctx, at)
	if err = m.answered(at, err); err != nil {
		return at, at.fails("look for the session", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.replaced(at.restore); err != nil {
		return at, fmt.Errorf("session %d: %w", id, err)
	}
	if s := m.sessions[id]; s != nil {
		s.origin.by = at.by
		m.errand(s).source = at.source
	}
	return at, nil
}

// whereabouts returns what is known of where a session is kept.
func (m *Manager) whereabouts(ctx context.Context, id int64) (at address, err error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return at, err
	}
	defer cancel()
	d, s, err := m.holdSession(ctx, id)
	if err != nil {
		return at, err
	}
	defer m.finish(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.origin == nil {
		return at, fmt.Errorf("session %d is no provider's: %w", id, ErrUnknownSession)
	}
	at = address{id, m.desk.restore, s.origin.by, m.errand(s).source, d.id, s.origin.Provider, s.origin.Key, s.kind, s.createdAt}
	if at.by == nil {
		at.by = m.keeper(at.name)
	}
	return at, nil
}

var errGone = errors.New("it does not have it any more, see gatewayd sessions delete")

// locate asks a provider for the source of a session that it offered before
// this process started.
func (m *Manager) locate(ctx context.Context, at address) (found SessionSource, err error) {
	look := func(page []offered) bool {
		for _, o := range page {
			if o.key == at.key && at.by.nameOf(o.data) == at.name {
				found = o.source
			}
		}
		return found != nil
	}
	if err := m.leaf(at.by, at.device, look); err != nil || found != nil {
		return found, err
	}
	page, err := calling(ctx, m, at.by, func(ctx context.Context) ([]offered, error) {
		source, ok := at.by.of.GetSession(ctx, m.client(at.device))
		if !ok || source == nil {
			return nil, nil
		}
		return []offered{readSource(source)}, nil
	})
	if err == nil && !look(page) {
		err = fmt.Errorf("%w: session %q", errGone, at.key)
	}
	return found, err
}

// lockSource waits until nobody else changes a session at its source.
func (m *Manager) lockSource(ctx context.Context, key string) (unlock func(), err error) {
	m.mu.Lock()
	l := m.desk.locks[key]
	if l == nil {
		l = &lock{turn: newTurn()}
		m.desk.locks[key] = l
	}
	l.users++
	m.mu.Unlock()
	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.desk.locks, key)
		}
	}
	if err := l.turn.take(ctx); err != nil {
		leave()
		return nil, err
	}
	return func() { l.turn.done(); leave() }, nil
}

// callSession prepares a call and holds the device of a session that was found
// before a provider was called, until done.
func (m *Manager) callSession(ctx context.Context, at address) (_ context.Context, d *device, s *session, done func(), err error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	m.mu.Lock()
	err = m.replaced(at.restore)
	m.mu.Unlock()
	if err == nil {
		d, s, err = m.holdSession(ctx, at.session)
	}
	if err != nil {
		cancel()
		return nil, nil, nil, nil, err
	}
	return ctx, d, s, func() { m.finish(d); cancel() }, nil
}
