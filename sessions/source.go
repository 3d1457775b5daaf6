package sessions

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// origin is what a session that a provider keeps has beside a local one. In
// memory and on disk such a session is a shadow of its source: grants,
// checkpoints and restarts are as for any other. What counts against its
// limits is what the source holds as consumed and what was counted here and is
// not there yet: timeEdit and dataEdit of the session are the first less Sent.
// Manager.mu guards it; who changes it holds the device's turn.
type origin struct {
	Provider string  `json:"provider"`
	Key      string  `json:"key"`               // at the source
	Sent     tally   `json:"sent,omitzero"`     // of what was counted here, what the source has
	Told     bool    `json:"told,omitempty"`    // the source has the start
	Seq      uint64  `json:"seq,omitempty"`     // of the newest letter
	Letter   *letter `json:"letter,omitempty"`  // a Save that is to be made, or whose end is not known
	Restore  uint64  `json:"restore,omitempty"` // the newest restore when this was written; not that one: it is a backup's
	Old      *debt   `json:"old,omitempty"`     // of a backup; nil: there is none, or it is settled
	Unstart  bool    `json:"unstart,omitempty"` // a letter takes the start from the source: once that has none, the session has none

	by      *provider     // who offered it; nil: nobody since this process started
	read    time.Duration // since boot; what is known of the source is not older
	said    tally         // what the source held or was told last
	doubted bool          // it was said that the source holds less than it was told
}

// letter is the journal of a Save. It is on disk before the call is made.
type letter struct {
	Base     tally       `json:"base"`  // what the source held
	Delta    tally       `json:"delta"` // what was counted here since Sent
	Intended SessionData `json:"intended"`
	Seq      uint64      `json:"seq"`
	Edit     bool        `json:"edit,omitempty"` // with a change of the plan: its caller knows that it is in doubt
	Old      bool        `json:"old,omitempty"`  // a backup's: others may have followed it
}

// debt is what a backup owed beyond its letter, which may have been delivered since.
type debt struct {
	Held tally `json:"held"` // what the source held then, or was told by the letter
	Owed tally `json:"owed"`
}

// tally is consumption in a source's units, bytes for megabytes.
type tally struct {
	Secs  uint64 `json:"secs,omitempty"`
	Bytes uint64 `json:"bytes,omitempty"`
}

// atMost returns what both t and o have.
func (t tally) atMost(o tally) tally { return tally{min(t.Secs, o.Secs), min(t.Bytes, o.Bytes)} }

func (t tally) plus(o tally) tally { return tally{sum(t.Secs, o.Secs), sum(t.Bytes, o.Bytes)} }

// less returns t without o, never below zero.
func (t tally) less(o tally) tally {
	return tally{t.Secs - min(t.Secs, o.Secs), t.Bytes - min(t.Bytes, o.Bytes)}
}

// covers reports that t has at least what o has.
func (t tally) covers(o tally) bool { return t.Secs >= o.Secs && t.Bytes >= o.Bytes }

// consumption returns what data says was consumed.
func consumption(data SessionData) tally {
	return tally{uint64(data.TimeCons), uint64(megabytes(data.DataCons))}
}

// counted returns of what was used here what the source is to have: the
// halves that the type has, seconds floored.
func (s *session) counted(u use) (t tally) {
	if s.kind.hasTime() {
		t.Secs = uint64(max(u.time, 0) / time.Second)
	}
	if s.kind.hasData() {
		t.Bytes = sum(u.up, u.down)
	}
	return t
}

// owed returns what was counted and is not at the source, given what was used.
func (s *session) owed(u use) tally { return s.counted(u).less(s.origin.Sent) }

// open reports that the source is to hear of a session.
func (s *session) open(u use) bool {
	o := s.origin
	return o.Letter != nil || o.Unstart || s.running || !s.startedAt.IsZero() && !o.Told || s.owed(u) != tally{}
}

// checkData says why the session that a source holds cannot be used; the
// error wraps ErrBadPlan.
func checkData(data SessionData) error {
	plan := planIn(data)
	if err := plan.Check(); err != nil {
		return err
	}
	switch {
	case len(data.Provider) > maxName || !utf8.ValidString(data.Provider):
		return fmt.Errorf("%w: the provider's name is longer than %d bytes or no UTF-8", ErrBadPlan, maxName)
	case strings.ContainsFunc(data.Provider, unicode.IsControl):
		return fmt.Errorf("%w: the provider's name %q has control characters", ErrBadPlan, data.Provider)
	case data.Provider == Local:
		return fmt.Errorf("%w: provider %q is the gateway's own store", ErrBadPlan, Local)
	}
	if err := checkConsumption(data); err != nil {
		return err
	}
	if at := data.StartedAt; at != nil && !at.IsZero() {
		if err := checkStart(*at); err != nil {
			return err
		}
	}
	if y := data.CreatedAt.UTC().Year(); y < 1 || y > lastYear {
		return fmt.Errorf("%w: created_at %v: want a year up to %d", ErrBadPlan, data.CreatedAt, lastYear)
	}
	return nil
}

// checkConsumption says why the consumption in data cannot be; the error wraps
// ErrBadPlan.
func checkConsumption(data SessionData) error {
	switch {
	case uint64(data.TimeCons) > maxTimeSecs:
		return fmt.Errorf("%w: time_cons %d is more than 100 years", ErrBadPlan, data.TimeCons)
	case math.IsNaN(data.DataCons) || data.DataCons < 0 || data.DataCons > maxDataMB:
		return fmt.Errorf("%w: data_cons %v is not an amount", ErrBadPlan, data.DataCons)
	}
	return nil
}

// checkStart says why a session cannot have started then; the error wraps ErrBadPlan.
func checkStart(at time.Time) error {
	if y := at.UTC().Year(); y < firstYear || y > lastYear {
		return fmt.Errorf("%w: started_at %v: want a year from %d to %d", ErrBadPlan, at.UTC().Round(0), firstYear, lastYear)
	}
	return nil
}

// planIn returns what data sells.
func planIn(data SessionData) Plan {
	return Plan{
		Type: Type(data.Type), TimeSecs: data.TimeSecs, DataMB: data.DataMb, ExpDays: data.ExpDays,
		DownMbits: data.DownMbits, UpMbits: data.UpMbits, UseGlobalSpeed: data.UseGlobalSpeed,
	}
}

// data returns a plan as a source has it.
func (p Plan) data() SessionData {
	return SessionData{
		Type: uint8(p.Type), TimeSecs: p.TimeSecs, DataMb: p.DataMB, ExpDays: copied(p.ExpDays),
		DownMbits: p.DownMbits, UpMbits: p.UpMbits, UseGlobalSpeed: p.UseGlobalSpeed,
	}
}

// tidy returns data with times that are equal in all their parts if they are
// the same moment, and no start instead of the zero one.
func tidy(data SessionData) SessionData {
	data.CreatedAt = data.CreatedAt.UTC().Round(0)
	if at := data.StartedAt; at != nil {
		data.StartedAt = nil
		if !at.IsZero() {
			utc := at.UTC().Round(0)
			data.StartedAt = &utc
		}
	}
	data.ExpDays = copied(data.ExpDays)
	return data
}

// offered is a session as a provider offers it.
type offered struct {
	source SessionSource
	data   SessionData
	key    string
	err    error // why it cannot be used
}

const (
	maxKey        = 1024        // bytes of a session's key at its source
	maxName       = 128         // bytes of a provider's name
	createdWithin = time.Minute // how exactly a source keeps when its session was made
)

// readSource asks a source what it is. It runs provider's code.
func readSource(source SessionSource) offered {
	o := offered{source: source, data: tidy(source.Data())}
	o.key = "created " + o.data.CreatedAt.Format(time.RFC3339Nano)
	if k, ok := source.(keyed); ok {
		id := k.ID()
		o.key = "id " + id
		switch {
		case len(id) > maxKey:
			o.key, o.err = fmt.Sprintf("id %q...", id[:40]), fmt.Errorf("its id has more than %d bytes", maxKey)
			return o
		case !utf8.ValidString(id): // records are JSON
			o.key = "hex " + hex.EncodeToString([]byte(id))
		}
	}
	o.err = checkData(o.data)
	return o
}

var errType = errors.New("its type has changed")

var errAnother = errors.New("it answers with another session")

// sameSession says why what a source answers is not the session that it is the source
// of. Moments are compared as roughly as a source may keep them.
func (a address) sameSession(data SessionData) error {
	switch by := data.CreatedAt.Sub(a.created).Abs(); {
	case Type(data.Type) != a.kind:
		return fmt.Errorf("%w from %v to %v", errType, a.kind, Type(data.Type))
	case data.Provider != "" && data.Provider != a.name:
		return fmt.Errorf("%w, of provider %q", errAnother, data.Provider)
	case !data.CreatedAt.IsZero() && !a.created.IsZero() && by > createdWithin:
		return fmt.Errorf("%w, created at %v instead of %v", errAnother, data.CreatedAt, a.created)
	}
	return nil
}

// holding returns a shadow as its source has it now.
func (s *session) holding(data SessionData) (session, error) {
	n := *s
	if Type(data.Type) != s.kind {
		return n, fmt.Errorf("%w from %v to %v", errType, s.kind, Type(data.Type))
	}
	n.timeLimit, n.dataLimit, n.expDays = seconds(data.TimeSecs), megabytes(data.DataMb), data.ExpDays
	n.downMbits, n.upMbits, n.global = max(data.DownMbits, 0), max(data.UpMbits, 0), data.UseGlobalSpeed
	held := consumption(data)
	n.timeEdit = time.Duration(int64(held.Secs)-int64(min(s.origin.Sent.Secs, maxTimeSecs))) * time.Second
	n.dataEdit = int64(held.Bytes) - int64(min(s.origin.Sent.Bytes, math.MaxInt64))
	switch at := data.StartedAt; {
	case at != nil && !at.Equal(s.startedAt):
		n.startedAt, n.unsure = *at, time.Time{}
	case at == nil && s.origin.Unstart:
		n.startedAt, n.unsure = time.Time{}, time.Time{}
	}
	if s.origin.Unstart { // known now
		o := *s.origin
		o.Unstart, o.Told = false, o.Told && data.StartedAt != nil
		n.origin = &o
	}
	if s.spent { // it was the last packet that did not fit, unless more than that is left now
		n.spent = false
		_, rest := n.left(n.settled)
		n.spent = rest <= widest && n.dataLimit == s.dataLimit
	}
	return n, nil
}

// samePlan reports that two states of a session sell the same.
func (s *session) samePlan(n *session) bool {
	return s.timeLimit == n.timeLimit && s.dataLimit == n.dataLimit && equalDays(s.expDays, n.expDays) &&
		s.downMbits == n.downMbits && s.upMbits == n.upMbits && s.global == n.global && s.startedAt.Equal(n.startedAt)
}

func equalDays(a, b *uint) bool { return a == b || a != nil && b != nil && *a == *b }

// consumptionOf returns what a source held, by what its shadow has on disk.
func consumptionOf(s *session) tally {
	return tally{
		uint64(max(int64(s.timeEdit/time.Second)+int64(s.origin.Sent.Secs), 0)),
		uint64(max(s.dataEdit+int64(s.origin.Sent.Bytes), 0)),
	}
}
