package sessions

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewayd/store/client"
)

// Filter chooses sessions: those that are all of what it says.
type Filter struct {
	DeviceID      int64     // 0: of all devices
	State         State     // empty: in any state
	Type          *Type     // nil: of any type
	Provider      string    // empty: of any provider
	CreatedAfter  time.Time // then or later; zero: whenever, likewise the others
	CreatedBefore time.Time // earlier
	ExpiresAfter  time.Time // then or later; those without an expiry are left out, also by the next
	ExpiresBefore time.Time // earlier
}

// keeps reports whether a session is chosen.
func (f *Filter) keeps(v Session) bool {
	within := func(at *time.Time, after, before time.Time) bool {
		if after.IsZero() && before.IsZero() {
			return true
		}
		return at != nil && (after.IsZero() || !at.Before(after)) && (before.IsZero() || at.Before(before))
	}
	return (f.DeviceID == 0 || f.DeviceID == v.DeviceID) && (f.State == "" || f.State == v.State) &&
		(f.Type == nil || *f.Type == v.Type) && (f.Provider == "" || f.Provider == v.Provider) &&
		within(&v.CreatedAt, f.CreatedAfter, f.CreatedBefore) && within(v.ExpiresAt, f.ExpiresAfter, f.ExpiresBefore)
}

// viewSession copies a session in memory. m.mu is held.
func (m *Manager) viewSession(s *session) Session {
	m.straighten(s)
	d := m.byID[s.device]
	v := s.view(m.used(d, s), d.runs(s), m.clock.read().Wall)
	v.Throttled = m.isSlow(d, s)
	return v
}

// Session returns a session. It waits 0.7 s for the store at most.
// ErrUnknownSession, ErrUnavailable, ErrStopped.
func (m *Manager) Session(ctx context.Context, id int64) (Session, error) {
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return Session{}, fmt.Errorf("session %d: %w", id, err)
	}
	defer cancel()
	m.mu.Lock()
	if s := m.sessions[id]; s != nil {
		defer m.mu.Unlock()
		return m.viewSession(s), nil
	}
	m.mu.Unlock()
	if err := m.open(ctx); err != nil { // a checkpoint may be ahead of the record
		return Session{}, fmt.Errorf("session %d: %w", id, err)
	}
	s, err := m.readStored(ctx, id)
	if err != nil {
		return Session{}, fmt.Errorf("session %d: %w", id, err)
	}
	if s == nil {
		return Session{}, fmt.Errorf("session %d: %w", id, ErrUnknownSession)
	}
	m.mu.Lock()
	d := m.byID[s.device]
	ahead := d != nil && d.slot != 0 && !d.loaded // the table is ahead of the record
	m.mu.Unlock()
	if ahead {
		if d, err = m.holdID(ctx, s.device); err != nil {
			return Session{}, fmt.Errorf("session %d: %w", id, err)
		}
		defer m.finish(d)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.sessions[id]; now != nil {
		s = now
	}
	return m.viewSession(s), nil
}

// Sessions returns a page of sessions, those of a device together and in
// order of their ids, and the cursor of the next page; empty: there is none.
// cursor is that of the page before, empty for the first; limit is 1 to 1000,
// below that 100, above it 1000. A page may be shorter than limit, even empty, and
// yet have a next one. Up to 100 sessions of one device, and up to limit, are as
// they were at one moment. It waits 0.7 s for the store at most; without it, it
// returns ErrUnavailable and yet a page: of the sessions in memory, in which some
// may be missing. Those of one device that is in memory are all there, without an
// error. ErrBadCursor, ErrStopped.
func (m *Manager) Sessions(ctx context.Context, f Filter, cursor string, limit int) ([]Session, string, error) {
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("sessions: %w", err)
	}
	defer cancel()
	limit = pageSize(limit)
	prefix := []byte(sessionKeys)
	if f.DeviceID != 0 {
		prefix = append(prefix, number(f.DeviceID)...)
	}
	after, err := readCursor(cursor, 16)
	if err != nil {
		return nil, "", err
	}
	if after != nil {
		after = append([]byte(sessionKeys), after...)
	}
	page := make([]Session, 0, limit)
	if err := m.open(ctx); err != nil {
		return m.loadedSessions(f, after, limit, err)
	}
	for range maxScans {
		rs, more, err := m.scan(ctx, prefix, after, max(limit, defaultPage))
		if errors.Is(err, ErrUnavailable) {
			return m.loadedSessions(f, after, limit, err)
		}
		if err != nil {
			return nil, "", fmt.Errorf("sessions: %w", err)
		}
		for i, v := range m.overlay(rs) {
			after = rs[i].Key
			if v.ID != 0 && f.keeps(v) {
				page = append(page, v)
			}
			if len(page) == limit {
				if more || i+1 < len(rs) {
					return page, hex.EncodeToString(after[len(sessionKeys):]), nil
				}
				return page, "", nil
			}
		}
		if !more || len(rs) == 0 {
			return page, "", nil
		}
	}
	return page, hex.EncodeToString(after[len(sessionKeys):]), nil
}

// overlay copies the sessions of records, or those in memory in their place, as
// they are at one moment. One that cannot be read has id 0.
func (m *Manager) overlay(rs []client.Record) []Session {
	all := make([]*session, len(rs))
	for i, r := range rs {
		var err error
		if all[i], err = readSession(r); err != nil {
			m.log.Error("session left out", "error", err)
		}
	}
	views := make([]Session, len(rs))
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, s := range all {
		if s == nil {
			continue
		}
		if now := m.sessions[s.id]; now != nil {
			s = now
		}
		views[i] = m.viewSession(s)
	}
	return views
}

// loadedSessions returns a page of the sessions in memory, for want of the
// store, and why it is not there unless they are all that were asked for.
func (m *Manager) loadedSessions(f Filter, after []byte, limit int, why error) ([]Session, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := fmt.Errorf("sessions: %w; those in memory only", why)
	if !errors.Is(why, ErrUnavailable) {
		err = fmt.Errorf("sessions: %w: %w; those in memory only", ErrUnavailable, why)
	}
	if d := m.byID[f.DeviceID]; d != nil && d.loaded {
		err = nil
	}
	all := []Session{}
	for _, s := range m.sessions {
		if string(sessionKey(s.device, s.id)) <= string(after) {
			continue
		}
		if v := m.viewSession(s); f.keeps(v) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b Session) int { return cmp.Or(cmp.Compare(a.DeviceID, b.DeviceID), cmp.Compare(a.ID, b.ID)) })
	if len(all) <= limit {
		return all, "", err
	}
	last := all[limit-1]
	return all[:limit], hex.EncodeToString(sessionKey(last.DeviceID, last.ID)[len(sessionKeys):]), err
}

// Current returns the running or paused session of a device; nil, with no error,
// when there is none. It waits 0.7 s for the store at most. ErrNoDevice,
// ErrUnavailable, ErrStopped.
func (m *Manager) Current(ctx context.Context, deviceID int64) (*Session, error) {
	d, err := m.Device(ctx, fmt.Sprint(deviceID))
	if err != nil {
		return nil, err
	}
	return d.Session, nil
}

// Counts returns how many sessions of the devices in memory are in each
// state; of those that are paused, of all devices. Each device is counted as of
// one moment, with many of them not all as of the same one. It does not wait. The
// map is the caller's.
func (m *Manager) Counts() map[State]int {
	counts := map[State]int{Available: 0, Running: 0, Paused: 0, Consumed: 0, Expired: 0}
	m.eachPaused(func(_, session int64) {
		if m.sessions[session] == nil { // else it is counted below
			counts[Paused]++
		}
	})
	m.mu.Lock()
	loaded := make([]*device, 0, len(m.byID))
	for _, d := range m.byID {
		if d.loaded {
			loaded = append(loaded, d)
		}
	}
	m.mu.Unlock()
	now := m.clock.read().Wall
	m.inParts(loaded, func(d *device) {
		for _, s := range d.sessions {
			if m.sessions[s.id] == s { // the device may have been dropped
				m.straighten(s)
				counts[s.state(m.used(d, s), d.runs(s), now)]++
			}
		}
	})
	return counts
}
