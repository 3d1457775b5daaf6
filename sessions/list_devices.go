package sessions

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// viewDevice copies a device. m.mu is held.
func (m *Manager) viewDevice(d *device) Device {
	m.seen(d)
	v := Device{
		ID: d.id, MAC: macText(d.mac), IP: ipText(m.address(d)), IPv6: m.addresses6(d), Hostname: d.hostname,
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
	} else if !d.loaded && m.paused.of(d.id) != 0 {
		v.Connected = true
	}
	return v
}

// addresses6 returns the IPv6 addresses that a bridge's client was heard from, the last
// first. m.mu is held.
func (m *Manager) addresses6(d *device) []string {
	if !m.opt.Bridge || d.slot == 0 {
		return nil
	}
	var all []string
	for _, h := range m.table.Addresses6(d.slot).Heard(uint32(m.table.Slot(d.slot).Generation.Load())) {
		all = append(all, h.Address.String())
	}
	return all
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
	if d.id != 0 && !d.gone && (d.loaded || m.paused.of(d.id) == 0) {
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
