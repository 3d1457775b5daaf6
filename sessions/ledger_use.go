package sessions

import (
	"time"

	"gatewayd/store/client"
)

const (
	useTime     = 10 * time.Minute // between a session's consumption lines
	maxUseLines = 256              // that go with one checkpoint; the others wait for the next
)

// isDue says whether what is used has to be told: for useTime nothing was.
func (l *ledger) isDue(now time.Duration) bool {
	return l.open && now-l.newest >= useTime
}

// goesOn reports that a grant has started and not come to its end, whether or
// not the forwarder has said so yet. m.mu is held.
func (m *Manager) goesOn(d *device, g grant, now time.Duration) bool {
	r := m.table.Slot(d.slot).Record(g.seq)
	u := r.Use(g.seq)
	end, _ := r.Deadline(u.Started)
	return u.Started != 0 && u.Ended == 0 && !g.revoked && now < end
}

// useLine appends a consumption line, or brings the one up to date that waits
// since an earlier checkpoint failed. Memory and record of the session agree,
// so that the line may go to disk without the record. m.mu is held.
func (m *Manager) useLine(s *session, u use, now time.Duration) client.Record {
	x := m.line(s, u, now, LineUse, "")
	if l := &s.ledger; len(l.waits) > 0 {
		x.number = l.waits[len(l.waits)-1].number
		l.waits = []line{x}
		return x.record(s.id)
	}
	s.ledger.add(x, s.ledger.newest)
	x.number = s.ledger.next - 1
	return x.record(s.id)
}

// wroteLines says that lines are on disk.
func (m *Manager) wroteLines(lines []client.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range lines {
		id, n, err := lineOf(r.Key)
		if s := m.sessions[id]; s != nil && err == nil {
			s.ledger.wrote(n + 1)
			s.ledger.newest = m.opt.Boot()
		}
	}
}
