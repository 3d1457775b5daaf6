package sessions

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// A session that has used up what can be counted stays consumed, whatever is
// counted on top; what it used is the same on disk, in a checkpoint, after a
// power cut and in JSON.
func TestCountersSaturate(t *testing.T) {
	most := uint64(math.MaxUint64)
	for _, row := range []struct {
		seed, up uint64 // bytes both ways before; up, after 1000 more
	}{
		{1<<32 - 1, 1<<32 + 999}, {1<<63 - 1, 1<<63 + 999}, {most - 500, most}, {most, most},
	} {
		t.Run(fmt.Sprint(row.seed), func(t *testing.T) {
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			s := w.create(d.ID, timePlan(3600))
			data := w.create(d.ID, dataPlan(1))
			w.connect(d.ID)
			w.pass(macA, 1000, 0)
			w.m.mu.Lock()
			for _, id := range []int64{s.ID, data.ID} {
				v := w.m.sessions[id]
				v.settled.up, v.settled.down = row.seed, row.seed
				w.m.soil(v)
			}
			w.m.mu.Unlock()
			check := func(when string) {
				t.Helper()
				v := w.session(s.ID)
				if v.UpBytes != row.up || v.DownBytes != row.seed || v.RemainingTime == 0 {
					t.Errorf("%s: up %d, down %d, %d s left; want %d, %d, time", when, v.UpBytes, v.DownBytes, v.RemainingTime, row.up, row.seed)
				}
				text, err := json.Marshal(v)
				if want := fmt.Sprintf(`"up_bytes":%d,"down_bytes":%d,`, row.up, row.seed); err != nil || !strings.Contains(string(text), want) {
					t.Errorf("%s: %s, want %s", when, text, want)
				}
				if v := w.session(data.ID); v.State != Consumed || v.RemainingData != 0 || v.DataCons < 4294 {
					t.Errorf("%s: a megabyte of which all was used: %+v", when, v)
				}
			}
			check("running")
			if _, err := w.m.checkpoint(bg(), false); err != nil {
				t.Fatal(err)
			}
			w.until("all is on disk", w.clean)
			w.kills()
			w.boots().runs()
			check("after a power cut")
			w.kills()
			w.runs()
			check("after control was killed")
		})
	}
}

func TestTimeSaturates(t *testing.T) {
	s := &session{kind: TypeTime, timeLimit: time.Hour, settled: use{time: math.MaxInt64}}
	for _, edit := range []time.Duration{0, time.Hour, math.MaxInt64, -time.Hour} {
		s.timeEdit = edit
		u := s.settled.plus(use{time: time.Minute})
		if v := s.view(u, false, epoch); v.State != Consumed || v.RemainingTime != 0 || v.TimeCons < 3600 {
			t.Errorf("with an edit of %v: %+v", edit, v)
		}
	}
}
