package sessions

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
)

func TestASessionRecordComesBackAsItWas(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
	days, none := uint(30), uint(0)
	plain := sessionRecord{Type: TypeTimeOrData, Time: time.Hour, Data: 5e8, ExpDays: &days, Down: 5, Up: 3, Created: at, Started: at.Add(time.Hour),
		UsedUp: 12_345_678, UsedDown: 98_765_432, UsedTime: 40*time.Minute + 123, Sequenced: 99, Lines: 3, Closed: at.UnixNano()}
	for _, row := range []struct {
		name   string
		change func(*sessionRecord)
		json   bool // it is not packed
	}{
		{"as most are", func(*sessionRecord) {}, false},
		{"nothing in it", func(v *sessionRecord) { *v = sessionRecord{} }, false},
		{"it expires with its time", func(v *sessionRecord) { v.ExpDays = &none }, false},
		{"it never expires", func(v *sessionRecord) { v.ExpDays = nil }, false},
		{"its counters are at the most", func(v *sessionRecord) {
			v.UsedUp, v.UsedDown, v.UsedTime, v.Data, v.DataEdit, v.TimeEdit = math.MaxUint64, math.MaxUint64, math.MaxInt64, math.MaxInt64, math.MinInt64, math.MinInt64
			v.Lines, v.Closed = math.MaxUint32, math.MinInt64
		}, false},
		{"it weighs more than others", func(v *sessionRecord) { v.Weight = 100 }, false},
		{"it is throttled", func(v *sessionRecord) { v.SlowDown, v.SlowUp, v.Slowed = 512_000, 1, math.MaxInt64 }, false},
		{"it is paused", func(v *sessionRecord) { v.Paused = pauseAsked }, false},
		{"all that is yes or no", func(v *sessionRecord) { v.Running, v.Spent, v.Global, v.Open = true, true, true, true }, false},
		{"in 1970", func(v *sessionRecord) {
			v.Created, v.Started, v.Unsure = time.Unix(0, 0).UTC(), time.Unix(0, 1).UTC(), time.Unix(-1, 0).UTC()
		}, false},
		{"in a year that has no nanoseconds since 1970", func(v *sessionRecord) { v.Started = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC) }, true},
		{"by another zone's time", func(v *sessionRecord) { v.Created = at.In(time.FixedZone("", 3600)) }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := plain
			row.change(&v)
			b := writeSession([]byte("k"), v).Value
			if (b[0] == '{') != row.json {
				t.Errorf("written as %q", b)
			}
			got, err := unpackSession(b)
			if err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("it comes back as %+v, %v, want %+v", got, err, v)
			}
			for n := 1; n < len(b); n++ {
				if cut, err := unpackSession(b[:n]); err == nil {
					t.Fatalf("%d of its %d bytes are taken for %+v", n, len(b), cut)
				}
			}
			if _, err := unpackSession(append(b, 0)); err == nil {
				t.Error("a byte too many is taken")
			}
			text, err := json.Marshal(v) // as all were
			if err != nil {
				t.Fatal(err)
			}
			if got, err = unpackSession(text); err != nil || !got.Created.Equal(v.Created) || got.UsedUp != v.UsedUp {
				t.Errorf("its JSON is read as %+v, %v", got, err)
			}
			if len(b)*3 > len(text) && !row.json {
				t.Errorf("%d bytes packed, %d as JSON", len(b), len(text))
			}
		})
	}
}

// What is on cards must be read for ever.
func TestAPackedSessionRecordStaysWhatItIs(t *testing.T) {
	days := uint(7)
	v := sessionRecord{Type: TypeData, Data: 1000, ExpDays: &days, Down: 2, Up: 1, Created: time.Unix(1000, 5).UTC(), UsedUp: 9, Running: true, Sequenced: 3}
	const want = "01" + "bd890a" + "01" + "d00f" + "07" + "04" + "02" + "8ac0a8ca9a3a" + "09" + "03"
	if got := hex.EncodeToString(packSession(v)); got != want {
		t.Errorf("packed as %s, want %s", got, want)
	}
	b, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unpackSession(b); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("read as %+v, %v, want %+v", got, err, v)
	}
}
