package sessions

import (
	"context"
	"slices"
	"time"

	"gatewayd/store/client"
)

// keepBooks writes what has changed in memory, and checkpoints, until ctx
// ends.
func (m *Manager) keepBooks(ctx context.Context) {
	every := m.settings().Checkpoint
	checkpoint := time.NewTicker(every)
	defer checkpoint.Stop()
	retry := time.NewTicker(retryTime)
	defer retry.Stop()
	var stamped, asked time.Duration
	for {
		due := false
		select {
		case <-ctx.Done():
			return
		case <-m.ink:
		case <-retry.C:
		case <-m.tuned:
			if now := m.settings().Checkpoint; now != every {
				every = now
				checkpoint.Reset(every)
			}
		case <-checkpoint.C:
			due = true
		}
		failed := m.keep(ctx, due, &stamped, &asked)
		if failed {
			select { // the disk is not asked more often than this
			case <-ctx.Done():
			case <-time.After(retryTime):
			}
		}
	}
}

// keep is one turn of keepBooks: it opens the books, writes what has changed and, when
// it is due, the checkpoint. It reports whether writing failed.
func (m *Manager) keep(ctx context.Context, due bool, stamped, asked *time.Duration) (failed bool) {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if now := m.opt.Boot(); now-*asked >= askTime {
		*asked = now
		m.askHealth(ctx)
	}
	if !m.books.opened.Load() {
		long, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if m.open(long) != nil {
			return false
		}
		m.Wake()
		nudge(m.ask)
	}
	if m.flush(ctx) != nil {
		return true
	}
	if due {
		force := m.opt.Boot()-*stamped >= idleStamp
		if wrote, err := m.checkpoint(ctx, force); wrote && err == nil {
			*stamped = m.opt.Boot()
		}
		m.refill(ctx)
		m.forget()
	}
	return false
}

// flushSize is how many devices are written at once; their turns are held
// meanwhile.
const flushSize = 64

// flush writes the devices and sessions that are ahead of the disk, and what
// is owed.
func (m *Manager) flush(ctx context.Context) error {
	for {
		var held []*device
		var records []client.Record
		m.mu.Lock()
		for d := range m.dirty {
			if len(held) == flushSize {
				break
			}
			if !d.turn.try() {
				continue // who has the turn marks it again
			}
			held = append(held, d)
			records = append(records, m.pending(d, nil)...)
		}
		m.mu.Unlock()

		ctx, cancel := context.WithTimeout(ctx, flushTime)
		err := m.save(ctx, records)
		cancel()
		m.mu.Lock()
		for _, d := range held {
			m.written(d, err)
			d.turn.done()
		}
		m.mu.Unlock()
		if err != nil {
			m.log.Debug("write sessions", "error", err)
			return err
		}
		if len(held) < flushSize {
			if len(held) > 0 {
				m.Wake()
			}
			return nil
		}
	}
}

// pending returns the records of a device that are ahead of the disk, with
// instead in the place of the session of the same id, and takes them for
// written; written says how it went. They count what running sessions have
// used, as lines of their ledgers may. m.mu and the turn are held.
func (m *Manager) pending(d *device, instead *session) []client.Record {
	var rs []client.Record
	if d.dirty || instead != nil && !d.onDisk {
		rs = append(rs, m.deviceRecords(d)...)
		d.dirty = false
	}
	seq, u := m.lastCheckpoint(), use{}
	for _, s := range d.sessions {
		switch {
		case instead != nil && s.id == instead.id:
			u, s.writing = m.used(d, s), true
		case s.dirty:
			rs = append(rs, s.records(m.used(d, s), seq)...)
			s.ledger.out = s.ledger.next
			s.dirty, s.writing = false, true
		}
	}
	if instead != nil {
		rs = append(rs, instead.records(u, seq)...)
		instead.ledger.out = instead.ledger.next
	}
	return rs
}

// written ends what pending began. m.mu and the turn are held.
func (m *Manager) written(d *device, err error) {
	for _, s := range d.sessions {
		if !s.writing {
			continue
		}
		s.writing = false
		if err != nil {
			s.dirty = true
		} else {
			s.unindexed, s.marked = false, s.paused != 0
			s.ledger.landed()
		}
	}
	if err != nil {
		d.dirty = d.dirty || d.onDisk
		m.dirty[d] = true
		return
	}
	m.raise(d)
	if !d.dirty && !d.dirtySessions() {
		delete(m.dirty, d)
	}
}

func (m *Manager) lastCheckpoint() uint64 {
	m.books.mu.Lock()
	defer m.books.mu.Unlock()
	return m.books.sequence
}

// checkpoint writes what all running sessions have used, as one packed
// record; with more than partSize of them as several. Two generations of keys
// take turns. Lines of ledgers that are due go with it. It writes nothing when
// nothing runs, unless forced to leave a stamp.
func (m *Manager) checkpoint(ctx context.Context, force bool) (wrote bool, err error) {
	m.checkpoints.Lock()
	defer m.checkpoints.Unlock()
	began := m.opt.Boot()
	var entries []entry
	lines := make(map[int64]client.Record)
	m.inParts(m.slots, func(d *device) {
		for i, g := range d.grants {
			s := g.session
			if u := m.used(d, s); u != s.settled && firstOf(d.grants[:i], s) {
				entries = append(entries, entry{s.id, u})
				if len(lines) < maxUseLines && s.ledger.isDue(began) && !s.dirty && !s.writing && m.goesOn(d, g, began) {
					lines[s.id] = m.useLine(s, u, began)
				}
			}
		}
	})
	if len(entries) == 0 && !force {
		return false, nil
	}
	b := &m.books
	seq, running := m.lastCheckpoint()+1, len(entries)
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for part := 0; part == 0 || len(entries) > 0; part++ {
		n := min(len(entries), partSize)
		key := []byte{checkpointKeys[0], checkpointKeys[1], byte(seq % 2), byte(part)}
		batch := []client.Record{{Key: key, Value: packCheckpoint(seq, entries[:n])}}
		for _, e := range entries[:n] {
			if x, ok := lines[e.session]; ok {
				batch = append(batch, x)
			}
		}
		if err = m.save(ctx, batch); err != nil {
			break
		}
		m.wroteLines(batch[1:])
		entries = entries[n:]
	}
	took := m.opt.Boot() - began
	m.log.Debug("checkpoint", "sessions", running, "took", took, "error", err)
	m.opt.Checkpointed(took, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late = err
	b.sequence = seq // also of one in doubt
	return true, err
}

// firstOf reports that no grant before is of the same session.
func firstOf(before []grant, s *session) bool {
	for _, g := range before {
		if g.session == s {
			return false
		}
	}
	return true
}

// refill reserves ids ahead, so that newcomers do not wait for the disk.
func (m *Manager) refill(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	b := &m.books
	if b.idsTurn.take(ctx) != nil {
		return
	}
	defer b.idsTurn.done()
	for kind := deviceIDs; kind <= sessionIDs; kind++ {
		if b.ids[kind].end-b.ids[kind].next < smallBlock/4 {
			if err := m.reserve(ctx, kind); err != nil {
				return
			}
		}
	}
	_ = m.reserveEvents(ctx) // it is tried again
}

const (
	idle     = time.Minute // how long a device without a slot stays in memory unasked
	mostIdle = 8192        // such devices, before they stay for hardlyIdle only

	hardlyIdle = 5 * time.Second
)

// forget drops devices that nobody needs from memory.
func (m *Manager) forget() {
	now := m.opt.Boot()
	m.mu.Lock()
	defer m.mu.Unlock()
	stays := idle
	if len(m.byMAC) > len(m.slots)+mostIdle {
		stays = hardlyIdle
	}
	for _, d := range m.byMAC {
		if d.slot != 0 || now-d.touched < stays || !d.turn.try() {
			continue
		}
		if !d.dirty && !m.dirty[d] && !d.dirtySessions() {
			m.drop(d)
		}
		d.turn.done()
	}
}

// drop takes a device out of memory. m.mu and the turn are held.
func (m *Manager) drop(d *device) {
	d.gone = true
	delete(m.byMAC, d.mac)
	if d.id != 0 {
		delete(m.byID, d.id)
	}
	for _, s := range d.sessions {
		delete(m.sessions, s.id)
		if s.origin != nil && !s.open(s.settled) {
			delete(m.desk.errands, s.id)
		}
	}
	delete(m.dirty, d)
}

// lastWrite has everything on disk when the manager ends: sessions that
// changed, a checkpoint, and the ids that were not used.
func (m *Manager) lastWrite() error {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	if !m.books.opened.Load() {
		return nil // nothing was changed
	}
	m.mu.Lock()
	bound := slices.Clone(m.slots)
	m.mu.Unlock()
	for _, d := range bound {
		if d != nil && d.turn.take(ctx) == nil { // a call that is under way ends first
			m.mu.Lock()
			m.follow(d)
			m.mu.Unlock()
			d.turn.done()
		}
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	if _, err := m.checkpoint(ctx, true); err != nil {
		return err
	}
	b := &m.books
	if err := b.idsTurn.take(ctx); err != nil {
		return unavailable("give ids back", err)
	}
	defer b.idsTurn.done()
	m.hub.close() // its last id is known then
	if newest := int64(m.hub.newest()); newest != 0 {
		b.ids[eventIDs].next = newest + 1
	}
	for kind := range b.ids {
		b.ids[kind].end = b.ids[kind].next
	}
	return m.save(ctx, []client.Record{write(idsKey, b.ends())})
}
