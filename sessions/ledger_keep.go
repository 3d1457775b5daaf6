package sessions

import (
	"context"
	"time"

	"gatewayd/store/client"
)

const (
	ledgerKeep = 90 * 24 * time.Hour // Options.LedgerKeep when it is 0
	sweepTime  = 30 * time.Second    // between two parts of a walk
	sweepSize  = 1000                // lines of a part
	walkTime   = time.Hour           // between the beginnings of two walks
)

// walk goes through all ledgers for what is too old, part by part.
type walk struct {
	after []byte        // the part begins behind this key; nil: at the first
	began time.Duration // since boot
}

// keepLedgers removes lines that are older than Options.LedgerKeep, until ctx
// ends: of a session that is over all at once, counted from its end; of one
// that is not, consumption lines, whose counts the next line has. It reads
// sweepSize lines every sweepTime and writes only what it removes.
func (m *Manager) keepLedgers(ctx context.Context) {
	tick := time.NewTicker(sweepTime)
	defer tick.Stop()
	w := walk{began: m.opt.Boot()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if w.after == nil && m.opt.Boot()-w.began < walkTime {
			continue
		}
		if err := m.sweep(ctx, &w, sweepSize); err != nil {
			m.log.Debug("remove old lines of ledgers", "error", err)
		}
	}
}

// sweep does a part of a walk, of at most size lines. After an error it is done
// again. While the clock is not trusted nothing has an age.
func (m *Manager) sweep(ctx context.Context, w *walk, size int) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if _, trusted := m.clock.off(); !trusted || !m.books.opened.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if w.after == nil {
		w.began = m.opt.Boot()
	}
	part, more, err := m.scan(ctx, []byte(ledgerKeys), w.after, size)
	if err != nil {
		return err
	}
	var old []client.Record
	for rest := part; len(rest) > 0; {
		n := sameLedger(rest)
		removable, err := m.removable(ctx, rest[:n], more && n == len(rest))
		if err != nil {
			return err
		}
		old, rest = append(old, removable...), rest[n:]
	}
	if err := m.save(ctx, old); err != nil {
		return err
	}
	if w.after = nil; more && len(part) > 0 {
		w.after = part[len(part)-1].Key
	}
	return nil
}

// sameLedger returns how many of the first records are of one session.
func sameLedger(rs []client.Record) int {
	n := 1
	for n < len(rs) && string(rs[n].Key[:min(len(rs[n].Key), len(ledgerKeys)+8)]) == string(rs[0].Key[:min(len(rs[0].Key), len(ledgerKeys)+8)]) {
		n++
	}
	return n
}

// removable returns the removal of those lines of one ledger that are too old.
// cut says that there may be more of it.
func (m *Manager) removable(ctx context.Context, lines []client.Record, cut bool) (old []client.Record, err error) {
	edge := m.clock.read().Wall.Add(-m.settings().LedgerKeep)
	id, _, err := lineOf(lines[0].Key)
	if err != nil {
		return []client.Record{remove(lines[0].Key)}, nil // nobody can read it
	}
	if first, err := readLine(lines[0]); err == nil && !m.straight(first).Before(edge) {
		return nil, nil
	}
	over, ended, err := m.isOver(ctx, id)
	if err != nil {
		return nil, err
	}
	newest := lines[len(lines)-1]
	if cut {
		if newest, err = m.newestLine(ctx, id, newest); err != nil {
			return nil, err
		}
	}
	if x, err := readLine(newest); err == nil && m.straight(x).After(ended) {
		ended = m.straight(x)
	}
	for _, r := range lines {
		x, err := readLine(r)
		switch {
		case over && ended.Before(edge):
		case err == nil && x.kind == LineUse && m.straight(x).Before(edge) && string(r.Key) != string(newest.Key):
		default:
			continue
		}
		old = append(old, remove(r.Key))
	}
	return old, nil
}

// isOver reports whether a session is consumed, expired or deleted, and, of an
// expired one, since when.
func (m *Manager) isOver(ctx context.Context, id int64) (over bool, since time.Time, err error) {
	m.mu.Lock()
	s := m.sessions[id]
	loaded := s != nil
	if !loaded {
		m.mu.Unlock()
		if s, err = m.readStored(ctx, id); err != nil || s == nil {
			return s == nil, time.Time{}, err
		}
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	switch v := m.viewSession(s); {
	case loaded && (s.ledger.open || len(s.ledger.waits) > 0):
		return false, time.Time{}, nil
	case v.State == Expired:
		return true, *v.ExpiresAt, nil
	default:
		return v.State == Consumed, time.Time{}, nil
	}
}

// newestLine returns the last line of a ledger, at or behind one.
func (m *Manager) newestLine(ctx context.Context, id int64, at client.Record) (client.Record, error) {
	for more := true; more; {
		rs, further, err := m.scan(ctx, ledgerKey(id), at.Key, 0)
		if err != nil {
			return at, err
		}
		if more = further && len(rs) > 0; len(rs) > 0 {
			at = rs[len(rs)-1]
		}
	}
	return at, nil
}

// straight returns when a line was made, by a clock that has been set since if
// need be.
func (m *Manager) straight(x line) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.straightened(x)
}

// straightened is straight with m.mu held.
func (m *Manager) straightened(x line) time.Time {
	if x.unsure.IsZero() {
		return x.at
	}
	return x.at.Add(m.moves[x.unsure.UnixNano()])
}
