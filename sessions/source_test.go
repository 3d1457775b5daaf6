package sessions

import (
	"math"
	"testing"
	"time"

	"gatewayd/store/client"
	"pgregory.net/rapid"
)

// bank is a source as the model has it.
type bank struct {
	data  SessionData
	seq   uint64
	exact bool
	moved bool // somebody else changed it since it was read
	since bool // and since a letter was written
}

func (b *bank) takes(data SessionData, seq uint64) {
	if b.exact && seq <= b.seq {
		return
	}
	b.data, b.seq = data, seq
}

// reader is the source that verdict is asked about.
func (b *bank) reader() SessionSource {
	if b.exact {
		return exact{&source{}}
	}
	return &source{}
}

// rebooted returns a shadow as its record has it.
func rebooted(t *rapid.T, s *session, u use) *session {
	for _, r := range s.records(u, 0) {
		if len(r.Key) == len(sessionKeys)+16 {
			n, err := readSession(client.Record{Key: r.Key, Value: r.Value})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no record")
	return nil
}

// TestJournal has a session be used and delivered while Saves fail, are lost,
// or arrive without an answer, the gateway dies at any moment and comes back
// with what its disk has, and the source sells more. In the end the source has
// what was counted, once; at no moment more.
func TestJournal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := Type(rapid.IntRange(0, 2).Draw(t, "type"))
		b := &bank{exact: rapid.Bool().Draw(t, "sequences"), data: SessionData{
			Provider: "acme", Type: uint8(kind), TimeSecs: 1000, DataMb: 1000, DownMbits: 5, UpMbits: 3, CreatedAt: epoch,
			TimeCons: uint(rapid.IntRange(0, 50).Draw(t, "consumed s")), DataCons: rapid.Float64Range(0, 50).Draw(t, "consumed MB"),
		}}
		first, sold := consumption(b.data), b.data.TimeSecs
		p := &provider{order: 1}
		s := newShadow(7, 1, p, offered{data: tidy(b.data), key: "id a"})
		s.startedAt = epoch
		disk := rebooted(t, s, use{})
		u := use{} // as counted by the forwarder; on disk with a record
		pull := func() {
			if s.origin.Letter == nil {
				n, err := s.holding(b.data)
				if err != nil {
					t.Fatal(err)
				}
				*s = n
			}
		}
		settle := func() {
			b.moved = false
			if s.origin.Letter == nil {
				return
			}
			switch s.verdict(b.data, b.reader(), 0) {
			case resend:
				l, err := s.anew(b.data, nil)
				if err != nil {
					t.Fatal(err)
				}
				b.takes(l.Intended, l.Seq)
				s.arrive()
			case arrived:
				s.arrive()
			case lost:
				s.origin.Letter = nil
			}
		}
		write := func() {
			settle()
			pull()
			if err := s.address(b.data, u, nil, 0); err != nil {
				t.Fatal(err)
			}
			disk = rebooted(t, s, u)
			b.since = false
		}
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"use", "write", "arrive", "arrive unheard", "fail", "look", "record", "die", "sell", "spend"}), 1, 40).Draw(t, "steps")
		for _, step := range append(steps, "write", "arrive") {
			switch step {
			case "use":
				u = u.plus(use{uint64(rapid.IntRange(0, 3e6).Draw(t, "up")), uint64(rapid.IntRange(0, 3e6).Draw(t, "down")),
					time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond})
			case "write":
				write()
			case "arrive": // a Save that answers
				if l := s.origin.Letter; l != nil && !b.moved {
					b.takes(l.Intended, l.Seq)
					s.arrive()
				}
			case "arrive unheard":
				if l := s.origin.Letter; l != nil && !b.moved {
					b.takes(l.Intended, l.Seq)
				}
			case "look": // Reload
				settle()
				pull()
			case "record":
				disk = rebooted(t, s, u)
			case "die":
				s = rebooted(t, disk, disk.settled)
				if lost := s.counted(u).less(s.counted(s.settled)); s.counted(u) != s.counted(s.settled).plus(lost) {
					t.Fatalf("after a death %+v was used, before it %+v", s.settled, u)
				}
				u, b.moved = s.settled, b.since
			case "sell":
				b.data.TimeSecs += 10
				sold, b.moved, b.since = sold+10, true, true
			case "spend": // another gateway; one that has no sequences is believed
				if b.exact {
					b.data.TimeCons, b.data.DataCons, b.moved, b.since = b.data.TimeCons+3, b.data.DataCons+2, true, true
					first = first.plus(tally{3, 2e6})
				}
			}
			got, counted := consumption(b.data), first.plus(s.counted(u))
			if !counted.covers(got) {
				t.Fatalf("after %q the source holds %+v, of %+v counted", step, got, counted)
			}
			if s.origin.Letter == nil && !b.exact {
				ct, cb := s.consumed(u)
				if kind.hasTime() && ct < 0 || kind.hasData() && cb < 0 {
					t.Fatalf("after %q %v, %d bytes are consumed", step, ct, cb)
				}
			}
		}
		if got, want := consumption(b.data), first.plus(s.counted(u)); got != want {
			t.Fatalf("the source holds %+v, want %+v", got, want)
		}
		if b.data.TimeSecs != sold {
			t.Fatalf("the source has sold %d s, want %d", b.data.TimeSecs, sold)
		}
	})
}

// FuzzCheckData: what is let in overflows nothing and fits in a record.
func FuzzCheckData(f *testing.F) {
	f.Add(uint8(2), uint(60), 1.0, uint(3), 0.5, int64(1), uint(1), 5, 3, false, int64(1))
	f.Add(uint8(3), uint(math.MaxUint), math.NaN(), uint(math.MaxUint), math.Inf(-1), int64(math.MaxInt64), uint(math.MaxUint), -1, math.MaxInt, true, int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, kind uint8, secs uint, mb float64, tc uint, dc float64, started int64, days uint, down, up int, global bool, created int64) {
		at := time.Unix(started, 0)
		data := tidy(SessionData{
			Provider: "acme", Type: kind, TimeSecs: secs, DataMb: mb, TimeCons: tc, DataCons: dc, StartedAt: &at, ExpDays: &days,
			DownMbits: down, UpMbits: up, UseGlobalSpeed: global, CreatedAt: time.Unix(created, 0),
		})
		if checkData(data) != nil {
			return
		}
		s := newShadow(7, 1, &provider{order: 1}, offered{data: data, key: "id a"})
		u := use{math.MaxUint64 / 3, math.MaxUint64 / 3, math.MaxInt64 / 2}
		for _, u := range []use{{}, u} {
			if left, bytes := s.left(u); left < 0 || bytes < 0 {
				t.Fatalf("%v, %d bytes are left", left, bytes)
			}
			if err := s.address(data, u, nil, 0); err != nil {
				t.Fatal(err)
			}
			if l := s.origin.Letter.Intended; checkData(l) != nil {
				t.Fatalf("the source would be told %+v", l)
			}
			if !s.global && (rate(s.downMbits) <= 0 || rate(s.upMbits) <= 0) {
				t.Fatal("unlimited by mistake")
			}
			s.records(u, 0) // panics on what JSON cannot say
		}
	})
}
