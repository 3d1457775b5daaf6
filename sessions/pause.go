package sessions

import (
	"cmp"
	"context"
	"fmt"
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
