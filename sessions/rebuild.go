package sessions

import (
	"context"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/store/client"
)

// takeOver makes the devices that the table knows, without the store: who has
// which slot, which address, and who is connected.
func (m *Manager) takeOver() {
	now := m.opt.Boot()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := m.table.Slots() - 1; i > clients.HostSlot; i-- {
		slot := m.table.Slot(i)
		m.warm = m.warm || m.table.Policy(i) != 0
		mac := slot.MAC.Load()
		if slot.State.Load() != clients.SlotBound || !isClientMAC(mac) || m.byMAC[mac] != nil {
			if slot.State.Load() == clients.SlotBound {
				slot.State.Store(clients.SlotFree)
			}
			if m.table.Policy(i) == 0 {
				m.setFree(i)
			} else {
				m.leaving = append(m.leaving, leaving{i, m.table.Changed(i)})
			}
			continue
		}
		d := &device{
			turn: newTurn(), mac: mac, id: slot.Device.Load(), slot: i, boundAt: now, touched: now,
			settled: slot.Saved.Load(), unread: slot.Published.Load() > slot.Saved.Load(),
		}
		if ip := slot.IP.Load(); ip != 0 && ip <= 1<<32-1 && m.byIP[uint32(ip)] == nil {
			d.ip = uint32(ip)
			m.byIP[d.ip] = d
		} else if ip != 0 {
			slot.IP.Store(0)
		}
		d.sighted = slot.LastSeen.Load() != 0
		d.firstSeen = m.clock.wall(now)
		d.lastSeen = d.firstSeen
		for seq := d.settled + 1; seq <= slot.Published.Load(); seq++ {
			if g := slot.Record(seq); g.Sequence.Load() == seq && g.Revoked.Load() == 0 && seq > slot.Told.Load() {
				d.connected = true
			}
		}
		m.slots[i] = d
		m.bound++
		m.byMAC[mac] = d
		if d.id != 0 {
			m.byID[d.id] = d
			if s, _, _ := m.markedPaused(d); s != 0 {
				m.paused.put(d.id, s)
			}
		}
		m.lookups = append(m.lookups, d)
		m.table.Changed(i) // what was published last may not have been announced
	}
	m.opt.RingForwarder()
	nudge(m.ask)
}

// foldCheckpoint brings the records of all sessions in the checkpoints up to
// them, so that the next checkpoint may take their place. A counter only
// grows: the larger reading is the later one.
func (m *Manager) foldCheckpoint(ctx context.Context) error {
	rs, err := m.scanAll(ctx, []byte(checkpointKeys))
	if err != nil {
		return err
	}
	newest := make(map[int64]use)
	sequence := uint64(0)
	for _, r := range rs {
		seq, entries, err := unpackCheckpoint(r.Value)
		if err != nil {
			m.log.Error("checkpoint left out", "key", string(r.Key), "error", err)
			continue
		}
		sequence = max(sequence, seq)
		for _, e := range entries {
			newest[e.session] = newest[e.session].most(e.use)
		}
	}
	var behind []client.Record
	for id, u := range newest {
		s, err := m.readStored(ctx, id)
		if err != nil {
			return err
		}
		if s == nil {
			continue // deleted since
		}
		if later := s.settled.most(u); later != s.settled {
			behind = append(behind, s.records(later, sequence)...)
		}
	}
	if err := m.save(ctx, behind); err != nil {
		return err
	}
	m.books.mu.Lock()
	m.books.sequence = sequence
	m.books.mu.Unlock()
	return nil
}

// loadGranted loads the devices that have grants, and closes the books of
// those that ended meanwhile.
func (m *Manager) loadGranted(ctx context.Context) error {
	m.mu.Lock()
	var granted []*device
	for _, d := range m.slots {
		if d != nil && d.unread {
			granted = append(granted, d)
		}
	}
	m.mu.Unlock()
	for _, d := range granted {
		if err := d.turn.take(ctx); err != nil {
			return unavailable("load sessions", err)
		}
		err := m.identify(ctx, d)
		if err == nil {
			err = m.load(ctx, d)
		}
		d.turn.done()
		if err != nil {
			return err
		}
	}
	return nil
}

// load reads all sessions of a device and takes the grants of its slot over.
// The turn is held; the device is known.
func (m *Manager) load(ctx context.Context, d *device) error {
	if d.loaded {
		return nil
	}
	var all []*session
	if d.onDisk {
		rs, err := m.scanAll(ctx, append([]byte(sessionKeys), number(d.id)...))
		if err != nil {
			return err
		}
		for _, r := range rs {
			s, err := readSession(r)
			if err != nil {
				m.log.Error("session left out", "device", d.id, "error", err)
				continue
			}
			all = append(all, s)
		}
	}
	newest, err := m.openLedgers(ctx, all)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d.sessions, d.loaded = all, true
	for _, s := range all {
		m.sessions[s.id] = s
		m.straighten(s)
		m.date(s)
	}
	m.closeInterrupted(d, newest)
	_, _, known := m.markedPaused(d)
	adopted := m.adopt(d)
	m.takePaused(d)
	if adopted {
		m.goOnWith(d)
	} else {
		m.mindPause(d, nil)
	}
	for _, s := range d.sessions {
		if !s.running || d.connected {
			continue
		}
		if m.opt.ResumeOnRestart && !known && d.paused == nil {
			d.resume = s
		} else {
			s.running = false
			m.soil(s)
		}
	}
	m.markPaused(d)
	return nil
}

// adopt takes over the grants that the slot of a device holds, and reports
// whether there are any: each session goes on from the base of its first one.
// m.mu and the turn are held.
func (m *Manager) adopt(d *device) bool {
	if d.slot == 0 || !d.unread {
		return false
	}
	slot := m.table.Slot(d.slot)
	d.unread, d.connected = false, false
	based := make(map[*session]bool)
	for seq := d.settled + 1; seq <= slot.Published.Load(); seq++ {
		r := slot.Record(seq)
		if r.Sequence.Load() != seq {
			continue
		}
		s := m.sessions[int64(r.Session.Load())]
		if s == nil || s.device != d.id { // deleted as the process ended
			s = &session{id: int64(r.Session.Load()), device: d.id}
			r.Revoke(m.opt.Boot())
		} else if !based[s] {
			based[s] = true
			s.settled = use{r.BaseUp.Load(), r.BaseDown.Load(), time.Duration(r.BaseTime.Load())}
			s.running = false // as the grants say, below
		}
		g := grant{seq: seq, session: s, revoked: r.Revoked.Load() != 0, throttled: isThrottled(r)}
		if g.revoked && slot.Paused.Load() == uint64(s.id) {
			g.why = "paused"
			if why := knownReason(slot.PausedWhy.Load()); why != pauseAsked {
				g.why += ": " + why.sentence()
			}
		}
		d.grants = append(d.grants, g)
		d.connected = d.connected || !g.revoked && seq > slot.Told.Load()
	}
	d.review = true
	m.retune(d) // the process before may have been told of another speed as it ended
	m.changed(d)
	return true
}

// goOnWith follows the grants that were adopted. m.mu and the turn are held.
func (m *Manager) goOnWith(d *device) {
	m.soilAll(d)
	m.follow(d)
	if g := d.current(); g != nil && g.session.ledger.open && m.goesOn(d, *g, m.opt.Boot()) {
		m.post(g.session, LineUse, "the gateway's control restarted; clients went on meanwhile")
	}
}

// soilAll marks all sessions with grants as ahead of the disk.
func (m *Manager) soilAll(d *device) {
	for _, g := range d.grants {
		m.soil(g.session)
	}
}
