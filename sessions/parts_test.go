package sessions

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// Others have the manager's lock while all are looked at, or a look at 10,000 is a
// moment in which nothing else is done. That is so sooner or later, for who waits is
// woken and has to get there: in one go, never.
func TestOthersComeInWhileAllAreLookedAt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		look func(m *Manager, f func())
	}{
		{"all devices", func(m *Manager, f func()) {
			all := make([]*device, 10*partLook)
			for i := range all {
				all[i] = &device{}
			}
			m.inParts(all, func(*device) { f() })
		}},
		{"all that are paused", func(m *Manager, f func()) { m.eachPaused(func(_, _ int64) { f() }) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m := &Manager{}
			m.paused.clear()
			for i := range int64(10 * partLook) {
				m.paused.put(i, i)
			}
			for end := time.Now().Add(time.Minute); ; {
				var n, came atomic.Int64
				waits := make(chan struct{})
				done := make(chan struct{})
				row.look(m, func() {
					if n.Add(1) == 1 {
						go func() {
							close(waits)
							m.mu.Lock()
							came.Store(n.Load())
							m.mu.Unlock()
							close(done)
						}()
						<-waits
					}
					time.Sleep(time.Microsecond)
				})
				<-done
				if n.Load() != 10*partLook {
					t.Fatalf("%d were looked at", n.Load())
				}
				if at := came.Load(); at < 10*partLook {
					if at%partLook != 0 {
						t.Errorf("it came in after %d", at)
					}
					return
				}
				if time.Now().After(end) {
					t.Fatal("nobody came in for a minute")
				}
			}
		})
	}
}

// The index of what is paused is a map by device that can be walked in parts.
func TestWhatIsPausedIsAMap(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	m, want := &Manager{}, make(map[int64]int64)
	m.paused.clear()
	for range 20_000 {
		device, session := 1+random.Int64N(3*partLook), 1+random.Int64N(1000)
		switch random.IntN(3) {
		case 0:
			m.paused.remove(device)
			delete(want, device)
		default:
			m.paused.put(device, session)
			want[device] = session
		}
		if m.paused.of(device) != want[device] {
			t.Fatalf("device %d has session %d, want %d", device, m.paused.of(device), want[device])
		}
		if random.IntN(500) != 0 {
			continue
		}
		got, seen := make(map[int64]int64), 0
		m.eachPaused(func(device, session int64) { got[device], seen = session, seen+1 })
		if !maps.Equal(got, want) || seen != len(want) {
			t.Fatalf("%d seen, %d of them different, want %d: %v", seen, len(got), len(want), slices.Sorted(maps.Keys(got)))
		}
	}
}
