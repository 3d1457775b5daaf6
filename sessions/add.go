package sessions

import (
	"cmp"
	"context"
	"fmt"
)

// AddDevice makes a device known and binds it ahead of its first packet. It
// is on disk when AddDevice returns nil. The same MAC again is the same
// device; another ip follows the binding rule (who holds it is asked by ARP for
// 1 s), an empty one leaves it, and so does an empty hostname. created says that
// the MAC was new. It returns within 5 s. ErrBadDevice, ErrConflict, ErrTableFull,
// ErrUnavailable, ErrStopped: all is as before. ErrForwarder: the packet path did
// not take it in within 2 s; it is done all the same if the error says "it is
// saved", and AddDevice may be called again.
func (m *Manager) AddDevice(ctx context.Context, mac, ip, hostname string) (v Device, created bool, err error) {
	hw, err := parseMAC(mac)
	if err != nil {
		return v, false, fmt.Errorf("add device: %w", err)
	}
	addr, err := m.parseIP(ip)
	if err != nil {
		return v, false, fmt.Errorf("add device %s: %w", mac, err)
	}
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return v, false, fmt.Errorf("add device %s: %w", mac, err)
	}
	defer cancel()
	var made *device
	d, err := m.hold(ctx, func() (*device, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		d := m.byMAC[hw]
		if m.moving[hw] {
			return nil, ErrConflict
		}
		if d == nil {
			now := m.opt.Boot()
			wall := m.clock.wall(now)
			d = &device{turn: newTurn(), mac: hw, firstSeen: wall, lastSeen: wall, touched: now, asked: true}
			m.byMAC[hw] = d
			made = d
		}
		return d, nil
	})
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case made == nil:
		case made.slot == 0 && !made.gone && made.turn.try(): // no packet of it has come
			m.drop(made)
			made.turn.done()
		default:
			m.tellCreated(made)
		}
		return v, false, fmt.Errorf("add device %s: %w", mac, err)
	}
	defer m.finish(d)

	m.mu.Lock()
	before := m.viewDevice(d)
	defer m.tellDevice(d, before)
	created = !d.onDisk
	asIs := d.onDisk && !d.dirty && (addr == 0 || addr == d.ip) && (hostname == "" || hostname == d.hostname)
	m.mu.Unlock()
	if err = m.place(ctx, d); err == nil && !asIs {
		err = m.assign(ctx, &assignment{d: d, ip: addr, hostname: cmp.Or(hostname, before.Hostname)})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if made != nil && !d.onDisk {
			m.discard(d)
		}
		return v, false, fmt.Errorf("add device %s: %w", mac, err)
	}
	return m.viewDevice(d), created, nil
}

// tellDevice emits that a device is new, or another than before, also if it
// became so on the way to an error. m.mu is not held.
func (m *Manager) tellDevice(d *device, before Device) {
	m.mu.Lock()
	defer m.mu.Unlock()
	isNew := d.untold
	m.tellCreated(d)
	if v := m.viewDevice(d); !isNew && (v.MAC != before.MAC || v.IP != before.IP || v.Hostname != before.Hostname) {
		m.hub.emit(d.id, ClientChanged, v)
	}
}

// discard takes a device out of its slot and out of memory, if nothing of it
// is granted. m.mu and the turn are held.
func (m *Manager) discard(d *device) {
	if d.slot != 0 {
		m.unbind(d)
	}
	m.drop(d)
}

// updateDevice changes a device in place; its sessions and a running one stay
// with it. An empty mac or ip leaves it. A MAC of a device that was only seen
// is taken from that one: a client that came back under a new MAC.
func (m *Manager) updateDevice(ctx context.Context, id int64, mac, ip, hostname string) (Device, error) {
	fail := func(err error) (Device, error) {
		return Device{}, fmt.Errorf("change device %d: %w", id, err)
	}
	hw, addr, err := uint64(0), uint32(0), error(nil)
	if mac != "" {
		if hw, err = parseMAC(mac); err != nil {
			return fail(err)
		}
	}
	if addr, err = m.parseIP(ip); err != nil {
		return fail(err)
	}
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return fail(err)
	}
	defer cancel()
	d, err := m.holdID(ctx, id)
	if err != nil {
		return fail(err)
	}
	defer m.finish(d)
	m.mu.Lock()
	before := m.viewDevice(d)
	m.mu.Unlock()
	defer m.tellDevice(d, before)
	if err := m.assign(ctx, &assignment{d: d, mac: hw, ip: addr, hostname: hostname}); err != nil {
		return fail(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.viewDevice(d), nil
}

// onlySeen holds the device with a MAC if it was only seen; nil when there is
// none; ErrConflict when it is one in its own right. It enters mac into
// m.moving, so that no other device is made of it.
func (m *Manager) onlySeen(ctx context.Context, mac uint64) (*device, error) {
	_, stored, err := m.get(ctx, macKey(mac))
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	other, taken := m.byMAC[mac], m.moving[mac]
	if !stored && !taken {
		m.moving[mac] = true
	}
	m.mu.Unlock()
	conflict := fmt.Errorf("MAC %s: %w", macText(mac), ErrConflict)
	switch {
	case stored || taken:
		return nil, conflict
	case other == nil:
		return nil, nil
	}
	if err := other.turn.take(ctx); err != nil { // it may be looked up right now
		m.settleMAC(mac)
		return nil, unavailable("wait for the other device", err)
	}
	m.mu.Lock()
	own, gone := other.onDisk || len(other.sessions) > 0 || len(other.grants) > 0, other.gone
	m.mu.Unlock()
	switch {
	case gone:
		other.turn.done()
		return nil, nil
	case own:
		other.turn.done()
		m.settleMAC(mac)
		return nil, conflict
	}
	return other, nil
}

// settleMAC ends what onlySeen began.
func (m *Manager) settleMAC(mac uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.moving, mac)
}
