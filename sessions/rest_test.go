package sessions

import (
	"testing"
	"time"
)

func TestWhatIsAskedForAllTheTimeRests(t *testing.T) {
	const ms = time.Millisecond
	for _, row := range []struct {
		name       string
		took, left time.Duration
	}{
		{"nothing took no time", 0, 0},
		{"a few clients", 20 * time.Microsecond, 180 * time.Microsecond},
		{"a full house", 10 * ms, 90 * ms},
		{"a busy machine, and no longer than to the next round", time.Second, roundTime},
	} {
		var r rest
		if left := r.left(time.Hour); left > 0 {
			t.Errorf("%s: it rests %v before it has worked", row.name, left)
		}
		r.worked(time.Hour, time.Hour+row.took)
		if left := r.left(time.Hour + row.took); left != row.left {
			t.Errorf("%s: it rests %v, want %v", row.name, left, row.left)
		}
		if left := r.left(time.Hour + row.took + row.left); left > 0 {
			t.Errorf("%s: it rests %v too long", row.name, left)
		}
	}
}

// Who was asked for by the thousand is let go of early, and who is asked for is not.
func TestManyDevicesAreNotKeptInMemory(t *testing.T) {
	for _, row := range []struct {
		name  string
		n     int
		after time.Duration
		left  int
	}{
		{"a few, soon", 100, 10 * time.Second, 100},
		{"a few, a minute later", 100, time.Minute, 0},
		{"many, at once", mostIdle + 1000, time.Second, mostIdle + 1000},
		{"many, soon", mostIdle + 1000, 10 * time.Second, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			now := time.Hour
			m := &Manager{opt: Options{Boot: func() time.Duration { return now }}, byID: map[int64]*device{}, byMAC: map[uint64]*device{},
				dirty: map[*device]bool{}, sessions: map[int64]*session{}, slots: make([]*device, 5)}
			for i := range row.n {
				m.byMAC[uint64(i+1)] = &device{turn: newTurn(), mac: uint64(i + 1), touched: now}
			}
			now += row.after
			m.forget()
			if left := len(m.byMAC); left != row.left {
				t.Errorf("%d are in memory, want %d", left, row.left)
			}
		})
	}
}
