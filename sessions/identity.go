package sessions

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hold takes the turn of the device that find returns, with its identity and
// sessions loaded. The caller gives it back with finish.
func (m *Manager) hold(ctx context.Context, find func() (*device, error)) (*device, error) {
	for {
		d, err := find()
		if err != nil {
			return nil, err
		}
		if err := d.turn.take(ctx); err != nil {
			return nil, unavailable("wait for the device", err)
		}
		m.mu.Lock()
		gone := d.gone
		m.mu.Unlock()
		if gone {
			d.turn.done()
			continue
		}
		if err = m.identify(ctx, d); err == nil {
			err = m.load(ctx, d)
		}
		if err != nil {
			m.finish(d)
			return nil, err
		}
		return d, nil
	}
}

// holdID holds the device with an id.
func (m *Manager) holdID(ctx context.Context, id int64) (*device, error) {
	d, err := m.hold(ctx, func() (*device, error) { return m.findID(ctx, id) })
	if err == nil && d.id != id {
		m.finish(d)
		err = fmt.Errorf("device %d: %w", id, ErrNoDevice)
	}
	return d, err
}

func (m *Manager) findID(ctx context.Context, id int64) (*device, error) {
	m.mu.Lock()
	d := m.byID[id]
	m.mu.Unlock()
	if d != nil {
		return d, nil
	}
	if id <= 0 {
		return nil, fmt.Errorf("device %d: %w", id, ErrNoDevice)
	}
	b, ok, err := m.get(ctx, deviceKey(id))
	if err != nil {
		return nil, fmt.Errorf("device %d: %w", id, err)
	}
	if !ok {
		return nil, fmt.Errorf("device %d: %w", id, ErrNoDevice)
	}
	v, mac, err := readDevice(b)
	if err != nil {
		return nil, fmt.Errorf("device %d: %w", id, err)
	}
	return m.remember(v, mac), nil
}

func (m *Manager) findMAC(ctx context.Context, mac uint64) (*device, error) {
	m.mu.Lock()
	d := m.byMAC[mac]
	m.mu.Unlock()
	if d != nil {
		return d, nil
	}
	b, ok, err := m.get(ctx, macKey(mac))
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", macText(mac), err)
	}
	if ok {
		if id, err := numberOf(b); err == nil {
			return m.findID(ctx, id)
		}
	}
	return nil, fmt.Errorf("device %s: %w", macText(mac), ErrNoDevice)
}

// remember makes the device of a record, unless there is one with its MAC.
func (m *Manager) remember(v deviceRecord, mac uint64) *device {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.byMAC[mac]; d != nil {
		return d
	}
	d := &device{turn: newTurn(), mac: mac, touched: m.opt.Boot()}
	m.byMAC[mac] = d
	m.fill(d, v)
	return d
}

// fill gives a device what its record says. m.mu is held.
func (m *Manager) fill(d *device, v deviceRecord) {
	d.id, d.hostname, d.firstSeen, d.onDisk, d.known = v.ID, v.Hostname, v.FirstSeen, true, true
	if d.lastSeen.Before(v.LastSeen) {
		d.lastSeen = v.LastSeen
	}
	d.lastIP = v.address()
	d.ownIP = d.lastIP
	m.byID[d.id] = d
	if d.slot != 0 {
		m.table.Slot(d.slot).Device.Store(d.id)
	}
}

// identify finds out whether the disk knows a device's MAC, and gives it an
// id if not. The turn is held.
func (m *Manager) identify(ctx context.Context, d *device) error {
	m.mu.Lock()
	known, id, mac := d.known, d.id, d.mac
	m.mu.Unlock()
	if known {
		return nil
	}
	if id == 0 {
		b, ok, err := m.get(ctx, macKey(mac))
		if err != nil {
			return fmt.Errorf("device %s: %w", macText(mac), err)
		}
		if ok {
			id, _ = numberOf(b)
		}
	}
	if id != 0 {
		found, err := m.recall(ctx, d, id)
		if err != nil || found {
			return err
		}
	}
	id, err := m.newID(ctx, deviceIDs)
	if err != nil {
		return fmt.Errorf("device %s: %w", macText(mac), err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.christen(d, id)
	return nil
}

// recall fills a device from the record of an id; false when that is another
// device's.
func (m *Manager) recall(ctx context.Context, d *device, id int64) (bool, error) {
	b, ok, err := m.get(ctx, deviceKey(id))
	var v deviceRecord
	var mac uint64
	if err == nil && ok {
		v, mac, err = readDevice(b)
	}
	if err != nil {
		return false, fmt.Errorf("device %d: %w", id, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ok && mac == d.mac:
		m.fill(d, v)
	case !ok && d.id == id: // the table has it: seen, not stored
		d.known = true
	default:
		return false, nil
	}
	return true, nil
}

// christen gives a new device its id. m.mu is held.
func (m *Manager) christen(d *device, id int64) {
	d.id, d.known, d.loaded = id, true, true
	m.byID[id] = d
	if d.slot != 0 {
		m.table.Slot(d.slot).Device.Store(id)
	}
	if d.untold = true; !d.asked {
		m.tellCreated(d)
	}
}

// tellCreated emits that a device is new, once it is known, unless that was told.
// m.mu is held.
func (m *Manager) tellCreated(d *device) {
	if d.asked = false; d.untold && !d.gone {
		d.untold = false
		m.hub.emit(d.id, ClientCreated, m.viewDevice(d))
	}
}

// lookUp finds out who the devices are that have been seen, and admits again
// those that were connected before a restart, until ctx ends.
func (m *Manager) lookUp(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.ask:
		}
		for ctx.Err() == nil && m.books.opened.Load() {
			m.mu.Lock()
			if len(m.lookups) == 0 {
				m.lookups = nil
				m.mu.Unlock()
				break
			}
			d := m.lookups[0]
			mac := macText(d.mac)
			m.lookups[0], m.lookups = nil, m.lookups[1:]
			d.awaited = false
			m.mu.Unlock()
			if err := m.meet(ctx, d); err != nil && ctx.Err() == nil {
				m.log.Debug("look up device", "mac", mac, "error", err)
				m.mu.Lock()
				m.wonder(d)
				m.mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(retryTime):
				}
			}
		}
	}
}

// wonder has a device looked up, once. While the store is away, those that
// have lost their slot since are forgotten. m.mu is held.
func (m *Manager) wonder(d *device) {
	if d.awaited {
		return
	}
	if len(m.lookups) >= 2*len(m.slots) {
		m.lookups = slices.DeleteFunc(m.lookups, func(d *device) bool {
			d.awaited = !d.gone && d.slot != 0
			return !d.awaited
		})
	}
	d.awaited = true
	m.lookups = append(m.lookups, d)
	nudge(m.ask)
}

// meet identifies a device that was seen and admits it again if it was
// connected.
func (m *Manager) meet(ctx context.Context, d *device) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := d.turn.take(ctx); err != nil {
		return err
	}
	defer m.finish(d)
	m.mu.Lock()
	gone := d.gone
	m.mu.Unlock()
	if gone {
		return nil
	}
	if err := m.identify(ctx, d); err != nil {
		return err
	}
	if err := m.load(ctx, d); err != nil {
		return err
	}
	m.mu.Lock()
	onDisk := d.onDisk
	m.mu.Unlock()
	if onDisk {
		if err := m.inherit(ctx, d); err != nil {
			return err
		}
	}
	return m.readmit(ctx, d)
}

// find returns the device that key names: an id, a MAC or its address.
func (m *Manager) find(ctx context.Context, key string) (*device, error) {
	if id, err := strconv.ParseInt(key, 10, 64); err == nil {
		return m.findID(ctx, id)
	}
	if strings.Contains(key, ":") || strings.Contains(key, "-") {
		mac, err := parseMAC(key)
		if err != nil {
			return nil, err
		}
		return m.findMAC(ctx, mac)
	}
	a, err := netip.ParseAddr(key)
	if err != nil || !a.Is4() {
		return nil, fmt.Errorf("device %q: want an id, a MAC or an IPv4 address: %w", key, ErrNoDevice)
	}
	d, err := m.findIP(ctx, packIP(a))
	if err != nil {
		return nil, fmt.Errorf("device %v: %w", a, err)
	}
	return d, nil
}
