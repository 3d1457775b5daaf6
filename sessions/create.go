package sessions

import (
	"context"
	"fmt"

	"gatewayd/store/client"
)

// Create gives a device a new session. It is on disk when Create returns nil,
// within 5 s, and available, also to a chain that runs. ErrBadPlan, ErrNoDevice,
// ErrUnavailable, ErrStopped.
func (m *Manager) Create(ctx context.Context, deviceID int64, p Plan) (Session, error) {
	vs, err := m.create(ctx, deviceID, []Plan{p})
	if err != nil {
		return Session{}, fmt.Errorf("create session for device %d: %w", deviceID, err)
	}
	return vs[0], nil
}

// MaxBatch is how many sessions CreateBatch makes at most.
const MaxBatch = 100

// CreateBatch gives a device a session of each plan, in one write to the disk:
// all of them, or with an error none. They are in the order of the plans, which
// is the order in which they will be used. Errors are those of Create; ErrBadPlan
// is also for no plan and for more than MaxBatch.
func (m *Manager) CreateBatch(ctx context.Context, deviceID int64, plans []Plan) ([]Session, error) {
	if n := len(plans); n < 1 || n > MaxBatch {
		return nil, fmt.Errorf("create sessions for device %d: %w: %d of them: want 1 to %d", deviceID, ErrBadPlan, n, MaxBatch)
	}
	vs, err := m.create(ctx, deviceID, plans)
	if err != nil {
		return nil, fmt.Errorf("create %d sessions for device %d: %w", len(plans), deviceID, err)
	}
	return vs, nil
}

func (m *Manager) create(ctx context.Context, deviceID int64, plans []Plan) ([]Session, error) {
	for i, p := range plans {
		if err := p.Check(); err != nil && len(plans) > 1 {
			return nil, fmt.Errorf("number %d: %w", i+1, err)
		} else if err != nil {
			return nil, err
		}
	}
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	d, err := m.holdID(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	defer m.finish(d)
	made, err := m.prepare(ctx, d, plans)
	if err != nil {
		return nil, err
	}
	if err := m.inherit(ctx, d); err != nil { // it may go to disk now
		return nil, err
	}
	records, undo := m.newRecords(d, made)
	if err := m.save(ctx, records); err != nil {
		m.owe(undo...)
		return nil, err
	}
	m.mu.Lock()
	m.follow(d) // one that ended before had no next
	d.onDisk = true
	for _, s := range made {
		s.unindexed = false
		s.ledger.landed()
		d.sessions = append(d.sessions, s)
		m.sessions[s.id] = s
		m.hub.emit(d.id, SessionChanged, message{"a new session", s.id})
	}
	d.review = true // they may be what the device uses next
	m.follow(d)
	vs := make([]Session, len(made))
	for i, s := range made {
		vs[i] = m.viewSession(s)
	}
	slot := d.slot
	gen := m.table.Policy(slot)
	m.mu.Unlock()
	_ = m.wait(slot, gen) // it is sold, whether the forwarder answers or not
	return vs, nil
}

// prepare makes the sessions of plans, which are in no list yet. The turn is
// held.
func (m *Manager) prepare(ctx context.Context, d *device, plans []Plan) ([]*session, error) {
	made := make([]*session, len(plans))
	now := m.clock.read().Wall
	for i, p := range plans {
		id, err := m.newID(ctx, sessionIDs)
		if err != nil {
			return nil, err
		}
		made[i] = newSession(id, d.id, p, now)
	}
	return made, nil
}

// newRecords returns what makes new sessions of a device known to the disk, and
// what takes it back. The turn is held.
func (m *Manager) newRecords(d *device, made []*session) (records, undo []client.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !d.onDisk {
		records = m.deviceRecords(d)
	}
	for _, s := range made {
		s.ledger.add(m.line(s, use{}, m.opt.Boot(), LineCreate, fmt.Sprintf("for device %d, %s", d.id, macText(d.mac))), m.opt.Boot())
		records = append(records, s.records(use{}, m.lastCheckpoint())...)
		s.ledger.out = s.ledger.next
		undo = append(undo, remove(sessionKey(d.id, s.id)), remove(indexKey(s.id)), remove(lineKey(s.id, 0)))
	}
	return records, undo
}

// Delete removes a session for good. One that runs ends with the next packet
// and the device goes on with its next session, if it has one; so does a device
// whose session is paused, and stays paused. It is off the disk when Delete
// returns nil, within 5 s; its ledger stays for Options.LedgerKeep. A provider's
// session is deleted at the provider; here only once its provider is not
// registered or does not have it any more, with what was not delivered to it:
// ErrNotLocal. ErrUnknownSession, ErrUnavailable, ErrStopped. ErrForwarder: it is
// deleted, and the packet path did not take that in within 2 s; what runs of it
// ends as soon as it does.
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
