package sessions

import (
	"context"
	"errors"
)

// address is a device's address: the one that is bound to it, or else its last
// one, unless another device is bound to that by now; 0: none. m.mu is held.
func (m *Manager) address(d *device) uint32 {
	if d.ip != 0 {
		return d.ip
	}
	return m.unlessTaken(d.lastIP)
}

// unlessTaken is the last address of a device that has none, or 0 when another
// one has it. m.mu is held.
func (m *Manager) unlessTaken(last uint32) uint32 {
	if m.byIP[last] != nil {
		return 0
	}
	return last
}

// findIP returns the device that has an address, or had it last.
func (m *Manager) findIP(ctx context.Context, ip uint32) (*device, error) {
	m.mu.Lock()
	d := m.byIP[ip]
	m.mu.Unlock()
	if d != nil {
		return d, nil
	}
	d, err := m.stored(ctx, ip)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d == nil || m.address(d) != ip {
		return nil, ErrNoDevice
	}
	return d, nil
}

// stored returns the device that the disk's index has at an address; nil when
// there is none.
func (m *Manager) stored(ctx context.Context, ip uint32) (*device, error) {
	b, ok, err := m.get(ctx, addressKey(ip))
	if err != nil || !ok {
		return nil, err
	}
	id, err := numberOf(b)
	if err != nil {
		return nil, err
	}
	d, err := m.findID(ctx, id)
	if errors.Is(err, ErrNoDevice) {
		return nil, nil
	}
	return d, err
}

// unclaimed says whether a device has an address that another one may have on
// disk. m.mu is held.
func (m *Manager) unclaimed(d *device) bool {
	ip := m.address(d)
	return ip != 0 && ip != d.ownIP
}

// inherit takes a device's address from the one that has it on disk, if that
// is another, so that its record may say so. The turn is held.
func (m *Manager) inherit(ctx context.Context, d *device) error {
	m.mu.Lock()
	ip, due := m.address(d), m.unclaimed(d)
	m.mu.Unlock()
	if !due {
		return nil
	}
	before, err := m.stored(ctx, ip)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.address(d) != ip {
		return nil // it has moved on, and is looked at again
	}
	if before != nil && before != d {
		m.lose(before, ip)
	}
	d.ownIP = ip
	m.writeAddress(d)
	return nil
}

// lose takes the last address from a device: another one has it. m.mu is held.
func (m *Manager) lose(d *device, ip uint32) {
	if d.ownIP == ip {
		d.ownIP = 0
	}
	if d.ip == ip || d.lastIP != ip {
		return
	}
	d.lastIP = 0
	if d.ip == 0 {
		m.tellMoved(d)
	}
}

// writeAddress has the address of a device on disk written, as soon as it is
// known to be no other's there. m.mu is held.
func (m *Manager) writeAddress(d *device) {
	switch {
	case !d.onDisk:
	case m.unclaimed(d):
		m.wonder(d)
	default:
		d.dirty = true
		m.dirty[d] = true
		nudge(m.ink)
	}
}
