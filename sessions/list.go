package sessions

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
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

// Bounds of a page.
const (
	defaultPage = 100
	maxPage     = 1000
	maxScans    = 20 // of the store for one page
)

func pageSize(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

// viewDevice copies a device. m.mu is held.
func (m *Manager) viewDevice(d *device) Device {
	m.seen(d)
	v := Device{
		ID: d.id, MAC: macText(d.mac), IP: ipText(m.address(d)), Hostname: d.hostname,
		Connected: d.connected, FirstSeen: d.firstSeen, LastSeen: d.lastSeen,
	}
	held := d.paused
	if g := d.current(); g != nil && d.connected {
		held = g.session
	}
	if held != nil {
		s := m.viewSession(held)
		if v.Connected = v.Connected || s.State == Paused; v.Connected {
			v.Session = &s
		}
	} else if !d.loaded && m.paused[d.id] != 0 {
		v.Connected = true
	}
	return v
}

// viewSession copies a session in memory. m.mu is held.
func (m *Manager) viewSession(s *session) Session {
	m.straighten(s)
	d := m.byID[s.device]
	return s.view(m.used(d, s), d.runs(s), m.clock.read().Wall)
}

// Device returns the device that key names: an id, a MAC, or its address, which
// may be the last that it had, before a restart say, if no other device has it
// by now. It waits 0.7 s for the store at most. ErrNoDevice, ErrUnavailable,
// ErrStopped.
func (m *Manager) Device(ctx context.Context, key string) (Device, error) {
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return Device{}, fmt.Errorf("device %q: %w", key, err)
	}
	defer cancel()
	d, err := m.find(ctx, key)
	if err != nil {
		return Device{}, err
	}
	return m.known(ctx, d)
}

// known copies a device whose identity is known, or becomes so.
func (m *Manager) known(ctx context.Context, d *device) (Device, error) {
	m.mu.Lock()
	if d.id != 0 && !d.gone && (d.loaded || m.paused[d.id] == 0) {
		defer m.mu.Unlock()
		d.touched = m.opt.Boot()
		return m.viewDevice(d), nil
	}
	mac := d.mac
	m.mu.Unlock()
	v, err := m.heldDevice(ctx, mac)
	if errors.Is(err, ErrUnavailable) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if d.id != 0 && !d.gone { // what is in memory is served
			return m.viewDevice(d), nil
		}
	}
	return v, err
}

// heldDevice copies a device after its sessions have been read.
func (m *Manager) heldDevice(ctx context.Context, mac uint64) (Device, error) {
	if err := m.open(ctx); err != nil {
		return Device{}, fmt.Errorf("device %s: %w", macText(mac), err)
	}
	d, err := m.hold(ctx, func() (*device, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if now := m.byMAC[mac]; now != nil {
			return now, nil
		}
		return nil, fmt.Errorf("device %s: %w", macText(mac), ErrNoDevice)
	})
	if err != nil {
		return Device{}, err
	}
	defer m.finish(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewDevice(d), nil
}

// reading prepares a call that changes nothing: it does not wait long for
// the store.
func (m *Manager) reading(ctx context.Context) (context.Context, context.CancelFunc, error) {
	return m.enter(ctx, readTime)
}

// DeviceAt returns the device that the packet path has at an address;
// ErrNoBinding when there is none. It waits 0.7 s for the store at most:
// ErrUnavailable. ErrStopped. With an error it returns a device that is nobody's,
// id 0, never nil: programs ignore errors.
func (m *Manager) DeviceAt(ctx context.Context, ip netip.Addr) (ClientDevice, error) {
	nobody := &clientDevice{m: m}
	if ip = ip.Unmap(); ip.IsValid() {
		nobody.last.IP = ip.String()
	}
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return nobody, fmt.Errorf("client at %v: %w", ip, err)
	}
	defer cancel()
	var d *device
	if ip.Is4() {
		m.mu.Lock()
		d = m.byIP[packIP(ip)]
		m.mu.Unlock()
	}
	if d == nil {
		return nobody, fmt.Errorf("client at %v: %w", ip, ErrNoBinding)
	}
	v, err := m.known(ctx, d)
	if err != nil {
		return nobody, fmt.Errorf("client at %v: %w", ip, err)
	}
	return &clientDevice{m: m, last: v}, nil
}

// Devices returns a page of devices in order of their ids, and the cursor of
// the next page; empty: there is none. cursor is that of the page before, empty
// for the first; limit is 1 to 1000, below that 100, above it 1000. It waits 0.7 s
// for the store at most; without it, it returns ErrUnavailable and yet a page: of
// the devices in memory, in which some may be missing. ErrBadCursor, ErrStopped.
func (m *Manager) Devices(ctx context.Context, cursor string, limit int) ([]Device, string, error) {
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("devices: %w", err)
	}
	defer cancel()
	limit = pageSize(limit)
	after, err := readCursor(cursor, 8)
	if err != nil {
		return nil, "", err
	}
	from := int64(0)
	if after != nil {
		from, _ = numberOf(after)
	}
	// Limit and one more of each: the page is then full, or there is no next.
	rs, more, err := m.scan(ctx, []byte(deviceKeys), deviceKey(from), limit+1)
	away := errors.Is(err, ErrUnavailable)
	if err != nil && !away {
		return nil, "", fmt.Errorf("devices: %w", err)
	}
	stored := make([]deviceRecord, 0, len(rs))
	for _, r := range rs {
		v, _, err := readDevice(r.Value)
		if err != nil {
			m.log.Error("device left out", "error", err)
			continue
		}
		stored = append(stored, v)
	}
	last := int64(1<<63 - 1) // what the scan has covered
	if more && len(stored) > 0 {
		last = stored[len(stored)-1].ID
	}

	page, next := m.pageOfDevices(stored, from, last, limit)
	if away {
		return page, next, fmt.Errorf("devices: %w; those in memory only", err)
	}
	if err := m.showPaused(ctx, page); errors.Is(err, ErrUnavailable) {
		return page, next, fmt.Errorf("devices: %w; some without the session that is paused", err)
	} else if err != nil {
		return nil, "", fmt.Errorf("devices: %w", err)
	}
	return page, next, nil
}

// pageOfDevices puts the devices in memory in the place of their records.
func (m *Manager) pageOfDevices(stored []deviceRecord, from, last int64, limit int) ([]Device, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	page := make([]Device, 0, len(stored))
	for _, v := range stored {
		if m.byID[v.ID] == nil {
			ip := ipText(m.unlessTaken(v.address()))
			page = append(page, Device{ID: v.ID, MAC: v.MAC, IP: ip, Hostname: v.Hostname, FirstSeen: v.FirstSeen, LastSeen: v.LastSeen})
		}
	}
	for id, d := range m.byID {
		if id > from && id <= last {
			page = append(page, m.viewDevice(d))
		}
	}
	slices.SortFunc(page, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
	if len(page) > limit {
		page = page[:limit]
		return page, hex.EncodeToString(number(page[limit-1].ID))
	}
	return page, ""
}

// readCursor decodes a cursor of n bytes; nil when it is empty.
func readCursor(cursor string, n int) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(cursor)
	if err != nil || len(b) != n {
		return nil, fmt.Errorf("%w: %q: want the next of the page before", ErrBadCursor, cursor)
	}
	return b, nil
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
// state; of those that are paused, of all devices. It does not wait. The map is
// the caller's.
func (m *Manager) Counts() map[State]int {
	counts := map[State]int{Available: 0, Running: 0, Paused: 0, Consumed: 0, Expired: 0}
	m.mu.Lock()
	defer m.mu.Unlock()
	counts[Paused] = m.countPaused()
	now := m.clock.read().Wall
	for _, s := range m.sessions {
		m.straighten(s)
		d := m.byID[s.device]
		counts[s.state(m.used(d, s), d.runs(s), now)]++
	}
	return counts
}
