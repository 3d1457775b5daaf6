package sessions

import (
	"context"
	"fmt"

	"gatewayd/store/client"
)

// Create gives a device a new session. It is on disk when Create returns nil.
// ErrBadPlan, ErrNoDevice, ErrUnavailable, ErrStopped.
func (m *Manager) Create(ctx context.Context, deviceID int64, p Plan) (Session, error) {
	if err := p.Check(); err != nil {
		return Session{}, fmt.Errorf("create session for device %d: %w", deviceID, err)
	}
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return Session{}, fmt.Errorf("create session for device %d: %w", deviceID, err)
	}
	defer cancel()
	d, err := m.holdID(ctx, deviceID)
	if err != nil {
		return Session{}, fmt.Errorf("create session: %w", err)
	}
	defer m.finish(d)
	id, err := m.newID(ctx, sessionIDs)
	if err != nil {
		return Session{}, fmt.Errorf("create session for device %d: %w", deviceID, err)
	}
	now := m.clock.read().Wall
	s := newSession(id, d.id, p, now)
	m.mu.Lock()
	s.ledger.add(m.line(s, use{}, m.opt.Boot(), LineCreate, fmt.Sprintf("for device %d, %s", d.id, macText(d.mac))), m.opt.Boot())
	records := m.pending(d, s)
	m.mu.Unlock()
	err = m.save(ctx, records)
	m.mu.Lock()
	m.written(d, err)
	if err != nil {
		m.mu.Unlock()
		m.owe(remove(sessionKey(d.id, id)), remove(indexKey(id)), remove(lineKey(id, 0)))
		return Session{}, fmt.Errorf("create session for device %d: %w", deviceID, err)
	}
	d.onDisk = true
	s.unindexed = false
	s.ledger.landed()
	d.sessions = append(d.sessions, s)
	m.sessions[id] = s
	d.review = true // it may be what the device uses next
	m.follow(d)
	v, slot := m.viewSession(s), d.slot
	gen := m.table.Policy(slot)
	m.hub.emit(d.id, SessionChanged, message{"a new session", id})
	m.mu.Unlock()
	_ = m.wait(slot, gen) // it is sold, whether the forwarder answers or not
	return v, nil
}

// Delete removes a session for good. One that runs ends with the next packet
// and the device goes on with its next session, if it has one; so does a device
// whose session is paused, and stays paused. A provider's
// session is deleted at the provider; here only once its provider is not
// registered or does not have it any more, with what was not delivered to it:
// ErrNotLocal.
// ErrUnknownSession, ErrForwarder, ErrUnavailable, ErrStopped.
func (m *Manager) Delete(ctx context.Context, id int64) error {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return fmt.Errorf("delete session %d: %w", id, err)
	}
	defer cancel()
	d, s, err := m.holdSession(ctx, id)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	defer m.finish(d)
	if err := m.deletable(s); err != nil {
		return fmt.Errorf("delete session %d: %w", id, err)
	}
	m.mu.Lock()
	m.follow(d)
	s.writing = true
	ended := s.ledger
	ended.add(m.line(s, m.used(d, s), m.opt.Boot(), LineDelete, ""), m.opt.Boot())
	records := append(ended.records(id), s.removal()...)
	m.mu.Unlock()
	err = m.save(ctx, records)
	m.mu.Lock()
	s.writing = false
	if err != nil {
		defer m.mu.Unlock()
		s.unindexed = true
		s.ledger.failed(ended.next)
		m.soil(s)
		return fmt.Errorf("delete session %d: %w", id, err)
	}
	s.ledger = ledger{next: ended.next, final: &ended.waits[len(ended.waits)-1]}
	slot, gen := d.slot, uint64(0)
	m.forgetSession(d, s)
	cur := d.current()
	ran := cur != nil && cur.session == s
	for i := range d.grants {
		if g := &d.grants[i]; g.session == s && !g.revoked {
			m.revoke(d, g)
			gen = 1
		}
	}
	m.hub.emit(d.id, SessionChanged, message{"the session was deleted", id})
	if d.paused == s {
		m.passPause(d, "the session was deleted")
	}
	if gen != 0 {
		if d.connected {
			m.fetch(d)
		}
		if cur := d.current(); ran && cur != nil {
			m.tellNext(d, cur.session, s)
		}
		gen = m.changed(d)
	}
	m.mu.Unlock()
	if gen == 0 {
		return nil
	}
	if err := m.wait(slot, gen); err != nil {
		return fmt.Errorf("delete session %d: %w", id, err)
	}
	m.mu.Lock()
	m.follow(d)
	m.mu.Unlock()
	_ = m.payOwed(ctx) // what it used to the end; it is owed on
	return nil
}

// holdSession holds the device of a session.
func (m *Manager) holdSession(ctx context.Context, id int64) (*device, *session, error) {
	m.mu.Lock()
	s := m.sessions[id]
	m.mu.Unlock()
	var device int64
	if s != nil {
		device = s.device
	} else {
		stored, err := m.readStored(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if stored == nil {
			return nil, nil, fmt.Errorf("session %d: %w", id, ErrUnknownSession)
		}
		device = stored.device
	}
	d, err := m.holdID(ctx, device)
	if err != nil {
		return nil, nil, fmt.Errorf("session %d: %w", id, err)
	}
	m.mu.Lock()
	s = m.sessions[id]
	m.mu.Unlock()
	if s == nil { // deleted meanwhile
		m.finish(d)
		return nil, nil, fmt.Errorf("session %d: %w", id, ErrUnknownSession)
	}
	return d, s, nil
}

// readStored reads a session's record; nil when there is none.
func (m *Manager) readStored(ctx context.Context, id int64) (*session, error) {
	b, ok, err := m.get(ctx, indexKey(id))
	if err != nil || !ok || id <= 0 {
		return nil, err
	}
	device, err := numberOf(b)
	if err != nil {
		return nil, fmt.Errorf("session %d: %w", id, err)
	}
	key := sessionKey(device, id)
	if b, ok, err = m.get(ctx, key); err != nil || !ok {
		return nil, err
	}
	return readSession(client.Record{Key: key, Value: b})
}
