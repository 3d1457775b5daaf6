package sessions

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Summary is all that a device has left. Sessions that are consumed or expired
// are counted and have nothing left. Sums stay at the most instead of beginning
// anew.
type Summary struct {
	DeviceID int64         `json:"device_id"` // whose
	Sessions map[State]int `json:"sessions" doc:"how many are in each state"`
	Time     Remaining     `json:"time" doc:"in sessions of type time"`
	Data     Remaining     `json:"data" doc:"in sessions of type data"`
	Either   Remaining     `json:"time_or_data" doc:"in sessions of type time_or_data: at most, for what is left of one half ends with the other"`
	// NextExpiry is when the first of those that have something left expires;
	// nil: none does, as far as is known before it starts.
	NextExpiry *time.Time `json:"next_expiry"`
	// Left are the sessions that have something left, in the order in which they
	// will be used, at most MaxBatch; More says that there are others.
	Left []Session `json:"left" nullable:"false"`
	More bool      `json:"more" doc:"left is not all of them; the sums are"`
}

// Remaining is what is left in some sessions together.
type Remaining struct {
	Sessions int     `json:"sessions"`  // how many they are
	TimeSecs uint    `json:"time_secs"` // seconds, each session's floored
	DataMB   float64 `json:"data_mb"`   // megabytes of 1,000,000 bytes
}

func (r *Remaining) add(v Session) {
	r.Sessions++
	r.TimeSecs += min(v.RemainingTime, math.MaxUint-r.TimeSecs)
	r.DataMB = min(r.DataMB+v.RemainingData, math.MaxFloat64)
}

// Summary sums up what a device has left, with what providers offered it last.
// It waits 0.7 s for the store at most. ErrNoDevice, ErrUnavailable, ErrStopped.
func (m *Manager) Summary(ctx context.Context, deviceID int64) (Summary, error) {
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("summary of device %d: %w", deviceID, err)
	}
	defer cancel()
	m.mu.Lock()
	if d := m.byID[deviceID]; d != nil && d.loaded {
		defer m.mu.Unlock()
		return m.sumUp(d), nil
	}
	m.mu.Unlock()
	if err := m.open(ctx); err != nil {
		return Summary{}, fmt.Errorf("summary of device %d: %w", deviceID, err)
	}
	d, err := m.holdID(ctx, deviceID)
	if err != nil {
		return Summary{}, fmt.Errorf("summary: %w", err)
	}
	defer m.finish(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sumUp(d), nil
}

// sumUp sums up a device whose sessions are loaded. m.mu is held.
func (m *Manager) sumUp(d *device) Summary {
	s := Summary{DeviceID: d.id, Sessions: map[State]int{Available: 0, Running: 0, Paused: 0, Consumed: 0, Expired: 0}, Left: []Session{}}
	kinds := [...]*Remaining{TypeTime: &s.Time, TypeData: &s.Data, TypeTimeOrData: &s.Either}
	turns := d.turns()
	var left []*session
	views := make(map[*session]Session)
	for _, one := range d.sessions {
		v := m.viewSession(one)
		s.Sessions[v.State]++
		switch v.State {
		case Consumed, Expired:
			continue
		case Running, Paused:
			turns[one] = -1
		}
		if _, offered := turns[one]; one.origin != nil && !offered {
			continue // its provider does not offer it now
		}
		kinds[v.Type].add(v)
		if at := v.ExpiresAt; at != nil && (s.NextExpiry == nil || at.Before(*s.NextExpiry)) {
			s.NextExpiry = at
		}
		views[one] = v
		left = append(left, one)
	}
	slices.SortFunc(left, func(a, b *session) int {
		switch x, y := turns.of(a), turns.of(b); {
		case x != y:
			return cmp.Compare(x, y)
		case a.before(b):
			return -1
		}
		return 1
	})
	if s.More = len(left) > MaxBatch; s.More {
		left = left[:MaxBatch]
	}
	for _, one := range left {
		s.Left = append(s.Left, views[one])
	}
	return s
}

// turns says of sessions when they are used, the lowest first; those that are
// not in it follow by their own order.
type turns map[*session]int

func (t turns) of(s *session) int {
	if n, ok := t[s]; ok {
		return n
	}
	return math.MaxInt
}

// turns returns when what providers offer is used.
func (d *device) turns() turns {
	all := make(turns)
	for _, o := range d.offers {
		for _, s := range o.sessions {
			if _, twice := all[s]; !twice {
				all[s] = len(all)
			}
		}
	}
	return all
}
