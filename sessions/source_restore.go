package sessions

import (
	"context"
	"fmt"
)

// What a backup says of a source may be older than what the source was told. A
// session's record says which restore was the newest when it was written; one that
// was written before the newest is a backup's. What it owes then is marked, on disk
// with whatever the record is written for next, until a visit has settled it.

// recallRestore reads which restore of a backup was the newest.
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
	m.mu.Lock()
	defer m.mu.Unlock()
	m.desk.restore = uint64(n)
	return nil
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
