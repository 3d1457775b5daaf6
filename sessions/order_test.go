package sessions

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"gatewayd/store/client"

	"pgregory.net/rapid"
)

// model is a session as the contract words it, in seconds and bytes.
type model struct {
	id                         int64
	kind                       Type
	secs, usedSecs, data, used int
	created, started           int // hours after epoch; started -1: not
	days                       int // -1: never
}

func (o model) session() *session {
	s := &session{
		id: o.id, kind: o.kind, timeLimit: time.Duration(o.secs) * time.Second, dataLimit: int64(o.data),
		settled: use{up: uint64(o.used), time: time.Duration(o.usedSecs) * time.Second}, createdAt: hour(o.created),
	}
	if o.started >= 0 {
		s.startedAt = hour(o.started)
	}
	if o.days >= 0 {
		d := uint(o.days)
		s.expDays = &d
	}
	return s
}

func hour(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }

// expiry is StartedAt + TimeSecs + ExpDays days, in seconds after epoch.
func (o model) expiry() int {
	switch {
	case o.started < 0 || o.days < 0:
		return math.MaxInt
	case o.kind == TypeData:
		return o.started*3600 + o.days*86400
	}
	return o.started*3600 + o.secs + o.days*86400
}

func (o model) available(now int) bool {
	time, data := o.usedSecs < o.secs, o.used < o.data
	left := map[Type]bool{TypeTime: time, TypeData: data, TypeTimeOrData: time && data}[o.kind]
	return left && now*3600 < o.expiry()
}

// rank is what the order compares, one after the other.
func (o model) rank() []int {
	if o.started < 0 {
		return []int{1, 0, o.created, int(o.id)}
	}
	return []int{0, o.expiry(), o.created, int(o.id)}
}

func TestOrderAndAvailability(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.IntRange(0, 4)
		now := rapid.IntRange(0, 100).Draw(t, "now")
		var d device
		var all []model
		for i := range rapid.IntRange(0, 6).Draw(t, "sessions") {
			o := model{
				id: int64(i + 1), kind: Type(rapid.IntRange(0, 2).Draw(t, "type")), secs: 3600 * small.Draw(t, "hours"), usedSecs: 3600 * small.Draw(t, "used hours"),
				data: small.Draw(t, "data"), used: small.Draw(t, "used"), created: small.Draw(t, "created"),
				started: rapid.IntRange(-1, 4).Draw(t, "started"), days: rapid.IntRange(-1, 3).Draw(t, "days"),
			}
			all = append(all, o)
			d.sessions = append(d.sessions, o.session())
		}
		want := int64(0)
		for _, o := range all {
			if o.available(now) && (want == 0 || slices.Compare(o.rank(), all[want-1].rank()) < 0) {
				want = o.id
			}
		}
		got := sessionID(d.best(hour(now), func(*session) bool { return false }))
		if got != want {
			t.Fatalf("session %d is next, want %d of %+v", got, want, all)
		}
	})
}

func TestPlans(t *testing.T) {
	days := func(n uint) *uint { return &n }
	rows := []struct {
		name string
		plan Plan
		ok   bool
	}{
		{"time", timePlan(60), true},
		{"data", dataPlan(1), true},
		{"one byte", dataPlan(0.000001), true},
		{"both", Plan{Type: 2, TimeSecs: 1, DataMB: 1, DownMbits: 1, UpMbits: 1}, true},
		{"the global speed and none of its own", Plan{Type: 0, TimeSecs: 1, UseGlobalSpeed: true}, true},
		{"time that expires with its last second", Plan{Type: 0, TimeSecs: 1, ExpDays: days(0), UseGlobalSpeed: true}, true},
		{"an unknown type", Plan{Type: 3, TimeSecs: 1, DataMB: 1, UseGlobalSpeed: true}, false},
		{"time without time", timePlan(0), false},
		{"both without time", Plan{Type: 2, DataMB: 1, UseGlobalSpeed: true}, false},
		{"data without data", dataPlan(0), false},
		{"less than a byte", dataPlan(0.0000001), false},
		{"negative data", dataPlan(-1), false},
		{"data that is not a number", dataPlan(math.NaN()), false},
		{"endless data", dataPlan(math.Inf(1)), false},
		{"data without sense", dataPlan(1e300), false},
		{"a thousand years", timePlan(4_000_000_000), false},
		{"data that would expire as it starts", Plan{Type: 1, DataMB: 1, ExpDays: days(0), UseGlobalSpeed: true}, false},
		{"no speed", Plan{Type: 0, TimeSecs: 1}, false},
		{"half a speed", Plan{Type: 0, TimeSecs: 1, DownMbits: 5}, false},
		{"a negative speed", Plan{Type: 0, TimeSecs: 1, DownMbits: 5, UpMbits: -1}, false},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if err := r.plan.Check(); (err == nil) != r.ok || err != nil && !errors.Is(err, ErrBadPlan) {
				t.Errorf("%+v: %v", r.plan, err)
			}
		})
	}
}

func TestChangeFromJSON(t *testing.T) {
	var c Change
	if err := json.Unmarshal([]byte(`{"exp_days":null,"down_mbits":7}`), &c); err != nil || !c.NeverExpires || c.ExpDays != nil || *c.DownMbits != 7 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := json.Unmarshal([]byte(`{"exp_days":3}`), &c); err != nil || c.NeverExpires || *c.ExpDays != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := json.Unmarshal([]byte(`{"speed":3}`), &c); err == nil {
		t.Error("an unknown name is taken")
	}
}

func TestCheckpointIsSmall(t *testing.T) {
	var entries []entry
	for i := range 1000 {
		entries = append(entries, entry{int64(i+1) * (1<<28 - 1), use{1<<49 - 1, 1<<49 - 1, (1<<35 - 1) * time.Millisecond}})
	}
	b := packCheckpoint(1<<40, slices.Clone(entries))
	if n := len(b); n > 16+24*len(entries) {
		t.Errorf("%d bytes for %d sessions", n, len(entries))
	}
	if n := len(packCheckpoint(1, slices.Repeat(entries[:1], partSize))); n > client.MaxValue {
		t.Errorf("%d bytes do not fit in a value of %d", n, client.MaxValue)
	}
	seq, back, err := unpackCheckpoint(b)
	if err != nil || seq != 1<<40 || !slices.Equal(back, entries) {
		t.Errorf("read back: sequence %d, %d entries, %v", seq, len(back), err)
	}
	for i := range b[:200] {
		b[i] ^= 4
		if _, _, err := unpackCheckpoint(b); err == nil {
			t.Errorf("a flipped bit in byte %d is not seen", i)
		}
		b[i] ^= 4
	}
}

func FuzzUnpackCheckpoint(f *testing.F) {
	f.Add(packCheckpoint(7, []entry{{1, use{2, 3, time.Second}}, {900, use{1 << 40, 0, time.Hour}}}))
	f.Add([]byte{checkpointVersion, 0, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		seq, entries, err := unpackCheckpoint(b)
		if err != nil {
			return
		}
		seq2, again, err := unpackCheckpoint(packCheckpoint(seq, slices.Clone(entries)))
		if err != nil || seq2 != seq || len(again) != len(entries) {
			t.Fatalf("not the same after packing again: %v, %v", entries, again)
		}
	})
}

func FuzzReadSession(f *testing.F) {
	s := newSession(7, 3, Plan{Type: 2, TimeSecs: 60, DataMB: 1, DownMbits: 1, UpMbits: 2}, epoch)
	f.Add([]byte("s/"), s.records(use{1, 2, 3}, 4)[0].Value)
	f.Add(sessionKey(3, 7), []byte(`{"type":"time","time":1}`))
	f.Add(sessionKey(3, 7), s.records(use{1, 2, 3}, 4)[0].Value)
	f.Add(sessionKey(3, 7), []byte(`{"type":"voucher"}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s, err := readSession(client.Record{Key: key, Value: value})
		if err != nil {
			return
		}
		s.unindexed = false
		again, err := readSession(s.records(s.settled, 0)[0])
		if err != nil || !bytes.Equal(again.records(again.settled, 0)[0].Value, s.records(s.settled, 0)[0].Value) {
			t.Fatalf("not the same after writing again: %v", err)
		}
	})
}

func FuzzReadDevice(f *testing.F) {
	d := &device{id: 3, mac: hwA, ip: ip2, ownIP: ip2, hostname: "x", firstSeen: epoch}
	f.Add(new(Manager).deviceRecords(d)[0].Value)
	f.Add([]byte(`{"mac":"01:00:5e:00:00:01"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, mac, err := readDevice(value); err == nil && !isClientMAC(mac) {
			t.Fatalf("MAC %x", mac)
		}
	})
}
