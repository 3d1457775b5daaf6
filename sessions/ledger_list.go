package sessions

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"
)

// LedgerLine is a line of a session's ledger.
type LedgerLine struct {
	Number  uint32        `json:"n"`       // from 0; some may be missing, none comes twice
	At      time.Time     `json:"at"`      // when it happened
	Kind    LineKind      `json:"kind"`    // what
	Why     string        `json:"why"`     // in words
	Changed []LineChanged `json:"changed"` // what a change or top-up set
	Used    Counted       `json:"used"`    // since the line before, counted by the gateway
	Total   Counted       `json:"total"`   // since the session was created, likewise

	// CorrectedMS and CorrectedBytes are consumption that was set by hand, on
	// top of the total: together they are what the session has consumed.
	CorrectedMS    int64   `json:"corrected_ms"`
	CorrectedBytes int64   `json:"corrected_bytes"`
	RemainingMS    *uint64 `json:"remaining_ms"`    // milliseconds left; null without a time limit
	RemainingBytes *uint64 `json:"remaining_bytes"` // layer-3 bytes left; null without a data limit
}

// Counted is what the gateway counted: milliseconds in which the session ran,
// and layer-3 bytes.
type Counted struct {
	TimeMS    uint64 `json:"time_ms"`    // milliseconds
	UpBytes   uint64 `json:"up_bytes"`   // from the client
	DownBytes uint64 `json:"down_bytes"` // towards it
}

func counted(u use) Counted { return Counted{uint64(u.time / time.Millisecond), u.up, u.down} }

// Ledger returns a page of the ledger of a session, oldest line first, and the
// cursor of the next page; empty: there is none. cursor is that of the page before,
// empty for the first; limit is 1 to 1000, below that 100. While the session is used,
// and whenever something is not in a line yet, the last is of kind LineNow. So
// the stretches add up to what Session says at that moment. The ledger of a
// deleted session is there until its time is over. It waits at most 0.7 s for
// the store. ErrUnknownSession, ErrBadCursor, ErrUnavailable, ErrStopped.
func (m *Manager) Ledger(ctx context.Context, id int64, cursor string, limit int) ([]LedgerLine, string, error) {
	fail := func(err error) ([]LedgerLine, string, error) {
		return nil, "", fmt.Errorf("ledger of session %d: %w", id, err)
	}
	before, err := readPlace(cursor)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return fail(err)
	}
	defer cancel()
	h, err := m.held(ctx, id)
	if err != nil {
		return fail(err)
	}
	limit = pageSize(limit)
	all, err := m.linesAfter(ctx, id, before, h, limit+1)
	rising(all, before.use)
	switch {
	case err != nil:
		return fail(err)
	case len(all) == 0 && h.now == nil && cursor == "":
		return fail(ErrUnknownSession)
	case len(all) <= limit:
		return m.tellLines(all, before), "", nil
	}
	all = all[:limit]
	return m.tellLines(all, before), placeOf(all[limit-1]).cursor(), nil
}

// held is what memory has of a ledger. What is on disk from the first line
// that waits on is not looked at.
type held struct {
	next  uint32
	open  bool
	waits []line
	now   *line // nil: there is no such session any more
}

func (m *Manager) held(ctx context.Context, id int64) (held, error) {
	m.mu.Lock()
	loaded := m.sessions[id] != nil
	m.mu.Unlock()
	if !loaded {
		if err := m.open(ctx); err != nil { // a checkpoint may be ahead of the record
			return held{}, err
		}
		d, _, err := m.holdSession(ctx, id)
		if errors.Is(err, ErrUnknownSession) {
			return held{next: math.MaxUint32}, nil
		}
		if err != nil {
			return held{}, err
		}
		defer m.finish(d)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[id]
	if s == nil {
		return held{next: math.MaxUint32}, nil
	}
	now := m.line(s, m.used(m.byID[s.device], s), m.opt.Boot(), LineNow, "")
	now.number = s.ledger.next
	return held{s.ledger.next, s.ledger.open, s.ledger.waits, &now}, nil
}

// linesAfter returns up to n lines that follow a place.
func (m *Manager) linesAfter(ctx context.Context, id int64, before place, h held, n int) ([]line, error) {
	var all []line
	end := h.next
	if len(h.waits) > 0 {
		end = h.waits[0].number
	}
	after := []byte(nil)
	if before.next > 0 {
		after = lineKey(id, before.next-1)
	}
	for more := before.next < end; more && len(all) < n; {
		rs, further, err := m.scan(ctx, ledgerKey(id), after, n-len(all))
		if err != nil {
			return nil, err
		}
		more = further && len(rs) > 0
		for _, r := range rs {
			after = r.Key
			x, err := readLine(r)
			if err != nil {
				m.log.Error("line of a ledger left out", "error", err)
				continue
			}
			if x.number >= end {
				more = false
				break
			}
			all = append(all, x)
		}
	}
	for _, x := range h.waits {
		if x.number >= before.next {
			all = append(all, x)
		}
	}
	last := before.use
	if len(all) > 0 {
		last = all[len(all)-1].use
	}
	if h.now != nil && len(all) < n && (h.open || h.now.use != last) {
		all = append(all, *h.now)
	}
	return all, nil
}

// rising has no line count less than those before it: what a change counted of a
// grant that began in that moment is not in the line of its beginning.
func rising(all []line, last use) {
	for i := range all {
		all[i].use = all[i].use.most(last)
		last = all[i].use
	}
}

// tellLines makes lines readable, as stretches that begin after a place.
func (m *Manager) tellLines(all []line, before place) []LedgerLine {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := before.use
	told := make([]LedgerLine, 0, len(all))
	for _, x := range all {
		v := LedgerLine{
			Number: x.number, At: m.straightened(x), Kind: x.kind, Why: x.why, Changed: x.changed,
			Used: counted(x.use.less(last)), Total: counted(x.use),
			CorrectedMS: int64(x.timeEdit / time.Millisecond), CorrectedBytes: x.dataEdit,
		}
		if v.Changed == nil {
			v.Changed = []LineChanged{}
		}
		if x.hasTime {
			ms := uint64(x.timeLeft / time.Millisecond)
			v.RemainingMS = &ms
		}
		if x.hasData {
			bytes := uint64(x.dataLeft)
			v.RemainingBytes = &bytes
		}
		told = append(told, v)
		last = x.use
	}
	return told
}

// less is what was counted since an earlier reading.
func (u use) less(v use) use {
	return use{u.up - min(u.up, v.up), u.down - min(u.down, v.down), max(u.time-v.time, 0)}
}

// place is where a page of a ledger begins: the next number, and what the line
// before had counted.
type place struct {
	next uint32
	use  use
}

func placeOf(x line) place { return place{x.number + 1, x.use} }

const placeSize = 4 + 3*8

func (p place) cursor() string {
	b := binary.BigEndian.AppendUint32(nil, p.next)
	for _, n := range []uint64{p.use.up, p.use.down, uint64(p.use.time)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return hex.EncodeToString(b)
}

func readPlace(cursor string) (p place, err error) {
	b, err := readCursor(cursor, placeSize)
	if b == nil {
		return place{}, err
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[4+8*i:]) }
	return place{binary.BigEndian.Uint32(b), use{at(0), at(1), time.Duration(min(at(2), math.MaxInt64))}}, nil
}
