package sessions

import (
	"context"
	"errors"
	"fmt"
)

// updateThere changes a session where it is kept, and then here. ErrProvider
// says that it was not changed, or, if the text says that Reload failed too,
// that it may have been.
func (m *Manager) updateThere(ctx context.Context, id int64, e edit) (Session, error) {
	if _, err := m.visit(ctx, id, &e); err != nil {
		m.visitAgain(id)
		return Session{}, fmt.Errorf("change session %d: %w", id, err)
	}
	m.mu.Lock()
	if s := m.sessions[id]; s != nil {
		m.hub.emit(s.device, SessionChanged, message{"the session was changed", id})
	}
	m.mu.Unlock()
	return m.Session(ctx, id)
}

// visitAgain has the source of a session visited soon if what became of the last
// letter to it is not known.
func (m *Manager) visitAgain(id int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sessions[id]; s != nil && s.origin != nil && s.origin.Letter != nil {
		e := m.errand(s)
		e.due = min(e.due, m.opt.Boot()+firstBackoff)
	}
}

// reload reads a session anew, a provider's from its source.
func (m *Manager) reload(ctx context.Context, id int64) (Session, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	v, err := m.Session(ctx, id)
	if err != nil || v.Provider == Local {
		return v, err
	}
	if _, err := m.visit(ctx, id, nil); err != nil {
		if errors.Is(err, ErrUnknownSession) {
			return Session{}, err
		}
		return Session{}, fmt.Errorf("reload session %d: %w", id, err)
	}
	return m.Session(ctx, id)
}

// deletable says why a session is not to be deleted here.
func (m *Manager) deletable(s *session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.origin == nil || m.keeper(s.origin.Provider) == nil {
		return nil
	}
	if e := m.desk.errands[s.id]; e != nil && errors.Is(e.failed, errGone) {
		return nil
	}
	return fmt.Errorf("%w: delete it at provider %s", ErrNotLocal, s.origin.Provider)
}
