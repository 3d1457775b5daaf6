package sessions

import (
	"context"
	"maps"
	"time"
)

// The expiry of a paused session runs on. Devices with a slot are followed by
// rounds; those without one, such as all that were paused when the gateway was
// started and have sent nothing since, may not even be in memory, and are looked
// at here: the end of each is read once and kept.
const (
	expiryEvery = time.Second
	expirySize  = 200 // read or ended in one look
)

// pausedEnd is when the session of a paused device expires that is not in
// memory; a zero time: never.
type pausedEnd struct {
	session int64
	at      time.Time // wall
	seen    bool      // by the look under way
}

// endPauses ends what expires while it is paused, until ctx ends.
func (m *Manager) endPauses(ctx context.Context) {
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	ends := make(map[int64]*pausedEnd) // by device
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := m.endDue(ctx, ends); err != nil {
			m.log.Debug("look at what is paused", "error", err)
		}
	}
}

// endDue is one look. After an error the next one goes on.
func (m *Manager) endDue(ctx context.Context, ends map[int64]*pausedEnd) error {
	ctx, cancel, err := m.enter(ctx, callTime)
	if err != nil {
		return err
	}
	defer cancel()
	if !m.books.opened.Load() {
		return nil
	}
	due, unread := m.pausedDue(ends)
	for device, session := range unread {
		s, err := m.readStored(ctx, session)
		if err != nil {
			return err
		}
		e := &pausedEnd{session: session}
		if s != nil {
			e.at = s.expiresAt()
		}
		ends[device] = e
	}
	for _, device := range due {
		d, err := m.holdID(ctx, device)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.follow(d)
		m.mu.Unlock()
		m.finish(d)
	}
	return nil
}

// pausedDue returns the devices without a slot whose paused session is over, and
// of those not in memory the sessions whose end is to be read, at most expirySize
// of each. It forgets the ends of what is in memory, where they can change, and
// of what is not paused any more.
func (m *Manager) pausedDue(ends map[int64]*pausedEnd) (due []int64, unread map[int64]int64) {
	now := m.clock.read().Wall
	unread = make(map[int64]int64)
	m.eachPaused(func(device, session int64) {
		var over bool
		if d, s := m.byID[device], m.sessions[session]; s != nil {
			over = d != nil && d.slot == 0 && !d.usable(s, now)
		} else if e, ok := ends[device]; ok && e.session == session {
			over = !e.at.IsZero() && !now.Before(e.at)
			e.seen = true
		} else if len(unread) < expirySize {
			unread[device] = session
		}
		if over && len(due) < expirySize {
			due = append(due, device)
		}
	})
	maps.DeleteFunc(ends, func(_ int64, e *pausedEnd) bool {
		gone := !e.seen
		e.seen = false
		return gone
	})
	return due, unread
}
