package sessions

import (
	"math"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// Local is the provider of sessions that the gateway's own store holds.
const Local = "local"

// Session is a copy of a session as of one moment. All of it is the caller's.
type Session struct {
	ID             int64      `json:"id"`        // never another session's
	DeviceID       int64      `json:"device_id"` // whose it is
	Provider       string     `json:"provider"`  // who keeps it; Local: the gateway's own store
	Type           Type       `json:"type"`      // what it sells
	State          State      `json:"state"`     // where it is in its life
	PauseReason    string     `json:"pause_reason,omitempty" enum:"asked,idle,no_carrier,silent_gateway" doc:"why it is paused; absent when it is not"`
	TimeSecs       uint       `json:"time_secs"`          // seconds, sold
	DataMB         float64    `json:"data_mb"`            // megabytes of 1,000,000 bytes, sold
	TimeCons       uint       `json:"time_cons"`          // seconds, floored
	DataCons       float64    `json:"data_cons"`          // megabytes, with what was set by hand
	RemainingTime  uint       `json:"remaining_time"`     // seconds; 0 for type data
	RemainingData  float64    `json:"remaining_data"`     // megabytes; 0 for type time
	UpBytes        uint64     `json:"up_bytes"`           // layer 3, exact, as counted
	DownBytes      uint64     `json:"down_bytes"`         // likewise
	StartedAt      *time.Time `json:"started_at"`         // nil: not yet
	ExpiresAt      *time.Time `json:"expires_at"`         // nil: not started, or never
	ExpDays        *uint      `json:"exp_days"`           // days of 24 h after start and TimeSecs; nil: never
	DownMbits      int        `json:"down_mbits"`         // megabits of 1,000,000 bits a second
	UpMbits        int        `json:"up_mbits"`           // likewise
	UseGlobalSpeed bool       `json:"use_global_speed"`   // the configured pair in place of its own
	Weight         int        `json:"weight"`             // share of what all clients together may have, beside others', 1 to 100
	ThrottleDown   int64      `json:"throttle_down_bits"` // bits a second once it is used up; 0: it is cut off
	ThrottleUp     int64      `json:"throttle_up_bits"`   // likewise
	Throttled      bool       `json:"throttled" doc:"it is used up and goes on at its throttle, or does so when it is connected again"`
	CreatedAt      time.Time  `json:"created_at"` // when it was sold
}

// session is a session in memory. Manager.mu guards it.
type session struct {
	id, device int64
	kind       Type
	timeLimit  time.Duration
	dataLimit  int64 // bytes
	expDays    *uint
	downMbits  int
	upMbits    int
	global     bool
	weight     int // 0: 1
	throttle   throttle
	createdAt  time.Time
	startedAt  time.Time // zero: not started
	unsure     time.Time // startedAt is by a clock that was not trusted since then; zero: it is right

	settled  use           // by grants that have ended
	timeEdit time.Duration // consumption that was edited, on top of what was used
	dataEdit int64         // bytes, likewise

	running bool        // its grant is the device's current one; on disk: to be re-admitted
	paused  pauseReason // it is the device's current one, paused in place
	marked  bool        // the disk may have it among those paused
	spent   bool        // the packet that did not fit has come

	ledger ledger

	dirty     bool // memory is ahead of the disk
	writing   bool // on its way to the disk
	unindexed bool // the index by id may be missing on disk

	origin *origin // of a provider's session; nil: a local one
}

// use is consumption that was counted.
type use struct {
	up, down uint64 // layer-3 bytes
	time     time.Duration
}

func (u use) plus(v use) use {
	return use{sum(u.up, v.up), sum(u.down, v.down), time.Duration(sumSigned(int64(u.time), int64(v.time)))}
}

// sum adds what was counted and stays at the most instead of beginning anew.
func sum(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// sumSigned is likewise for a, at least 0, and an edit of it.
func sumSigned(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// most is the later of two readings of the same counters.
func (u use) most(v use) use { return use{max(u.up, v.up), max(u.down, v.down), max(u.time, v.time)} }

func newSession(id, device int64, p Plan, now time.Time) *session {
	down, up := p.own()
	return &session{
		id: id, device: device, kind: p.Type,
		timeLimit: seconds(p.TimeSecs), dataLimit: megabytes(p.DataMB), expDays: copied(p.ExpDays),
		downMbits: down, upMbits: up, global: p.UseGlobalSpeed, weight: p.weight(),
		throttle:  throttle{p.ThrottleDown, p.ThrottleUp},
		createdAt: now, unindexed: true,
	}
}

func (s *session) provider() string {
	if s.origin != nil {
		return s.origin.Provider
	}
	return Local
}

func (s *session) plan() Plan {
	return Plan{s.kind, uint(s.timeLimit / time.Second), float64(s.dataLimit) / 1e6, s.expDays, s.downMbits, s.upMbits, s.global, s.weight, s.throttle.down, s.throttle.up}
}

// consumed returns what counts against the limits, given what was used.
func (s *session) consumed(u use) (time.Duration, int64) {
	bytes := int64(min(sum(u.up, u.down), math.MaxInt64))
	return time.Duration(max(sumSigned(int64(u.time), int64(s.timeEdit)), 0)), max(sumSigned(bytes, s.dataEdit), 0)
}

// left returns what remains of the limits that the type has, never below
// zero; of the others 0.
func (s *session) left(u use) (t time.Duration, b int64) {
	ct, cb := s.consumed(u)
	if s.kind.hasTime() {
		t = max(s.timeLimit-ct, 0)
	}
	if s.kind.hasData() && !s.spent {
		b = max(s.dataLimit-cb, 0)
	}
	return t, b
}

func (s *session) usedUp(u use) bool {
	t, b := s.left(u)
	return s.kind.hasTime() && t == 0 || s.kind.hasData() && b == 0
}

// usedUpWhy says in words what of a session is used up.
func (s *session) usedUpWhy() string {
	if t, _ := s.left(s.settled); !s.kind.hasTime() || t > 0 {
		return "the data is used up"
	}
	return "the time is used up"
}

// expiresAt returns when the session expires; zero: it does not, or has not
// started.
func (s *session) expiresAt() time.Time {
	if s.startedAt.IsZero() || s.expDays == nil {
		return time.Time{}
	}
	at := s.startedAt.Add(time.Duration(*s.expDays) * 24 * time.Hour)
	if s.kind.hasTime() {
		at = at.Add(s.timeLimit)
	}
	return at
}

func (s *session) isExpired(now time.Time) bool {
	at := s.expiresAt()
	return !at.IsZero() && !now.Before(at)
}

// available: something left and not expired. now is wall time.
func (s *session) available(now time.Time) bool {
	return !s.usedUp(s.settled) && !s.isExpired(now)
}

// before is the order in which sessions are used: started ones first; among
// those the earlier expiry, never being last; then the oldest.
func (s *session) before(o *session) bool {
	if a, b := s.startedAt.IsZero(), o.startedAt.IsZero(); a != b {
		return b
	}
	a, b := s.expiresAt(), o.expiresAt()
	if !s.startedAt.IsZero() && !a.Equal(b) {
		return !a.IsZero() && (b.IsZero() || a.Before(b))
	}
	if !s.createdAt.Equal(o.createdAt) {
		return s.createdAt.Before(o.createdAt)
	}
	return s.id < o.id
}

// terms returns the grant that gives the rest of the session, of which u is used.
func (s *session) terms(c *clock, u use, globalDown, globalUp limiter.Rate) clients.Terms {
	t := clients.Terms{
		Session: uint64(s.id), ByteLimit: clients.NoLimit, Duration: clients.NoTime, Expiry: clients.NoTime,
		Up: rate(s.upMbits), Down: rate(s.downMbits), Weight: s.weight,
		BaseUp: u.up, BaseDown: u.down, BaseTime: u.time,
	}
	if s.global {
		t.Up, t.Down = globalUp, globalDown
	}
	left, bytes := s.left(u)
	if s.kind.hasTime() {
		t.Duration = left
	}
	if s.kind.hasData() {
		t.ByteLimit = uint64(bytes)
	}
	if at := s.expiresAt(); !at.IsZero() {
		t.Expiry = c.bootAt(at)
	} else if s.expDays != nil && !s.kind.hasTime() {
		// Its start is not known yet: days from it are a duration. With a time
		// limit the time is used up before.
		t.Duration = time.Duration(*s.expDays) * 24 * time.Hour
	}
	return t
}

// rate returns whole megabits a second in bytes a second.
func rate(mbits int) limiter.Rate { return limiter.Rate(mbits) * (1_000_000 / 8) }

// view returns a copy, given what was used and whether it runs.
func (s *session) view(u use, runs bool, now time.Time) Session {
	ct, cb := s.consumed(u)
	_, lb := s.left(u)
	v := Session{
		ID: s.id, DeviceID: s.device, Provider: s.provider(), Type: s.kind, State: s.state(u, runs, now),
		TimeSecs: uint(s.timeLimit / time.Second), DataMB: float64(s.dataLimit) / 1e6,
		TimeCons: uint(min(ct/time.Second, math.MaxUint32)), DataCons: float64(cb) / 1e6, RemainingData: float64(lb) / 1e6,
		UpBytes: u.up, DownBytes: u.down, ExpDays: copied(s.expDays),
		DownMbits: s.downMbits, UpMbits: s.upMbits, UseGlobalSpeed: s.global, Weight: max(s.weight, 1), CreatedAt: s.createdAt,
		ThrottleDown: s.throttle.down, ThrottleUp: s.throttle.up,
	}
	if s.kind.hasTime() && v.TimeSecs > v.TimeCons {
		v.RemainingTime = v.TimeSecs - v.TimeCons
	}
	if !s.startedAt.IsZero() {
		at := s.startedAt
		v.StartedAt = &at
	}
	if at := s.expiresAt(); !at.IsZero() {
		v.ExpiresAt = &at
	}
	if v.State == Paused {
		v.PauseReason = s.paused.String()
	}
	return v
}

// state says where the session is in its life, given what was used and whether it runs.
func (s *session) state(u use, runs bool, now time.Time) State {
	switch {
	case runs:
		return Running
	case s.throttles(now) && s.paused != 0:
		return Paused
	case s.throttle != throttle{} && s.isExpired(now):
		return Expired
	case s.usedUp(u):
		return Consumed
	case s.isExpired(now):
		return Expired
	case s.paused != 0:
		return Paused
	}
	return Available
}
