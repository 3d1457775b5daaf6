package sessions

import (
	"sync"
	"sync/atomic"
	"testing"
)

// However often one session follows another, who lists a device's sessions sees at
// most one that runs.
func TestAListIsOfOneMoment(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	const many = 24
	var ids []int64
	for range many {
		ids = append(ids, w.create(d.ID, timePlan(3600)).ID)
	}
	used := func(id int64, secs uint) {
		if _, err := w.m.Update(bg(), id, Change{TimeCons: &secs}); err != nil {
			t.Error(err)
		}
	}
	var over atomic.Bool
	var looking sync.WaitGroup
	for range 2 {
		looking.Go(func() {
			for !over.Load() {
				all, _, err := w.m.Sessions(bg(), Filter{DeviceID: d.ID, State: Running}, "", 0)
				if err != nil || len(all) > 1 {
					t.Errorf("%d sessions run: %+v, %v", len(all), all, err)
					return
				}
			}
		})
	}
	rounds := 15
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		for _, id := range ids {
			used(id, 0)
		}
		w.connect(d.ID)
		for _, id := range ids[:many-1] {
			used(id, 3600)
		}
		w.disconnect(d.ID)
	}
	over.Store(true)
	looking.Wait()
}
