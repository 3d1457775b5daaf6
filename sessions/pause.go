package sessions

import (
	"cmp"
	"context"
	"fmt"

	"gatewayd/forwarder/clients"
)

// pauseReason says why a session is paused in place; 0: it is not.
type pauseReason uint8

const (
	pauseAsked     pauseReason = 1 + iota // by PauseDevice; until ResumeDevice
	pauseIdle                             // its client sends nothing; until its next packet
	pauseNoCarrier                        // the WAN port has no carrier; until the WAN is back
	pauseSilent                           // the next router is silent; likewise
)

// Why a session is paused: Session.PauseReason.
const (
	PausedAsked         = "asked"          // by PauseDevice
	PausedIdle          = "idle"           // its client sends nothing
	PausedNoCarrier     = "no_carrier"     // the WAN port has no carrier
	PausedSilentGateway = "silent_gateway" // the next router is silent
)

var pauseWords = [...]struct{ word, sentence, over string }{
	pauseAsked:     {PausedAsked, "somebody paused it", "somebody resumed it"},
	pauseIdle:      {PausedIdle, "the client sends nothing", "the client sent a packet"},
	pauseNoCarrier: {PausedNoCarrier, "the WAN port has no carrier", "the WAN is back"},
	pauseSilent:    {PausedSilentGateway, "the next router is silent", "the WAN is back"},
}

// byWAN says that it is over when the WAN is back.
func (r pauseReason) byWAN() bool { return r == pauseNoCarrier || r == pauseSilent }

// sentence is the reason in words.
func (r pauseReason) sentence() string { return pauseWords[knownReason(uint64(r))].sentence }

// over says in words what ended it.
func (r pauseReason) over() string { return pauseWords[knownReason(uint64(r))].over }

// knownReason reads a reason's number. One that is not known ends by
// ResumeDevice only.
func knownReason(n uint64) pauseReason {
	if n == 0 || n >= uint64(len(pauseWords)) {
		return pauseAsked
	}
	return pauseReason(n)
}

// String is the reason in JSON.
func (r pauseReason) String() string { return pauseWords[knownReason(uint64(r))].word }

// switched is the data of the event that a session was paused or goes on.
type switched struct {
	message
	State State `json:"state"`
}

// PauseDevice pauses a device's session in place. When it returns nil nothing
// passes any more, and what was used and the pause are on disk. The device
// counts as connected, also after a restart; its time stands still, its expiry
// does not. One that is paused for another reason is paused until ResumeDevice
// from then on. When the session ends while it is paused (it expires, is edited
// or deleted) the device's next session is paused in its place; with none left
// the device is disconnected. It emits SessionChanged with notify as the message,
// and returns within 5 s. ErrUnavailable says that the session is paused but the
// store was away, ErrForwarder that it is and the packet path did not take it in
// within 2 s: it is written as soon as they are back, and is safe in the table
// until then. ErrNoDevice, ErrNotConnected, ErrPaused, ErrStopped.
func (m *Manager) PauseDevice(ctx context.Context, id int64, notify string) (Device, error) {
	return m.turnDevice(ctx, "pause", id, func(ctx context.Context, d *device) error { return m.pause(ctx, d, notify) })
}

// ResumeDevice has a device whose session is paused in place go on. It returns
// when the next packet passes, and that it runs is on disk, within 5 s. While the
// WAN is away a session with time is paused for that reason instead. It emits
// SessionChanged with notify as the message. ErrNoDevice, ErrNotPaused,
// ErrTableFull, ErrUnavailable, ErrStopped. ErrForwarder: the packet path did not
// take it in within 2 s; the session stays paused.
func (m *Manager) ResumeDevice(ctx context.Context, id int64, notify string) (Device, error) {
	return m.turnDevice(ctx, "resume", id, func(ctx context.Context, d *device) error { return m.goOn(ctx, d, notify) })
}

// turnDevice holds a device for a call that changes whether its packets pass.
func (m *Manager) turnDevice(ctx context.Context, what string, id int64, do func(context.Context, *device) error) (Device, error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return Device{}, fmt.Errorf("%s device %d: %w", what, id, err)
	}
	defer cancel()
	d, err := m.holdID(ctx, id)
	if err != nil {
		return Device{}, fmt.Errorf("%s: %w", what, err)
	}
	defer m.finish(d)
	if err := do(ctx, d); err != nil {
		return Device{}, fmt.Errorf("%s %s: %w", what, macText(d.mac), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewDevice(d), nil
}

func (m *Manager) pause(ctx context.Context, d *device, notify string) error {
	m.mu.Lock()
	m.followNow(d)
	s := d.holds(m)
	if s == nil || s.paused == pauseAsked {
		defer m.mu.Unlock()
		if s != nil {
			return fmt.Errorf("session %d is %w", s.id, ErrPaused)
		}
		return ErrNotConnected
	}
	m.halt(d, s, pauseAsked, because("paused", notify))
	slot, gen := d.slot, d.revokedAt
	m.mu.Unlock()
	err := m.wait(slot, gen)

	m.mu.Lock()
	m.follow(d) // it may have ended at the same moment
	if s = d.paused; s != nil {
		m.hub.emit(d.id, SessionChanged, switched{message{cmp.Or(notify, "the session is paused"), s.id}, Paused})
	}
	records := m.pending(d, nil)
	m.mu.Unlock()
	if err == nil {
		err = m.save(ctx, records)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written(d, err)
	if err != nil {
		m.keepMarked(d)
	}
	if err == nil && s == nil {
		return ErrNotConnected
	}
	return err
}

// holds returns the session that a device has in use: running, paused, or to
// run again with the next packet; nil: none. m.mu and the turn are held.
func (d *device) holds(m *Manager) *session {
	switch {
	case d.paused != nil:
		return d.paused
	case d.resume != nil:
		return d.resume
	case !d.connected:
		return nil
	}
	if g := d.current(); g != nil {
		return g.session
	}
	return d.best(m.clock.read().Wall, func(*session) bool { return false }) // it waits for a grant record
}

// halt pauses session s of a device, which it holds; the ledger says why. What
// was used is settled when the forwarder has taken it in. m.mu and the turn are
// held.
func (m *Manager) halt(d *device, s *session, reason pauseReason, why string) {
	closes := s.ledger.open && d.runs(s) // when its grant is settled, with that reason
	d.connected, d.resume, d.woken = false, nil, false
	m.setPaused(d, s, reason) // in the table before the end of the grants is
	if m.revokeAll(d, why) {
		m.changed(d)
	}
	if !closes {
		m.postPause(d, s, why)
	}
}

// setPaused notes that a session is the one its device has, paused. m.mu and
// the turn are held.
func (m *Manager) setPaused(d *device, s *session, reason pauseReason) {
	if d.paused != nil && d.paused != s {
		m.unpause(d)
	}
	if s.paused != reason || s.running {
		s.paused, s.running, s.marked = reason, false, true
		m.soil(s)
	}
	d.paused = s
	m.paused[d.id] = s.id
	m.markPaused(d)
}

// markPaused writes into a device's slot which session is paused, or that none
// is and none goes on with the next packet, so that the next control knows it
// whatever the disk still has. m.mu is held.
func (m *Manager) markPaused(d *device) {
	if d.slot == 0 {
		return
	}
	slot := m.table.Slot(d.slot)
	switch {
	case d.paused != nil:
		slot.PausedWhy.Store(uint64(d.paused.paused))
		slot.Paused.Store(uint64(d.paused.id))
	case d.loaded && d.resume == nil:
		slot.Paused.Store(clients.NonePaused)
	default:
		slot.Paused.Store(0)
	}
}

// markedPaused reads what markPaused wrote: the id of the session that is
// paused, 0 for none, and why. known says that something was written. m.mu is
// held.
func (m *Manager) markedPaused(d *device) (session int64, why pauseReason, known bool) {
	if d == nil || d.slot == 0 {
		return 0, 0, false
	}
	slot := m.table.Slot(d.slot)
	switch marked := slot.Paused.Load(); marked {
	case 0:
		return 0, 0, false
	case clients.NonePaused:
		return 0, 0, true
	default:
		return int64(marked), knownReason(slot.PausedWhy.Load()), true
	}
}

// keepMarked gives a device that has no slot one, if there is one free: the
// store did not take in what was decided, and the table is to keep it until
// then. m.mu and the turn are held.
func (m *Manager) keepMarked(d *device) {
	if d.slot != 0 {
		return
	}
	if _, err := m.bind(d, m.lastFree(d)); err != nil {
		m.log.Warn("a pause or its end is in memory only until the store is back", "error", err)
	}
}

// unpause ends a pause in memory. m.mu and the turn are held.
func (m *Manager) unpause(d *device) {
	if s := d.paused; s.paused != 0 {
		s.paused = 0
		m.soil(s)
	}
	d.paused = nil
	delete(m.paused, d.id)
	m.markPaused(d)
}

// mindPause has a paused device go on to its next session, still paused, when
// the one it has has ended and how it was paused is settled. ends are the grants
// that were settled just now: what ended by itself as it was paused has been told.
// m.mu and the turn are held.
func (m *Manager) mindPause(d *device, ends []ending) {
	s := d.paused
	if s == nil || granted(d, s) || s.available(m.clock.read().Wall) {
		return
	}
	for _, e := range ends {
		if e.session == s && e.kind == LineEnd {
			m.passPause(d, e.why)
			return
		}
	}
	if !m.awaitsNext(d, s) {
		m.endPaused(d)
	}
}

// endPaused tells that the session of a paused device has ended, and has the
// device go on to the next one. m.mu and the turn are held.
func (m *Manager) endPaused(d *device) {
	why := m.tellEnd(d.paused, true)
	m.post(d.paused, LineEnd, why)
	m.passPause(d, why)
}

// followNow is follow for a call, which does not wait for what providers may say
// comes after a paused session that has ended. m.mu and the turn are held.
func (m *Manager) followNow(d *device) {
	m.follow(d)
	if s := d.paused; s != nil && !granted(d, s) && !s.available(m.clock.read().Wall) {
		m.endPaused(d)
	}
}

// passPause pauses a device's next session in the place of the one it has,
// which has ended for the reason why; with none left the device is
// disconnected. m.mu and the turn are held.
func (m *Manager) passPause(d *device, why string) {
	ended, reason := d.paused, d.paused.paused
	m.unpause(d)
	m.lastKnown(d)
	next := d.best(m.clock.read().Wall, func(s *session) bool { return s == ended })
	if next == nil {
		m.hub.emit(d.id, SessionDisconnected, message{why, ended.id})
		return
	}
	m.setPaused(d, next, reason)
	m.hub.emit(d.id, SessionChanged,
		switched{message{fmt.Sprintf("session %d, paused, goes on after session %d", next.id, ended.id), next.id}, Paused})
}

// goOn has a paused device run again.
func (m *Manager) goOn(ctx context.Context, d *device, notify string) error {
	m.mu.Lock()
	m.followNow(d)
	s := d.paused
	away := pauseReason(0)
	if s != nil {
		away = m.awayFor(s)
	}
	switch {
	case s == nil:
		m.mu.Unlock()
		return ErrNotPaused
	case away != 0:
		m.mu.Unlock()
		return m.holdBack(ctx, d, s, away, SessionChanged, because("resumed", notify), notify)
	case m.unsettled(d, s):
		m.mu.Unlock()
		return fmt.Errorf("session %d: how it was paused is not settled: %w", s.id, ErrForwarder)
	}
	m.mu.Unlock()
	return m.start(ctx, d, s, because("resumed", notify), SessionChanged, switched{message{cmp.Or(notify, "the session goes on"), s.id}, Running})
}

// holdBack pauses a session of a device that is to run, because the WAN is
// away, has that on disk, and emits event. why begins the ledger's line. The
// turn is held.
func (m *Manager) holdBack(ctx context.Context, d *device, s *session, away pauseReason, event, why, notify string) error {
	if err := m.place(ctx, d); err != nil {
		return err
	}
	m.mu.Lock()
	before, resume := s.paused, d.resume
	if resume != nil && resume != s {
		m.soil(resume)
	}
	d.resume = nil
	m.setPaused(d, s, away)
	m.postPause(d, s, because(why, "paused: "+away.sentence()))
	records := m.pending(d, nil)
	m.mu.Unlock()
	err := m.save(ctx, records)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written(d, err)
	switch {
	case err == nil:
		m.hub.emit(d.id, event, switched{message{cmp.Or(notify, "the session is paused: "+away.sentence()), s.id}, Paused})
	case before == 0: // it was not connected, and is not
		d.resume = resume
		s.running = resume == s
		m.unpause(d)
	default:
		m.setPaused(d, s, before)
	}
	return err
}

// takePaused finds out which session of a device that was just loaded is
// paused: the table's word goes before the disk's, and a grant that runs before
// both. m.mu and the turn are held.
func (m *Manager) takePaused(d *device) {
	var paused *session
	id, reason, known := m.markedPaused(d)
	for _, s := range d.sessions {
		if d.connected || paused != nil {
			break
		}
		if known && s.id == id {
			paused = s
		} else if !known && s.paused != 0 {
			paused, reason = s, s.paused
		}
	}
	if id != 0 && paused == nil && !d.connected { // deleted as control ended
		paused = d.best(m.clock.read().Wall, func(*session) bool { return false })
	}
	for _, s := range d.sessions {
		if s.paused == 0 || s == paused {
			continue
		}
		s.paused = 0
		m.soil(s)
		if !granted(d, s) && !s.available(m.clock.read().Wall) { // told, and not written
			m.post(s, LineEnd, m.tellEnd(s, false))
		}
	}
	if paused == nil {
		d.paused = nil
		delete(m.paused, d.id)
		return
	}
	m.setPaused(d, paused, reason)
}

// learnPaused reads which devices have a session that is paused.
func (m *Manager) learnPaused(ctx context.Context) error {
	rs, err := m.scanAll(ctx, []byte(pausedKeys))
	if err != nil {
		return err
	}
	const at = len(pausedKeys)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rs {
		if len(r.Key) != at+16 {
			m.log.Error("paused session left out", "key", fmt.Sprintf("%q", r.Key))
			continue
		}
		device, _ := numberOf(r.Key[at : at+8])
		session, _ := numberOf(r.Key[at+8:])
		d := m.byID[device]
		if _, _, known := m.markedPaused(d); !known && (d == nil || !d.loaded) {
			m.paused[device] = session
		}
	}
	return nil
}

// isPaused says whether a device has a session that is paused, as far as is
// known without the store.
func (m *Manager) isPaused(device int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused[device] != 0
}

// showPaused completes copies of devices whose sessions are not in memory with
// the one that is paused.
func (m *Manager) showPaused(ctx context.Context, page []Device) error {
	for i := range page {
		m.mu.Lock()
		id, d := m.paused[page[i].ID], m.byID[page[i].ID]
		m.mu.Unlock()
		if id == 0 || page[i].Session != nil {
			continue
		}
		var err error
		if d != nil {
			page[i], err = m.known(ctx, d)
		} else {
			err = m.showStored(ctx, &page[i], id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// showStored completes the copy of a device that is not in memory with its
// paused session.
func (m *Manager) showStored(ctx context.Context, v *Device, session int64) error {
	s, err := m.readStored(ctx, session)
	if err != nil || s == nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	shown := m.viewSession(s)
	if v.Connected = shown.State == Paused; v.Connected {
		v.Session = &shown
	}
	return nil
}

// countPaused returns how many sessions are paused of devices that are not in
// memory. m.mu is held.
func (m *Manager) countPaused() (n int) {
	for _, session := range m.paused {
		if m.sessions[session] == nil {
			n++
		}
	}
	return n
}
