package clients

import (
	"errors"
	"time"

	"gatewayd/limiter"
)

// Terms are what control decides about a grant.
type Terms struct {
	Session   uint64        // key of the session, control's own
	ByteLimit uint64        // up + down layer-3 bytes of this grant; NoLimit: none
	Duration  time.Duration // of use; NoTime: none
	Expiry    time.Duration // since boot; NoTime: none
	Up, Down  limiter.Rate  // bytes per second; 0: no limit
	BaseUp    uint64        // the session's layer-3 bytes before this grant
	BaseDown  uint64
	BaseTime  time.Duration // the session's consumed time before this grant
	Weight    int           // share of the total beside other clients', 1 to MaxWeight; 0: 1
}

// MaxWeight is the largest weight of a grant.
const MaxWeight = limiter.MaxWeight

// ErrNoRecord says that all records of a slot are in use.
var ErrNoRecord = errors.New("no free grant record")

// Record returns the record of grant sequence seq.
func (s *Slot) Record(seq uint64) *Grant { return &s.Grants[seq%GrantsPerSlot] }

// Publish writes the next grant and returns its sequence. Control's side; it
// takes effect at the next Changed. ErrNoRecord when the record it would
// reuse is not saved yet.
func (s *Slot) Publish(terms Terms) (uint64, error) {
	seq := s.Published.Load() + 1
	if seq > GrantsPerSlot && s.Saved.Load() < seq-GrantsPerSlot {
		return 0, ErrNoRecord
	}
	g := s.Record(seq)
	g.Sequence.Store(0)
	g.Session.Store(terms.Session)
	g.BaseUp.Store(terms.BaseUp)
	g.BaseDown.Store(terms.BaseDown)
	g.BaseTime.Store(int64(terms.BaseTime))
	g.Revoked.Store(0)
	g.Amend(terms)
	g.Sequence.Store(seq)
	s.Published.Store(seq)
	return seq, nil
}

// Amend stores new limits, rates and weight in a published grant: a top-up or another
// speed. Session and base stay. Control's side.
func (g *Grant) Amend(terms Terms) {
	g.ByteLimit.Store(min(terms.ByteLimit, NoLimit))
	g.Duration.Store(int64(terms.Duration))
	g.Expiry.Store(int64(terms.Expiry))
	g.RateUp.Store(int64(terms.Up))
	g.RateDown.Store(int64(terms.Down))
	g.Weight.Store(uint64(min(max(terms.Weight, 1), MaxWeight)))
}

// Revoke ends a grant, whether it has started or not, as of now (since boot).
// Control's side; it takes effect at the next Changed.
func (g *Grant) Revoke(now time.Duration) {
	if g.Revoked.Load() == 0 {
		g.Revoked.Store(max(int64(now), 1))
	}
}

// Use is what a grant has seen, read by control.
type Use struct {
	Started, Ended time.Duration // since boot; 0: not yet
	Reason         uint64        // one of End…, valid when Ended is not 0
	EndLimit       uint64        // bytes of this grant, valid when Reason is EndData: the limit that held when it ended
	Up, Down       uint64        // layer-3 bytes
	UpPackets      uint64
	DownPackets    uint64
}

// Use reads the forwarder's half of grant seq; zero while the forwarder has
// not taken it in.
func (g *Grant) Use(seq uint64) Use {
	if g.Taken.Load() != seq {
		return Use{}
	}
	u := Use{Ended: time.Duration(g.Ended.Load())} // before the counters: what ended does not grow
	if u.Reason = g.Reason.Load(); u.Reason == EndData {
		u.EndLimit = g.EndLimit.Load()
	}
	u.Started = time.Duration(g.Started.Load())
	u.Up, u.Down = g.Up.Load(), g.Down.Load()
	u.UpPackets, u.DownPackets = g.UpPackets.Load(), g.DownPackets.Load()
	return u
}

// Deadline returns when a grant that started at started ends by time (since
// boot), and which of EndTime and EndExpiry it will be; NoTime when neither.
func (g *Grant) Deadline(started time.Duration) (time.Duration, uint64) {
	at, why := time.Duration(NoTime), uint64(EndTime)
	if d := time.Duration(g.Duration.Load()); d != NoTime {
		if end := started + d; end > started || d <= 0 { // overflow: as good as none
			at = end
		}
	}
	if e := time.Duration(g.Expiry.Load()); e < at {
		at, why = e, EndExpiry
	}
	return at, why
}

// Elapsed returns how long grant g has been in use at now (both since boot):
// from Started to the earliest of its end, its revocation, its deadline and now.
func (g *Grant) Elapsed(u Use, now time.Duration) time.Duration {
	if u.Started == 0 {
		return 0
	}
	end := now
	if u.Ended != 0 {
		end = u.Ended
	}
	if r := time.Duration(g.Revoked.Load()); r != 0 {
		end = min(end, r)
	}
	at, _ := g.Deadline(u.Started)
	return max(min(end, at)-u.Started, 0)
}
