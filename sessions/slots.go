package sessions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gatewayd/forwarder/clients"
)

// leaving is a slot whose client was taken out; it is free for another one
// when the forwarder has taken that in.
type leaving struct {
	slot int
	gen  uint64
}

const (
	newcomers   = 200              // unknown MACs taken in a second, and as many of those on disk
	freeTarget  = 64               // slots kept free, but no more than a sixteenth of them
	maxLeaving  = 64               // slots emptied at once
	forRegulars = 8                // free slots that strangers leave, but no more than a 32nd of all
	fullTime    = 10 * time.Second // how long a full table is spoken of
)

// setFree adds a slot to its worker's free ones. m.mu is held.
func (m *Manager) setFree(slot int) {
	of := m.table.Owner(slot)
	m.free[of] = append(m.free[of], slot)
}

// room is how many more clients can be bound now. m.mu is held.
func (m *Manager) room() int { return m.table.Clients() - m.bound - len(m.leaving) }

// ownerOf is the worker whose slots a device gets.
func (m *Manager) ownerOf(mac uint64) int {
	spread := m.table.Spread()
	return spread.Of(mac)
}

// reap moves slots that the forwarder has let go to the free ones. m.mu is
// held.
func (m *Manager) reap() {
	m.leaving = slices.DeleteFunc(m.leaving, func(l leaving) bool {
		if !m.acked(l.slot, l.gen) {
			return false
		}
		m.setFree(l.slot)
		return true
	})
}

// keepSlotsFree empties the slots of clients without a grant that were not
// seen longest, so that newcomers find one.
func (m *Manager) keepSlotsFree() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reap()
	want := min(max((m.table.Clients()+1)/16, 1), freeTarget) - m.room() - len(m.leaving)
	if want <= 0 {
		return
	}
	m.vacate(want, anyWorker)
}

const anyWorker = -1

// vacate empties up to n slots, of one worker or of any. m.mu is held.
func (m *Manager) vacate(n, of int) {
	type candidate struct {
		d    *device
		seen time.Duration
	}
	var all []candidate
	for _, d := range m.slots {
		if d != nil && (of == anyWorker || of == m.table.Owner(d.slot)) && !d.connected && len(d.grants) == 0 && !d.unread && d.resume == nil && !(d.paused != nil && d.paused.paused.byWAN()) {
			seen := max(time.Duration(m.table.Slot(d.slot).LastSeen.Load()), d.boundAt)
			all = append(all, candidate{d, seen})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return int(min(max(a.seen-b.seen, -1), 1)) })
	for _, c := range all {
		if n == 0 || len(m.leaving) >= maxLeaving {
			return
		}
		if !c.d.turn.try() {
			continue
		}
		if !c.d.dirtySessions() && !c.d.writing() {
			m.unbind(c.d)
			if !c.d.onDisk {
				m.drop(c.d)
			}
			n--
		}
		c.d.turn.done()
	}
}

func (d *device) writing() bool {
	return slices.ContainsFunc(d.sessions, func(s *session) bool { return s.writing })
}

// unbind takes a device out of its slot: first the slot is free for the
// forwarder, and once that is acknowledged it may have another client. m.mu
// and the turn are held; nothing of the device is granted.
func (m *Manager) unbind(d *device) {
	m.seen(d)
	slot := m.table.Slot(d.slot)
	slot.State.Store(clients.SlotFree)
	slot.Paused.Store(0)
	m.leaving = append(m.leaving, leaving{d.slot, m.table.Changed(d.slot)})
	m.opt.RingForwarder()
	m.slots[d.slot] = nil
	m.bound--
	if d.ip != 0 {
		delete(m.byIP, d.ip)
		d.lastIP, d.ip = d.ip, 0
	}
	d.slot, d.settled, d.revokedAt, d.sighted, d.woken = 0, 0, 0, false, false
}

// bind gives a device a free slot, with address ip unless it is 0; ErrTableFull
// when there is none. It takes effect at once; the generation to wait for is
// returned. m.mu is held, and ip is nobody's.
func (m *Manager) bind(d *device, ip uint32) (gen uint64, err error) {
	m.reap()
	of := m.ownerOf(d.mac)
	switch {
	case m.room() == 0:
		m.vacate(1, anyWorker)
		m.reap()
	case len(m.free[of]) == 0:
		m.vacate(1, of)
		m.reap()
	}
	if m.room() == 0 || len(m.free[of]) == 0 {
		if len(m.leaving) == 0 { // else one is free in a moment
			m.full = max(m.opt.Boot(), 1)
		}
		return 0, fmt.Errorf("device %s: %w", macText(d.mac), ErrTableFull)
	}
	free := m.free[of]
	i := free[len(free)-1]
	m.free[of] = free[:len(free)-1]
	slot := m.table.Slot(i)
	slot.MAC.Store(d.mac)
	slot.IP.Store(uint64(ip))
	slot.Device.Store(d.id)
	slot.Saved.Store(slot.Published.Load())
	slot.Generation.Add(1)
	slot.State.Store(clients.SlotBound)
	d.slot, d.settled, d.boundAt = i, slot.Saved.Load(), m.opt.Boot()
	d.revokedAt = 0
	m.markPaused(d)
	m.slots[i] = d
	m.bound++
	if d.ip = ip; ip != 0 {
		m.byIP[ip] = d
	}
	return m.changed(d), nil
}

// rebind gives a bound device another address, which is nobody's; 0: none.
// m.mu is held.
func (m *Manager) rebind(d *device, ip uint32) (gen uint64) {
	if d.ip != 0 {
		delete(m.byIP, d.ip)
		d.lastIP = d.ip
	}
	if d.ip = ip; ip != 0 {
		m.byIP[ip] = d
	}
	m.table.Slot(d.slot).IP.Store(uint64(ip))
	return m.changed(d)
}

// place gives a device a slot if it has none, with its last address if that
// is nobody's. The turn is held, m.mu is not.
func (m *Manager) place(ctx context.Context, d *device) error {
	for {
		m.mu.Lock()
		if d.slot != 0 {
			m.mu.Unlock()
			return nil
		}
		gen, err := m.bind(d, m.lastFree(d))
		slot, coming := d.slot, len(m.leaving) > 0
		m.mu.Unlock()
		if err == nil {
			return m.wait(slot, gen)
		}
		if !coming {
			return err
		}
		select { // a slot is being emptied
		case <-ctx.Done():
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

// lastFree returns the last address of a device, 0 if it has none or that is
// another's now. m.mu is held.
func (m *Manager) lastFree(d *device) uint32 {
	ip := d.lastIP
	if ip != 0 && (!m.isClientIP(ip) || m.byIP[ip] != nil || m.contests[ip]) {
		return 0
	}
	return ip
}

// seen brings a device's last sighting up to what its slot says. m.mu is held.
func (m *Manager) seen(d *device) {
	if d.slot == 0 {
		return
	}
	if at := time.Duration(m.table.Slot(d.slot).LastSeen.Load()); at > d.boundAt {
		if w := m.clock.wall(at); w.After(d.lastSeen) {
			d.lastSeen = w
		}
	}
}

// sighted takes in what the forwarder saw.
func (m *Manager) sighted(ctx context.Context, s clients.Sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Kind == clients.UnknownMAC {
		m.meetUnknown(ctx, s)
		return
	}
	if s.Slot <= clients.HostSlot || s.Slot >= len(m.slots) {
		return
	}
	d := m.slots[s.Slot]
	if d == nil || d.mac != s.MAC {
		return // the slot has another client by now
	}
	switch s.Kind {
	case clients.NewAddress:
		m.moved(ctx, d, s.IP)
	case clients.NoGrant:
		d.woken = true
		if !d.sighted || d.resume != nil {
			d.sighted = true
			m.wonder(d)
		}
	}
}

// meetUnknown takes a MAC in that has no slot. m.mu is held.
func (m *Manager) meetUnknown(ctx context.Context, s clients.Sighting) {
	if !isClientMAC(s.MAC) || m.moving[s.MAC] || s.IP != 0 && !m.isClientIP(s.IP) {
		return
	}
	d := m.byMAC[s.MAC]
	if d != nil && d.slot != 0 { // seen again before the forwarder knew
		m.moved(ctx, d, s.IP)
		return
	}
	now := m.opt.Boot()
	if !m.admits(s.MAC, now) {
		return
	}
	made := d == nil
	if made {
		wall := m.clock.wall(now)
		d = &device{turn: newTurn(), mac: s.MAC, firstSeen: wall, lastSeen: wall, touched: now}
	}
	ip := s.IP
	if m.byIP[ip] != nil || m.contests[ip] {
		ip = 0
	}
	if _, err := m.bind(d, ip); err != nil {
		m.log.Debug("client not taken in", "error", err)
		return
	}
	m.byMAC[d.mac] = d
	d.sighted, d.woken = true, true
	d.lastSeen = m.clock.wall(now)
	m.wonder(d)
	if s.IP != ip {
		m.moved(ctx, d, s.IP)
	}
}

// admits says whether an unknown MAC may be taken in now. A flood of made-up
// ones leaves room for those that are on disk. m.mu is held.
func (m *Manager) admits(mac uint64, now time.Duration) bool {
	if second := now / time.Second; m.newcomer.second != second {
		m.newcomer.second, m.newcomer.count = second, [2]int{}
	}
	kind := 0
	if m.regulars.has(mac) {
		kind = 1
	}
	if m.newcomer.count[kind] >= newcomers {
		return false
	}
	m.newcomer.count[kind]++
	if kind == 0 && m.room() <= min(forRegulars, (m.table.Clients()+1)/32) {
		if len(m.leaving) == 0 {
			m.vacate(1, anyWorker)
		}
		if len(m.leaving) == 0 {
			m.full = max(now, 1)
		}
		return false
	}
	return true
}
