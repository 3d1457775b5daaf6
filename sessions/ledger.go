package sessions

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"gatewayd/store/client"
)

// LineKind says what a line of a session's ledger is about.
type LineKind string

// The kinds of lines. Start, resume and chain begin a stretch in which the
// session is used, and throttle one or the slow part of one; pause and end close it.
const (
	LineCreate   LineKind = "create"
	LineStart    LineKind = "start"  // connected for the first time
	LineResume   LineKind = "resume" // connected again
	LineChain    LineKind = "chain"  // took over by itself from the session before
	LinePause    LineKind = "pause"
	LineTopUp    LineKind = "top-up"   // more time or data
	LineChange   LineKind = "change"   // anything else that was set
	LineThrottle LineKind = "throttle" // used up, and goes on at its throttle
	LineUse      LineKind = "use"      // what was used meanwhile
	LineEnd      LineKind = "end"
	LineDelete   LineKind = "delete"
	LineNow      LineKind = "now" // how it stands at this moment; the last of a listing, never on disk
)

// LineChanged is one field that was set: its name in Session, and its values
// as text.
type LineChanged struct {
	Field string `json:"field"` // as in Session's JSON
	Old   string `json:"old"`   // what it was
	New   string `json:"new"`   // what it is
}

// line is a line of a ledger. Its counters are the session's as of that
// moment, so that a stretch is the difference of two lines and a line that is
// missing loses nothing. Durations are whole milliseconds.
type line struct {
	number   uint32
	kind     LineKind
	at       time.Time // wall
	unsure   time.Time // at is by a clock that was not trusted since then; zero: it is right
	why      string
	changed  []LineChanged
	use      use
	timeEdit time.Duration // consumption that was edited, on top of what was used
	dataEdit int64         // bytes, likewise
	hasTime  bool
	hasData  bool
	timeLeft time.Duration // if hasTime
	dataLeft int64         // bytes, if hasData
}

// ledger is what memory knows of a session's ledger. Lines reach the disk in
// one batch with the session's record, which says how many there are; only
// consumption lines go with the checkpoint instead, and only while memory and
// record agree. So what follows the record's lines on disk is consumption of
// an open ledger, or in doubt and none.
type ledger struct {
	next   uint32        // number of the next line
	open   bool          // begun to be used and not closed yet
	closed int64         // grants that started until then, wall ns, have their end in it
	slowed int64         // grants at its throttle that started until then, wall ns, have their line
	newest time.Duration // since boot; of the newest line
	waits  []line        // not on disk, or not known to be
	out    uint32        // lines below were handed to the write that is under way
	doubt  uint32        // lines from next up to this may be on disk and never were
	final  *line         // the deletion, while grants are left to count
	then   []pausing     // what let go of it after its grants were revoked and before they are settled
}

// move moves up to where a ledger tells of grants, because the clock was set by so much.
func (l *ledger) move(by time.Duration) {
	for _, until := range []*int64{&l.closed, &l.slowed} {
		if *until != 0 {
			*until += int64(by)
		}
	}
}

// pausing is a pause that is not in a line yet: when, since boot, and why.
type pausing struct {
	at  time.Duration
	why string
}

const (
	maxWhy     = 160 // bytes of a reason that are kept
	maxWaiting = 32  // lines of a session that wait for the store; before more, the oldest gives its counts to the next
)

// post appends a line to the ledger of a session in memory: it happened now,
// and what the session has used so far is counted to it. The line goes to disk
// with the session's record; who cannot wait for that saves what pending
// returns. Whoever begins, pauses or ends the use of a session by another way
// than connect, revoke and the forwarder calls it with LineResume, LinePause
// or LineEnd and the reason in words; LinePause with postPause. A grant that was
// revoked closes the ledger by itself once it is settled, with the reason in
// grant.why. m.mu and the device's turn are held.
func (m *Manager) post(s *session, kind LineKind, why string) {
	m.postAt(s, m.opt.Boot(), kind, why)
}

// postAt is post for what happened at a moment since boot.
func (m *Manager) postAt(s *session, at time.Duration, kind LineKind, why string) {
	s.ledger.add(m.line(s, m.used(m.byID[s.device], s), at, kind, why), at)
	m.soil(s)
}

// postPause says that a session of a device is paused, after what closes its
// ledger if a grant is not settled: what that one used is one stretch. m.mu and the
// turn are held.
func (m *Manager) postPause(d *device, s *session, why string) {
	if !granted(d, s) {
		m.post(s, LinePause, why)
		return
	}
	s.ledger.then = append(s.ledger.then, pausing{m.opt.Boot(), why})
}

// line makes a line of a session as it is, or is to be, given what it used.
// m.mu is held.
func (m *Manager) line(s *session, u use, at time.Duration, kind LineKind, why string) line {
	wall, unsure := m.clock.started(at)
	x := line{kind: kind, at: wall.Truncate(time.Millisecond), unsure: unsure, why: shortened(why)}
	x.count(s, u)
	return x
}

// count sets a line's counters, given what the session used.
func (x *line) count(s *session, u use) {
	const ms = time.Millisecond
	t, b := s.consumed(u)
	x.use = use{u.up, u.down, u.time.Truncate(ms)}
	x.timeEdit, x.dataEdit = t.Truncate(ms)-x.use.time, b-int64(min(sum(u.up, u.down), 1<<63-1))
	x.hasTime, x.hasData = s.kind.hasTime(), s.kind.hasData()
	x.timeLeft, x.dataLeft = s.left(u)
	x.timeLeft = x.timeLeft.Truncate(ms)
}

// shortened makes a reason of any text.
func shortened(why string) string {
	why = strings.ToValidUTF8(why, "\uFFFD")
	if len(why) <= maxWhy {
		return why
	}
	n := maxWhy
	for !utf8.RuneStart(why[n]) {
		n--
	}
	return why[:n] + "…"
}

// because joins a reason and the words that somebody gave with it.
func because(why, words string) string {
	if words == "" {
		return why
	}
	return why + ": " + words
}

// add numbers a line and appends it. at is its moment, since boot.
func (l *ledger) add(x line, at time.Duration) {
	x.number = l.next
	l.next++
	l.newest = at
	switch x.kind {
	case LineStart, LineResume, LineChain, LineThrottle:
		l.open = true
	case LinePause, LineEnd, LineDelete:
		l.open = false
	}
	waits := l.waits
	if len(waits) >= maxWaiting {
		waits = waits[1:]
	}
	l.waits = append(waits[:len(waits):len(waits)], x) // a copy of the session may hold the same
}

// records returns the lines that wait, and takes away what may stand in the
// place of the next ones.
func (l *ledger) records(id int64) []client.Record {
	rs := make([]client.Record, 0, len(l.waits)+1)
	for _, x := range l.waits {
		rs = append(rs, x.record(id))
	}
	for n := l.next; n < l.doubt; n++ {
		rs = append(rs, remove(lineKey(id, n)))
	}
	return rs
}

// landed says that all that was handed out is on disk.
func (l *ledger) landed() {
	l.wrote(l.out)
	l.doubt = 0
}

// wrote forgets the lines below a number: they are on disk.
func (l *ledger) wrote(below uint32) {
	for len(l.waits) > 0 && l.waits[0].number < below {
		l.waits = l.waits[1:]
	}
	if len(l.waits) == 0 {
		l.waits = nil
	}
}

// failed says that lines up to a number were handed to a write that failed.
func (l *ledger) failed(upTo uint32) { l.doubt = max(l.doubt, upTo) }

// tail reads what a ledger that is open on disk holds beyond the record, and
// returns its newest line; nil when there is none.
func (m *Manager) tail(ctx context.Context, s *session) (newest *line, err error) {
	after := []byte(nil)
	if s.ledger.next > 1 {
		after = lineKey(s.id, s.ledger.next-2)
	}
	for more := true; more; {
		var rs []client.Record
		if rs, more, err = m.scan(ctx, ledgerKey(s.id), after, 0); err != nil {
			return nil, fmt.Errorf("ledger of session %d: %w", s.id, err)
		}
		for _, r := range rs {
			after = r.Key
			x, err := readLine(r)
			if err != nil {
				m.log.Error("line of a ledger left out", "error", err)
				continue
			}
			newest = &x
			s.ledger.next = max(s.ledger.next, x.number+1)
		}
		more = more && len(rs) > 0
	}
	return newest, nil
}

// interrupted closes the ledger of a session that ran when the gateway went
// down. It ran until then since its newest line, so what it used since says
// when that was. m.mu is held.
func (m *Manager) interrupted(s *session, newest *line) {
	x := m.line(s, s.settled, m.opt.Boot(), LinePause, "the gateway restarted")
	if newest != nil {
		x.at, x.unsure = newest.at.Add(max(x.use.time-newest.use.time, 0)), newest.unsure
	}
	s.ledger.add(x, m.opt.Boot())
	m.soil(s)
}
