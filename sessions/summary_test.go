package sessions

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

func idsIn(vs []Session) (got []int64) {
	for _, v := range vs {
		got = append(got, v.ID)
	}
	return got
}

func TestABatchIsAllOrNothing(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	made, err := w.m.CreateBatch(bg(), d.ID, []Plan{dataPlan(0.003), timePlan(60), dataPlan(3)})
	if err != nil || !slices.Equal(idsIn(made), []int64{1, 2, 3}) || made[1].TimeSecs != 60 || made[2].State != Available {
		t.Fatalf("%+v, %v", made, err)
	}
	w.connect(d.ID)
	if n := w.pass(macA, 6000, 0); n != 6000 {
		t.Errorf("%d bytes passed", n)
	}
	w.until("they are used in the order of the plans", func() bool { return w.session(1).State == Consumed && w.session(2).State == Running })
	for name, plans := range map[string][]Plan{
		"none": nil, "too many": slices.Repeat([]Plan{timePlan(1)}, MaxBatch+1), "one that is bad": {timePlan(1), timePlan(0), timePlan(1)},
	} {
		if _, err := w.m.CreateBatch(bg(), d.ID, plans); err == nil {
			t.Errorf("%s: made", name)
		} else {
			w.wants(err, ErrBadPlan)
		}
	}
	_, err = w.m.CreateBatch(bg(), 99, []Plan{timePlan(1), timePlan(1)})
	w.wants(err, ErrNoDevice)
	w.wants(w.inDoubt(func() error {
		_, err := w.m.CreateBatch(bg(), d.ID, slices.Repeat([]Plan{timePlan(1)}, MaxBatch))
		return err
	}), ErrUnavailable)
	w.back()
	w.until("the doubt is written away", w.clean)
	for _, restart := range []bool{false, true} {
		if restart {
			w.kills()
			w.boots().runs()
		}
		if all, _, err := w.m.Sessions(bg(), Filter{}, "", 1000); err != nil || !slices.Equal(idsIn(all), []int64{1, 2, 3}) {
			t.Errorf("after a restart %v: %v, %v", restart, idsIn(all), err)
		}
	}
	made, err = w.m.CreateBatch(bg(), d.ID, slices.Repeat([]Plan{timePlan(1)}, MaxBatch))
	if err != nil || len(made) != MaxBatch {
		t.Errorf("%d made, %v", len(made), err)
	}
	w.kills()
	w.boots().runs()
	if all, _, err := w.m.Sessions(bg(), Filter{DeviceID: d.ID}, "", 1000); err != nil || len(all) != MaxBatch+3 {
		t.Errorf("%d sessions after a power cut, %v", len(all), err)
	}
}

func TestABatchIsOneWrite(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "")
	made := make([]*session, MaxBatch)
	for i := range made {
		made[i] = newSession(math.MaxInt64-int64(i), d.ID, Plan{Type: TypeTimeOrData, TimeSecs: maxTimeSecs, DataMB: maxDataMB, DownMbits: maxMbits, UpMbits: maxMbits}, epoch)
	}
	w.m.byID[d.ID].onDisk = false
	records, undo := w.m.newRecords(w.m.byID[d.ID], made)
	if len(records) > saveSize {
		t.Errorf("%d records of %d sessions, of which %d go to the disk as one", len(records), MaxBatch, saveSize)
	}
	if len(undo) != 3*MaxBatch {
		t.Errorf("%d records are taken back", len(undo))
	}
}

func TestSummaryIsAllADeviceHasLeft(t *testing.T) {
	w := newWorld(t).boots().runs()
	d, other := w.add(macA, "10.10.0.2"), w.add(macB, "")
	day := uint(1)
	expiring := dataPlan(1)
	expiring.ExpDays = &day
	both := Plan{Type: TypeTimeOrData, TimeSecs: 100, DataMB: 5, UseGlobalSpeed: true}
	w.create(other.ID, timePlan(9999))
	w.create(d.ID, dataPlan(0.003)) // 2: will be used up
	w.create(d.ID, expiring)        // 3
	w.create(d.ID, timePlan(600))   // 4
	w.create(d.ID, timePlan(60))    // 5
	w.create(d.ID, both)            // 6
	w.connect(d.ID)
	w.pass(macA, 6000, 0)
	w.until("the second runs", func() bool { v := w.session(3); return v.State == Running && v.StartedAt != nil })
	check := func(name string, want map[State]int, time, data, either Remaining, expiry bool, left ...int64) {
		t.Helper()
		got, err := w.m.Summary(bg(), d.ID)
		if err != nil || got.DeviceID != d.ID || got.More {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		for state, n := range got.Sessions {
			if n != want[state] {
				t.Errorf("%s: %d are %s, want %d", name, n, state, want[state])
			}
		}
		if got.Time != time || got.Data != data || got.Either != either || (got.NextExpiry != nil) != expiry || !slices.Equal(idsIn(got.Left), left) {
			t.Errorf("%s: time %+v, data %+v, either %+v, expiry %v, left %v", name, got.Time, got.Data, got.Either, got.NextExpiry, idsIn(got.Left))
		}
	}
	check("in use", map[State]int{Consumed: 1, Running: 1, Available: 3}, Remaining{2, 660, 0}, Remaining{1, 0, 0.997}, Remaining{1, 100, 5}, true, 3, 4, 5, 6)
	w.disconnect(d.ID)
	w.advance(25 * time.Hour)
	check("one has expired", map[State]int{Consumed: 1, Expired: 1, Available: 3}, Remaining{2, 660, 0}, Remaining{}, Remaining{1, 100, 5}, false, 4, 5, 6)
	w.kills()
	w.boots().runs()
	check("read from the disk", map[State]int{Consumed: 1, Expired: 1, Available: 3}, Remaining{2, 660, 0}, Remaining{}, Remaining{1, 100, 5}, false, 4, 5, 6)
	_, err := w.m.Summary(bg(), 99)
	w.wants(err, ErrNoDevice)
}

func TestASummaryStaysAtTheMost(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "")
	most := Plan{Type: TypeTimeOrData, TimeSecs: maxTimeSecs, DataMB: maxDataMB, UseGlobalSpeed: true}
	for range 2 {
		if _, err := w.m.CreateBatch(bg(), d.ID, slices.Repeat([]Plan{most}, 60)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.m.Summary(bg(), d.ID)
	secs := uint(min(uint64(120*maxTimeSecs), uint64(math.MaxUint)))
	if err != nil || got.Either != (Remaining{120, secs, 120 * maxDataMB}) || len(got.Left) != MaxBatch || !got.More || got.Sessions[Available] != 120 {
		t.Errorf("%+v of %d, more %v, %v", got.Either, len(got.Left), got.More, err)
	}
	sum := Remaining{1, math.MaxUint - 5, math.MaxFloat64}
	if sum.add(Session{RemainingTime: 10, RemainingData: math.MaxFloat64}); sum != (Remaining{2, math.MaxUint, math.MaxFloat64}) {
		t.Errorf("%+v", sum)
	}
}

func TestFiltersChooseSessions(t *testing.T) {
	w := newWorld(t).boots().runs()
	a, b := w.add(macA, "10.10.0.2"), w.add(macB, "")
	day := uint(1)
	expiring := timePlan(3600)
	expiring.ExpDays = &day
	w.create(a.ID, expiring) // 1
	w.create(b.ID, dataPlan(1))
	w.connect(a.ID)
	w.disconnect(a.ID)
	middle := w.m.clock.read().Wall
	w.advance(time.Hour)
	w.create(a.ID, timePlan(60)) // 3
	w.create(b.ID, Plan{Type: TypeTimeOrData, TimeSecs: 5, DataMB: 1, UseGlobalSpeed: true})
	kind := func(t Type) *Type { return &t }
	until := *w.session(1).ExpiresAt
	for _, row := range []struct {
		name string
		f    Filter
		want []int64
	}{
		{"all", Filter{}, []int64{1, 3, 2, 4}},
		{"of a device", Filter{DeviceID: b.ID}, []int64{2, 4}},
		{"of a type", Filter{Type: kind(TypeTime)}, []int64{1, 3}},
		{"of type time, the first", Filter{Type: kind(TypeTime), DeviceID: b.ID}, nil},
		{"of a provider", Filter{Provider: Local, Type: kind(TypeData)}, []int64{2}},
		{"of another provider", Filter{Provider: "acme"}, nil},
		{"created later", Filter{CreatedAfter: middle}, []int64{3, 4}},
		{"created earlier", Filter{CreatedBefore: middle}, []int64{1, 2}},
		{"created between", Filter{CreatedAfter: middle, CreatedBefore: middle}, nil},
		{"that expire", Filter{ExpiresAfter: epoch}, []int64{1}},
		{"that expire at a moment or later", Filter{ExpiresAfter: until}, []int64{1}},
		{"that expire before that moment", Filter{ExpiresBefore: until}, nil},
		{"that expire soon", Filter{ExpiresBefore: until.Add(1), State: Available}, []int64{1}},
	} {
		for _, memory := range []bool{false, true} {
			if memory {
				w.away()
			}
			var got []int64
			for cursor, more := "", true; more; more = cursor != "" {
				page, next, err := w.m.Sessions(bg(), row.f, cursor, 1)
				if marked := errors.Is(err, ErrUnavailable); marked && !memory || err != nil && !marked || len(page) > 1 {
					t.Fatalf("%s: %d, %v; from memory: %v", row.name, len(page), err, memory)
				}
				got, cursor = append(got, idsIn(page)...), next
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("%s: %v, want %v; from memory: %v", row.name, got, row.want, memory)
			}
			if memory {
				w.back()
				w.until("the store is back", func() bool { _, _, err := w.m.store.Get(bg(), clockKey); return err == nil })
			}
		}
	}
}

// TestAPageIsBounded: who asks for what there is not gets pages, not all there is.
func TestAPageIsBounded(t *testing.T) {
	w := newWorld(t).boots().runs()
	for i := range 25 {
		d := w.add(fmt.Sprintf("02:00:00:00:03:%02x", i), "")
		if _, err := w.m.CreateBatch(bg(), d.ID, slices.Repeat([]Plan{timePlan(1)}, MaxBatch)); err != nil {
			t.Fatal(err)
		}
	}
	pages := 0
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := w.m.Sessions(bg(), Filter{Provider: "acme"}, cursor, 10)
		if err != nil || len(page) > 0 {
			t.Fatalf("%d, %v", len(page), err)
		}
		cursor = next
		pages++
	}
	if want := 2; pages != want {
		t.Errorf("2500 sessions in %d pages, want %d of 2000 looked at", pages, want)
	}
}
