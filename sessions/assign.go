package sessions

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"gatewayd/store/client"
)

// assignment is what AddDevice and Update give a device: all of it, or nothing.
type assignment struct {
	d        *device
	mac      uint64 // 0: its own stays
	ip       uint32 // 0: its own stays
	hostname string

	moving    bool    // mac is in m.moving
	seen      *device // had mac, and was only seen; its turn is held
	contested uint32  // ip, in m.contests
	holder    *device // is bound to ip, and silent
	before    *device // has ip on disk
}

// assign makes an assignment: first what others might refuse is reserved, then it goes
// to disk at once, and only then into memory and to the forwarder. After an error
// that is not errMade nothing is other than before. The turn is held, m.mu is not.
func (m *Manager) assign(ctx context.Context, a *assignment) error {
	defer m.release(a)
	if err := m.reserveMAC(ctx, a); err != nil {
		return err
	}
	if err := m.reserveIP(ctx, a); err != nil {
		return err
	}
	m.mu.Lock()
	records, undo := m.assigned(a)
	m.mu.Unlock()
	if err := m.save(ctx, records); err != nil {
		m.owe(undo...)
		return err
	}
	if err := m.enforce(ctx, a); err != nil {
		return fmt.Errorf("%w: %w", errMade, err)
	}
	return nil
}

// reserveMAC finds out whether the device may have the MAC. From one that was only
// seen with it, it takes the address, too, unless another is asked for.
func (m *Manager) reserveMAC(ctx context.Context, a *assignment) error {
	if a.mac == a.d.mac {
		a.mac = 0
	}
	if a.mac == 0 {
		return nil
	}
	seen, err := m.onlySeen(ctx, a.mac)
	if err != nil {
		return err
	}
	a.seen, a.moving = seen, true
	m.mu.Lock()
	defer m.mu.Unlock()
	if seen != nil && a.ip == 0 {
		a.ip = seen.ip
	}
	return nil
}

// reserveIP finds out whether the device may have the address, and keeps others off it.
// It gives the device a slot unless it will have that of the one that was only seen.
func (m *Manager) reserveIP(ctx context.Context, a *assignment) error {
	m.mu.Lock()
	if a.ip == 0 || a.ip == a.d.ip {
		a.ip = 0
		m.mu.Unlock()
		return m.inherit(ctx, a.d)
	}
	if m.contests[a.ip] {
		m.mu.Unlock()
		return fmt.Errorf("address %s for %s: %w: another client asks for it right now", ipText(a.ip), macText(a.d.mac), ErrConflict)
	}
	m.contests[a.ip] = true
	a.contested = a.ip
	later := a.seen != nil && a.seen.slot != 0
	taken := m.byIP[a.ip] != nil && m.byIP[a.ip] != a.seen
	m.mu.Unlock()
	if !later {
		if err := m.place(ctx, a.d); err != nil {
			return err
		}
	}
	before, err := m.stored(ctx, a.ip)
	if err != nil {
		return err
	}
	if before != nil && before != a.d {
		a.before = before
	}
	if taken {
		a.holder, err = m.probe(ctx, a.d, a.ip)
	}
	return err
}

// assigned returns the records of what is assigned, and those of what is so far. m.mu is
// held.
func (m *Manager) assigned(a *assignment) (records, undo []client.Record) {
	d := a.d
	if d.onDisk {
		undo = m.deviceRecords(d)
	} else {
		undo = []client.Record{remove(deviceKey(d.id)), remove(macKey(d.mac))}
	}
	mac, ip, own, hostname := d.mac, d.ip, d.ownIP, d.hostname
	d.hostname = a.hostname
	if a.mac != 0 {
		d.mac = a.mac
		records, undo = append(records, remove(macKey(mac))), append(undo, remove(macKey(a.mac)))
	}
	if a.ip != 0 {
		d.ip, d.ownIP = a.ip, a.ip
	}
	records = append(records, m.deviceRecords(d)...)
	d.mac, d.ip, d.ownIP, d.hostname = mac, ip, own, hostname
	for _, l := range a.losers() {
		if !l.onDisk || l.ownIP != a.ip {
			continue
		}
		undo = append(undo, m.deviceRecords(l)...)
		l.ownIP = 0
		records = append(records, m.deviceRecords(l)...)
		l.ownIP = a.ip
	}
	index := addressKey(a.ip)
	if a.ip != 0 && !slices.ContainsFunc(undo, func(r client.Record) bool { return bytes.Equal(r.Key, index) }) {
		undo = append(undo, remove(index))
	}
	return records, undo
}

// losers are the devices whose address is assigned to another.
func (a *assignment) losers() []*device {
	var all []*device
	for _, l := range []*device{a.holder, a.before} {
		if l != nil && !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	return all
}

// enforce has memory and the forwarder follow the disk. Memory follows also when the
// forwarder does not answer.
func (m *Manager) enforce(ctx context.Context, a *assignment) error {
	d := a.d
	m.mu.Lock()
	d.onDisk, d.dirty, d.hostname = true, false, a.hostname
	m.mu.Unlock()
	if a.holder != nil {
		m.evict(a.holder, a.ip)
	}
	failed := m.takeMAC(a)
	if a.ip == 0 {
		return cmp.Or(failed, m.told(d))
	}
	m.mu.Lock()
	for _, l := range a.losers() {
		m.lose(l, a.ip)
	}
	if d.ownIP = a.ip; d.slot == 0 {
		d.lastIP = a.ip
	}
	m.mu.Unlock()
	failed = cmp.Or(failed, m.place(ctx, d))
	m.mu.Lock()
	if d.slot != 0 && d.ip != a.ip {
		m.rebind(d, a.ip)
	}
	m.mu.Unlock()
	return cmp.Or(failed, m.told(d))
}

// told returns when the forwarder has taken in all that a device's slot says.
func (m *Manager) told(d *device) error {
	m.mu.Lock()
	slot := d.slot
	gen := m.table.Policy(slot)
	m.mu.Unlock()
	if slot == 0 {
		return nil
	}
	return m.wait(slot, gen)
}

// takeMAC gives the device its MAC, in the place of the one that was only seen with it.
func (m *Manager) takeMAC(a *assignment) error {
	if a.mac == 0 {
		return nil
	}
	var gone uint64
	var from int
	m.mu.Lock()
	if a.seen != nil {
		if from = a.seen.slot; from != 0 {
			m.unbind(a.seen)
			gone = m.table.Policy(from)
		}
		m.drop(a.seen)
	}
	m.mu.Unlock()
	var err error
	if from != 0 { // no two slots have one MAC
		err = m.wait(from, gone)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byMAC, a.d.mac)
	a.d.mac = a.mac
	m.byMAC[a.mac] = a.d
	if a.d.slot != 0 {
		m.table.Slot(a.d.slot).MAC.Store(a.mac)
		m.changed(a.d)
	}
	return err
}

// release ends what was reserved.
func (m *Manager) release(a *assignment) {
	m.mu.Lock()
	if a.contested != 0 {
		delete(m.contests, a.contested)
	}
	if a.moving {
		delete(m.moving, a.mac)
	}
	m.mu.Unlock()
	if a.seen != nil {
		m.finish(a.seen)
	}
}
