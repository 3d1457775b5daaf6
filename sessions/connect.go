package sessions

import (
	"context"
	"errors"
	"fmt"
)

// ConnectDevice lets a device pass with its next available session. It
// returns when the next packet passes, within 5 s. While the WAN is away a
// session with time is paused in place instead, until it is back. It emits
// SessionConnected with notify as the message. ErrNoDevice, ErrAlreadyConnected,
// ErrNoSession, ErrTableFull, ErrUnavailable, ErrStopped. ErrForwarder: the
// packet path did not take it in within 2 s; the device is not connected, and a
// first start is undone.
func (m *Manager) ConnectDevice(ctx context.Context, id int64, notify string) (Device, error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return Device{}, fmt.Errorf("connect device %d: %w", id, err)
	}
	defer cancel()
	m.consult(ctx, id)
	d, err := m.holdID(ctx, id)
	if err != nil {
		return Device{}, fmt.Errorf("connect: %w", err)
	}
	defer m.finish(d)
	err = m.connect(ctx, d, notify)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		return Device{}, fmt.Errorf("connect %s: %w", macText(d.mac), m.unanswered(err))
	}
	return m.viewDevice(d), nil
}

// connect starts the best session. The turn is held.
func (m *Manager) connect(ctx context.Context, d *device, notify string) error {
	m.mu.Lock()
	m.followNow(d)
	if d.connected || d.paused != nil {
		defer m.mu.Unlock()
		if d.paused != nil {
			return fmt.Errorf("%w: session %d is %w", ErrAlreadyConnected, d.paused.id, ErrPaused)
		}
		return ErrAlreadyConnected
	}
	m.lastKnown(d)
	s := d.follows(m.clock.read().Wall, func(s *session) bool { return m.unsettled(d, s) })
	away := pauseReason(0)
	if s != nil {
		away = m.awayFor(s)
	}
	m.mu.Unlock()
	switch {
	case s == nil:
		return ErrNoSession
	case away != 0:
		return m.holdBack(ctx, d, s, away, SessionConnected, because("connected", notify), notify)
	}
	return m.start(ctx, d, s, because("connected", notify), SessionConnected, message{notify, s.id})
}

// start saves that a session runs, and its start if it had none, publishes its
// grant and the next one ahead, waits for the forwarder and emits event. The
// ledger says why. One that was paused is so again after an error. The turn is
// held.
func (m *Manager) start(ctx context.Context, d *device, s *session, why, event string, said any) error {
	if err := m.place(ctx, d); err != nil {
		return err
	}
	m.mu.Lock()
	reason := s.paused
	now, unsure := m.clock.started(m.opt.Boot())
	started := *s
	started.running, started.paused = true, 0
	if started.startedAt.IsZero() {
		started.startedAt, started.unsure = now, unsure
	}
	kind := LineResume
	if s.startedAt.IsZero() {
		kind = LineStart
	}
	started.ledger.add(m.line(&started, s.settled, m.opt.Boot(), kind, why), m.opt.Boot())
	records := m.pending(d, &started)
	m.mu.Unlock()
	err := m.save(ctx, records)

	m.mu.Lock()
	m.written(d, err)
	if err != nil {
		s.ledger.failed(started.ledger.next)
		m.soil(s) // in doubt: the disk gets back what memory has
		m.mu.Unlock()
		return err
	}
	d.onDisk = true
	s.ledger = started.ledger
	s.ledger.landed()
	first := s.startedAt.IsZero()
	s.startedAt, s.unsure, s.running, s.unindexed = started.startedAt, started.unsure, true, false
	if s.paused, s.marked = 0, false; d.paused == s {
		m.unpause(d)
	}
	m.straighten(s)
	if d.resume != nil && d.resume != s {
		m.soil(d.resume)
	}
	d.resume = nil
	if !m.publish(d, s, s.usedUp(s.settled)) {
		s.running = false
		m.post(s, LinePause, "connect failed: all grant records wait for the disk")
		m.pauseAgain(d, s, reason)
		m.mu.Unlock()
		return fmt.Errorf("grant session %d: all records wait for the disk: %w", s.id, ErrUnavailable)
	}
	if err = m.admit(d, event, said, first); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.pauseAgain(d, s, reason)
	}
	return err
}

// pauseAgain undoes that a session goes on that was paused for a reason; 0: it
// was not. m.mu and the turn are held.
func (m *Manager) pauseAgain(d *device, s *session, reason pauseReason) {
	if reason != 0 {
		m.setPaused(d, s, reason)
	}
}

// admit makes the grant that was just published known, with the one after it,
// and emits event. first says that its session was started for it. It is
// called with m.mu held and gives it back.
func (m *Manager) admit(d *device, event string, said any, first bool) error {
	d.connected, d.admitted = true, m.opt.Boot()
	m.fetch(d)
	m.touch(d.current().session)
	gen, slot := m.changed(d), d.slot
	m.mu.Unlock()
	if err := m.wait(slot, gen); err != nil {
		m.mu.Lock()
		d.current().void = first
		m.revokeAll(d, "connect failed: the forwarder does not answer")
		m.changed(d)
		d.connected = false
		m.mu.Unlock()
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hub.emit(d.id, event, said)
	return nil
}

// readmit connects a device again that was connected before a restart and
// has been seen since, or for which a pause is over. One whose session has ended
// since goes on with its next one, for which the providers are asked first. The
// turn is held.
func (m *Manager) readmit(ctx context.Context, d *device) error {
	m.mu.Lock()
	if d.paused != nil {
		m.follow(d)
	}
	if p := d.paused; p != nil && d.slot != 0 && m.mayGoOn(d) && d.usable(p, m.clock.read().Wall) && m.awayFor(p) == 0 {
		if m.unsettled(d, p) {
			m.mu.Unlock()
			return fmt.Errorf("resume %s: its pause is not settled: %w", macText(d.mac), ErrForwarder)
		}
		over := p.paused.over()
		m.mu.Unlock()
		return m.start(ctx, d, p, "resumed: "+over, SessionChanged, switched{message{"the session goes on: " + over, p.id}, Running})
	}
	s := d.resume
	if s == nil || d.slot == 0 || !d.sighted || d.connected {
		m.mu.Unlock()
		return nil
	}
	said := message{"connected again after a restart", s.id}
	var err error
	if m.follow(d); m.unsettled(d, s) {
		m.mu.Unlock()
		return fmt.Errorf("readmit %s: the attempt before is not settled: %w", macText(d.mac), ErrForwarder)
	}
	if d.usable(s, m.clock.read().Wall) && !s.startedAt.IsZero() {
		if !m.publish(d, s, s.usedUp(s.settled)) {
			m.mu.Unlock()
			return fmt.Errorf("readmit %s: all records wait for the disk: %w", macText(d.mac), ErrUnavailable)
		}
		d.resume = nil
		m.post(s, LineResume, said.Message)
		err = m.admit(d, SessionConnected, said, false)
	} else {
		waits := m.awaitsProviders(d, s)
		m.mu.Unlock()
		if waits {
			return nil
		}
		err = m.connect(ctx, d, said.Message)
	}
	if err == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if errors.Is(err, ErrNoSession) {
		s.running, d.resume = false, nil
		m.soil(s)
		m.markPaused(d)
		return nil
	}
	d.resume = s // it is tried again
	return err
}

// DisconnectDevice pauses a device's session. When it returns nil, nothing
// passes any more and what was used is on disk. One that was connected before a
// restart and would go on with its next packet does not; one that is paused in
// place is not any more. It emits SessionDisconnected with notify as the message,
// and returns within 5 s. ErrUnavailable says that the device is disconnected but
// the store was away, ErrForwarder that it is and the packet path did not take
// it in within 2 s: what was used is written as soon as they are back, and is safe
// in the table until then. ErrNoDevice, ErrNotConnected, ErrStopped.
func (m *Manager) DisconnectDevice(ctx context.Context, id int64, notify string) (Device, error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return Device{}, fmt.Errorf("disconnect device %d: %w", id, err)
	}
	defer cancel()
	d, err := m.holdID(ctx, id)
	if err != nil {
		return Device{}, fmt.Errorf("disconnect: %w", err)
	}
	defer m.finish(d)
	if err := m.disconnect(ctx, d, notify); err != nil {
		return Device{}, fmt.Errorf("disconnect %s: %w", macText(d.mac), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewDevice(d), nil
}

func (m *Manager) disconnect(ctx context.Context, d *device, notify string) error {
	m.mu.Lock()
	m.followNow(d)
	var s *session
	var err error
	switch {
	case d.connected:
		d.connected = false
		if g := d.current(); g != nil {
			s = g.session
		}
		m.mu.Unlock()
		err = m.cut(d, because("disconnected", notify))
		m.mu.Lock()
		m.follow(d)
	case d.paused != nil:
		s = d.paused
		m.unpause(d)
		m.postPause(d, s, because("disconnected", notify))
		slot, gen := d.slot, d.revokedAt
		m.mu.Unlock()
		err = m.wait(slot, gen)
		m.mu.Lock()
		m.follow(d)
	case d.resume != nil:
		s = d.resume
		d.resume, s.running = nil, false
		m.postPause(d, s, because("disconnected", notify))
	default:
		m.mu.Unlock()
		return ErrNotConnected
	}
	m.markPaused(d)
	m.hub.emit(d.id, SessionDisconnected, message{notify, sessionID(s)})
	records := m.pending(d, nil)
	m.mu.Unlock()
	if err != nil { // what was not settled yet is when the forwarder answers
		m.mu.Lock()
		defer m.mu.Unlock()
		m.written(d, err)
		return err
	}
	err = m.save(ctx, records)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written(d, err)
	if err != nil {
		m.keepMarked(d)
	}
	return err
}
