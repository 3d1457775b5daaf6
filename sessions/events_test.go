package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newTestHub begins above 100.
func newTestHub() *hub {
	h := newHub(func() time.Time { return epoch }, new(atomic.Uint64))
	h.start(100)
	return h
}

// reads returns what a reader has now, as "id name" or "id lost N".
func reads(h *hub, after uint64, f EventFilter) (got []string) {
	r := (&Manager{hub: h}).Events(after, f)
	return more(r)
}

func more(r *EventReader) (got []string) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		e, err := r.Next(ctx)
		if err != nil {
			return got
		}
		text := fmt.Sprint(e.ID, " ", e.Name)
		if e.Name == EventsLost {
			text += fmt.Sprint(" ", e.Lost)
		}
		if e.Restarted {
			text += " restarted"
		}
		got = append(got, text)
	}
}

func TestAReaderBeginsAfterAnID(t *testing.T) {
	h := newTestHub()
	h.emit(1, SessionConnected, 1)    // 101
	h.emit(2, ClientCreated, 1)       // 102
	h.emit(2, "portal:hello", 1)      // 103
	h.emit(1, SessionDisconnected, 1) // 104
	for _, row := range []struct {
		name  string
		after uint64
		f     EventFilter
		want  []string
	}{
		{"all that there is", 0, EventFilter{}, []string{"101 session:connected", "102 client:created", "103 portal:hello", "104 session:disconnected"}},
		{"what follows an id", 102, EventFilter{}, []string{"103 portal:hello", "104 session:disconnected"}},
		{"what follows the newest is nothing", 104, EventFilter{}, nil},
		{"from now on is nothing yet", FromNow, EventFilter{}, nil},
		{"of one device", 0, EventFilter{DeviceID: 2}, []string{"102 client:created", "103 portal:hello"}},
		{"of two names", 0, EventFilter{Names: []string{"portal:hello", SessionConnected}}, []string{"101 session:connected", "103 portal:hello"}},
		{"of a name and a device", 101, EventFilter{DeviceID: 1, Names: []string{SessionConnected}}, nil},
		{"an id of before a restart", 7, EventFilter{DeviceID: 2}, []string{"101 lost 1 restarted", "102 client:created", "103 portal:hello"}},
		{"an id that was never given", 105, EventFilter{Names: []string{"portal:hello"}}, []string{"102 lost 1 restarted", "103 portal:hello"}},
		{"the newest of before a restart", 99, EventFilter{}, []string{"100 lost 1 restarted", "101 session:connected", "102 client:created", "103 portal:hello", "104 session:disconnected"}},
	} {
		if got := reads(h, row.after, row.f); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func TestHistoryIsBoundedInEventsAndBytes(t *testing.T) {
	for _, row := range []struct {
		name  string
		count int
		data  string
		keeps func(h *history) bool
	}{
		{"in events", 3 * historyEvents, "x", func(h *history) bool { return len(h.events)-h.first == historyEvents }},
		{"in bytes", 400, strings.Repeat("x", 10_000), func(h *history) bool { return h.bytes <= historyBytes && h.bytes > historyBytes*9/10 }},
		{"what is too large is not kept", 10, strings.Repeat("x", historyOne), func(h *history) bool { return len(h.events) == 0 && h.bytes == 0 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newTestHub()
			for range row.count {
				h.emit(1, "portal:x", row.data)
			}
			kept := &h.kept[kindOther]
			if !row.keeps(kept) || len(kept.events) > 2*historyEvents+1 {
				t.Errorf("%d events of %d, %d bytes", len(kept.events)-kept.first, len(kept.events), kept.bytes)
			}
			got := reads(h, 0, EventFilter{})
			lost := row.count - (len(kept.events) - kept.first)
			if want := fmt.Sprintf("%d lost %d", 100+lost, lost); got[0] != want || len(got) != row.count-lost+1 {
				t.Errorf("%d read, the first %q, want %q", len(got), got[0], want)
			}
		})
	}
}

func TestAFloodOfMACsDoesNotPushSessionsOut(t *testing.T) {
	h := newTestHub()
	h.emit(1, SessionConnected, 1) // 101
	before := (&Manager{hub: h}).Events(101, EventFilter{Names: []string{SessionConnected, SessionConsumed}})
	h.emit(2, "portal:x", 1) // 102
	for range 3 * historyEvents {
		h.emit(9, ClientCreated, map[string]string{"mac": macA})
	}
	h.emit(1, SessionConsumed, 1)
	last := fmt.Sprint(103+3*historyEvents, " session:consumed")
	if got := reads(h, 0, EventFilter{DeviceID: 1, Names: []string{SessionConnected, SessionConsumed}}); !slices.Equal(got, []string{"101 session:connected", last}) {
		t.Errorf("asked for sessions: %q", got)
	}
	if got := more(before); !slices.Equal(got, []string{last}) {
		t.Errorf("asked for sessions before the flood: %q", got)
	}
	got := reads(h, 0, EventFilter{})
	if want := []string{"101 session:connected", "102 portal:x", fmt.Sprintf("%d lost %d", 102+2*historyEvents, 2*historyEvents)}; !slices.Equal(got[:3], want) || got[len(got)-1] != last {
		t.Errorf("asked for all: %q, want %q", got[:3], want)
	}
	if len(got) != historyEvents+4 {
		t.Errorf("%d events", len(got))
	}
}

// TestReadersMissNothingUntold: whatever is emitted and whoever reads when, what
// a reader got and what it was told it lost are all there was, in order.
func TestReadersMissNothingUntold(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		h := newTestHub()
		names := []string{SessionConnected, ClientCreated, "portal:x"}
		filters := []EventFilter{{}, {DeviceID: 1}, {Names: names[:1]}, {Names: names[1:], DeviceID: 2}}
		type follower struct {
			*EventReader
			got, lost uint64
			last      uint64
		}
		var readers []*follower
		for _, f := range filters {
			readers = append(readers, &follower{EventReader: (&Manager{hub: h}).Events(0, f), last: 100})
		}
		emitted := map[uint64]Event{}
		read := func(r *follower, most int) {
			ctx, cancel := context.WithCancel(bg())
			cancel()
			for range most {
				e, err := r.Next(ctx)
				if err != nil {
					return
				}
				if e.ID <= r.last {
					t.Fatalf("seed %d: %d after %d", seed, e.ID, r.last)
				}
				r.last = e.ID
				if e.Name == EventsLost {
					r.lost += e.Lost
					continue
				}
				r.got++
				if was := emitted[e.ID]; was.Name != e.Name || was.DeviceID != e.DeviceID || !r.filter.wants(&e) {
					t.Fatalf("seed %d: got %+v, emitted was %+v", seed, e, was)
				}
			}
		}
		for range 200 {
			for range rnd.IntN(300) {
				e := Event{ID: h.newest() + 1, Name: names[rnd.IntN(3)], DeviceID: 1 + rnd.Int64N(2)}
				emitted[e.ID] = e
				h.emit(e.DeviceID, e.Name, strings.Repeat("x", rnd.IntN(1+rnd.IntN(3000))))
			}
			read(readers[rnd.IntN(len(readers))], rnd.IntN(2000))
		}
		for i, r := range readers {
			read(r, 1<<30)
			want := uint64(0)
			for _, e := range emitted {
				if filters[i].wants(&e) {
					want++
				}
			}
			switch {
			case i == 0 && r.got+r.lost != uint64(len(emitted)):
				t.Errorf("seed %d: got %d and lost %d of %d", seed, r.got, r.lost, len(emitted))
			case r.got > want || want-r.got > r.lost:
				t.Errorf("seed %d, reader %d: got %d of %d, lost at most %d", seed, i, r.got, want, r.lost)
			case r.After() != h.newest():
				t.Errorf("seed %d, reader %d is at %d of %d", seed, i, r.After(), h.newest())
			}
		}
	}
}

func TestAReaderWaitsForWhatComes(t *testing.T) {
	h := newTestHub()
	m := &Manager{hub: h}
	type answer struct {
		e   Event
		err error
	}
	got := make(chan answer, 1)
	r := m.Events(FromNow, EventFilter{DeviceID: 1})
	next := func() {
		e, err := r.Next(bg())
		got <- answer{e, err}
	}
	go next()
	h.emit(2, SessionConnected, 1)
	h.emit(1, SessionConnected, message{"hello", 7})
	if a := <-got; a.err != nil || a.e.ID != 102 || string(a.e.Data) != `{"message":"hello","session_id":7}` || !a.e.Time.Equal(epoch) {
		t.Errorf("%+v", a)
	}
	go next()
	h.close()
	if a := <-got; !errors.Is(a.err, ErrStopped) {
		t.Errorf("%+v, want that the gateway has stopped", a)
	}
	h.emit(1, SessionConnected, 1)
	if got := reads(h, 0, EventFilter{}); len(got) != 2 {
		t.Errorf("after the end: %q, want the two before", got)
	}
	ctx, cancel := context.WithCancel(bg())
	cancel()
	if _, err := m.Events(FromNow, EventFilter{}).Next(ctx); !errors.Is(err, ErrStopped) {
		t.Errorf("%v", err)
	}
}

// TestAReaderFromBeforeTheFirstID: the gateway's API can be used before the store
// has said which ids are free.
func TestAReaderFromBeforeTheFirstID(t *testing.T) {
	for _, row := range []struct {
		after uint64
		want  []string
	}{
		{FromNow, []string{"51 session:connected"}},
		{0, []string{"51 session:connected"}},
		{12, []string{"50 lost 1 restarted", "51 session:connected"}},
	} {
		h := newHub(func() time.Time { return epoch }, new(atomic.Uint64))
		r := (&Manager{hub: h}).Events(row.after, EventFilter{})
		h.emit(0, SessionConnected, 1) // nobody's
		if got := more(r); got != nil {
			t.Errorf("after %d: %q", row.after, got)
		}
		h.start(50)
		h.emit(1, SessionConnected, 1)
		if got := more(r); !slices.Equal(got, row.want) {
			t.Errorf("after %d: %q, want %q", row.after, got, row.want)
		}
	}
}

func TestSubscribersNeverBlock(t *testing.T) {
	w := newWorld(t).boots().runs()
	dev := w.m.ClientDevice(w.add(macA, ""))
	ch := dev.Subscribe("ping")
	for i := range backlog + 5 {
		dev.Emit("ping", map[string]int{"n": i})
	}
	for i := range backlog {
		if got, want := string(<-ch), fmt.Sprintf(`{"n":%d}`, i); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if got := string(<-ch); got != `{"lost":5}` { // though nothing happens any more
		t.Errorf("got %s, want what was lost", got)
	}
	dev.Emit("ping", "after")
	if got := string(<-ch); got != `"after"` {
		t.Errorf("got %s", got)
	}
	dev.Emit("pong", 1)
	dev.Emit("ping", func() {}) // no JSON
	if got := string(<-ch); !strings.Contains(got, "error") {
		t.Errorf("got %s, want an error", got)
	}
	dev.Unsubscribe("ping", ch)
	if _, open := <-ch; open {
		t.Error("not closed")
	}
	dev.Unsubscribe("ping", ch)
	again := dev.Subscribe("ping")
	w.end()
	if _, open := <-again; open {
		t.Error("not closed with the gateway")
	}
	if _, open := <-dev.Subscribe("ping"); open {
		t.Error("not closed after the gateway's end")
	}
}

// TestLostIsToldBeforeWhatFollows: also when there is room for one message only.
func TestLostIsToldBeforeWhatFollows(t *testing.T) {
	h := newTestHub()
	ch := h.subscribe(1, "ping")
	for i := range backlog + 3 {
		h.emit(1, "ping", i)
	}
	<-ch
	h.emit(1, "ping", "no room for this and the notice")
	for range backlog - 1 {
		<-ch
	}
	h.emit(1, "ping", "last")
	for _, want := range []string{`{"lost":3}`, `{"lost":1}`, `"last"`} {
		if got := string(<-ch); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestIDsGrowOverRestarts: whatever ends the process, no id is given again, and
// a reader from before is told.
func TestIDsGrowOverRestarts(t *testing.T) {
	w := newWorld(t).boots().runs()
	w.add(macA, "")
	var backup bytes.Buffer
	if err := w.m.Backup(bg(), &backup); err != nil {
		t.Fatal(err)
	}
	var newest uint64
	for i, ends := range []struct {
		name string
		do   func()
	}{
		{"killed", func() { w.kills() }},
		{"ended in order", func() { w.end() }},
		{"a power cut", func() { w.kills(); w.boots() }},
		{"ended in order, then the box", func() { w.end(); w.boots() }},
		{"restored from before all this", func() {
			if err := w.m.Restore(bg(), &backup); err != nil {
				t.Fatal(err)
			}
		}},
		{"a power cut after that", func() { w.kills(); w.boots() }},
	} {
		dev := w.m.ClientDevice(w.device(macA))
		first := w.m.hub.newest() + 1
		if first <= newest {
			t.Fatalf("%s: ids begin at %d after %d", ends.name, first, newest)
		}
		for range 3 {
			dev.Emit("portal:x", i)
		}
		newest = w.m.hub.newest()
		got := reads(w.m.hub, first, EventFilter{})
		if want := []string{fmt.Sprint(first+1, " portal:x"), fmt.Sprint(first+2, " portal:x")}; !slices.Equal(got, want) {
			t.Fatalf("%s: %q, want %q", ends.name, got, want)
		}
		if ends.do(); w.end == nil {
			w.runs()
			got := reads(w.m.hub, newest, EventFilter{Names: []string{"portal:x"}})
			if len(got) != 1 || !strings.HasSuffix(got[0], "restarted") {
				t.Errorf("%s: a reader from before is told %q", ends.name, got)
			}
			w.device(macA)
		}
	}
}

// A subscriber gets the events of its device and of its name, and no others.
func TestASubscriberGetsWhatItAskedFor(t *testing.T) {
	h := newHub(func() time.Time { return epoch }, new(atomic.Uint64))
	h.start(1)
	first, second := h.subscribe(1, "mine"), h.subscribe(2, "mine")
	other := h.subscribe(1, "other")
	h.emit(1, "mine", "a")
	h.emit(2, "mine", "b")
	h.emit(3, "mine", "c")
	for i, ch := range []<-chan []byte{first, second} {
		if want := []string{`"a"`, `"b"`}[i]; len(ch) != 1 {
			t.Errorf("subscriber %d got %d events, want 1", i+1, len(ch))
		} else if got := string(<-ch); got != want {
			t.Errorf("subscriber %d got %s, want %s", i+1, got, want)
		}
	}
	if len(other) != 0 {
		t.Errorf("who asked for another event got %s", <-other)
	}
}
