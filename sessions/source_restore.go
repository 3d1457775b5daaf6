package sessions

import (
	"context"
	"fmt"
	"hash/fnv"

	"gatewayd/store/client"
)

// What a backup says of a source may be older than what the source was told. A
// session's record says which restore was the newest when it was written; one that
// was written before the newest is a backup's. What it owes then is marked, on disk
// with whatever the record is written for next, until a visit has settled it.
//
// A store that made a damaged database anew may have gone back in time like that, too.
// Each damage is a restore, also one that lost nothing: the store's notice of it, which
// says when it was found, is told from those before by its number.

// damageNumber is the number of the restore that a notice of the store stands for.
func damageNumber(notice string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(notice))
	return h.Sum64()
}

// recallRestore reads which restore of a backup was the newest; the store's damage is
// one if it was found since.
func (m *Manager) recallRestore(ctx context.Context) error {
	b, ok, err := m.get(ctx, restoreKey)
	if err != nil {
		return err
	}
	n := int64(0)
	if ok {
		if n, err = numberOf(b); err != nil {
			return fmt.Errorf("read %q: %w", restoreKey, err)
		}
	}
	h, err := m.store.Health(ctx)
	if err != nil {
		return unavailable("ask the store for damage", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.desk.restore = uint64(n)
	m.damaged(h.Notice)
	return nil
}

// damaged takes a damage of the store that is not known yet for a restore, before
// anything else is written, and reports that it is one. m.mu is held.
func (m *Manager) damaged(notice string) bool {
	n := damageNumber(notice)
	if notice == "" || n == m.desk.restore {
		return false
	}
	m.desk.restore = n
	m.owe(client.Record{Key: restoreKey, Value: number(int64(n))})
	return true
}

// mindDamage has what is in memory written again after a damage that the store found
// while this process ran: the disk may have less. Some of it was perhaps read from that
// disk already, so what sources are owed is marked, too.
func (m *Manager) mindDamage(notice string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.books.opened.Load() || !m.damaged(notice) {
		return
	}
	m.log.Warn("the store was damaged and made anew: what is in memory is written again")
	for _, d := range m.byID {
		if !d.onDisk {
			continue
		}
		d.dirty, m.dirty[d] = true, true
		for _, s := range d.sessions {
			s.unindexed = true
			m.date(s)
			m.soil(s)
		}
	}
}

// date marks what a session that was just read owes its source if it is a backup's.
// m.mu is held.
func (m *Manager) date(s *session) {
	o := s.origin
	if o == nil || o.Restore == m.desk.restore {
		return
	}
	o.Restore, o.Old = m.desk.restore, &debt{Held: consumptionOf(s), Owed: s.owed(s.settled)}
	if l := o.Letter; l != nil {
		l.Old = true
		o.Old = &debt{Held: l.Base, Owed: o.Old.Owed.less(l.Delta)}
	}
	if o.Old.Owed == (tally{}) {
		o.Old = nil
	}
	if o.Letter != nil || o.Old != nil {
		m.soil(s)
	}
}

// disown settles what a backup owed once its source is found to hold something else
// than then: it may have been delivered since, and is taken for delivered, in the
// customer's favour.
func (s *session) disown(data SessionData, u use) {
	o := s.origin
	if o.Old != nil && consumption(data) != o.Old.Held {
		o.Sent = o.Sent.plus(o.Old.Owed.atMost(s.owed(u)))
		o.Old = nil
	}
}
