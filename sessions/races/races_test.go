package races

import (
	"slices"
	"testing"
	"time"
)

// at is a call that was answered between two milliseconds.
type at struct {
	call       Call
	answer     Answer
	begin, end int
}

func of(verb Verb, session int64) Call { return Call{Verb: verb, Session: session} }

var (
	bought  = at{Call{Verb: Create, Time: Long}, Answer{Session: 1}, 0, 1}
	connect = at{of(Connect, 0), Answer{Session: 1}, 10, 20}
	ends    = at{of(Disconnect, 0), Answer{}, 110, 130}
)

func TestHistories(t *testing.T) {
	small := Call{Verb: Create, Limit: Parcel}
	slow := Call{Verb: Create, Limit: Parcel, Slow: true}
	passes := func(session int64, from, n int) (all []at) {
		for i := range n {
			all = append(all, at{of(Pass, 0), Answer{Session: session}, from + 4*i, from + 4*i + 2})
		}
		return all
	}
	short := Call{Verb: Create, Time: Short, Slow: true}
	two := []at{{Call{Verb: Create, Time: Long}, Answer{Session: 2}, 30, 35}}
	ranOut, deleted := at{of(RunOut, 1), Answer{}, 40, 50}, []at{{of(Delete, 2), Answer{}, 70, 72}}
	throttled := append([]at{{slow, Answer{Session: 1}, 0, 1}, connect}, passes(1, 30, 3)...)
	for _, row := range []struct {
		name        string
		calls       []at
		verdict     Verdict
		least, most int // ms
	}{
		{"nothing", nil, Linear, 0, 0},
		{"from a connect to a disconnect", []at{bought, connect, ends}, Linear, 90, 120},
		{"a second connect changes nothing", []at{bought, connect, {of(Connect, 0), Answer{Said: Already}, 50, 60}, ends}, Linear, 90, 120},
		{"a pause stops the time", []at{bought, connect, {of(Pause, 0), Answer{}, 40, 50}, {of(Resume, 0), Answer{}, 70, 80}, ends}, Linear, 50, 100},
		{"two connects, one after the other", []at{bought, connect, {of(Connect, 0), Answer{Session: 1}, 50, 60}}, Refused, 0, 0},
		{"a packet is dropped while it runs", []at{bought, connect, {of(Pass, 0), Answer{Session: Dropped}, 30, 31}, ends}, Refused, 0, 0},
		{"a packet passes before", []at{bought, {of(Pass, 0), Answer{Session: Somebody}, 2, 3}, connect, ends}, Refused, 0, 0},
		{"packets pass once it connects", []at{bought, connect, {of(Pass, 0), Answer{Session: Dropped}, 11, 12}, {of(Pass, 0), Answer{Session: Somebody}, 14, 15}, ends}, Linear, 90, 120},
		{"packets pass and then do not", []at{bought, connect, {of(Pass, 0), Answer{Session: Somebody}, 11, 12}, {of(Pass, 0), Answer{Session: Dropped}, 14, 15}, ends}, Refused, 0, 0},
		{"what is extended may have run out meanwhile", []at{{Call{Verb: Create, Time: Short}, Answer{Session: 1}, 0, 1}, connect,
			{of(Extend, 1), Answer{}, 100, 3500}, {of(Disconnect, 0), Answer{}, 3600, 3700}}, Linear, 180, 3690},
		{"what does not fit ends it", []at{{small, Answer{Session: 1}, 0, 1}, connect, {of(Pass, 0), Answer{Session: 1}, 30, 31},
			{of(Pass, 0), Answer{Session: Dropped}, 50, 52}, {of(Disconnect, 0), Answer{Said: Not}, 110, 130}}, Linear, 10, 42},
		{"a pause that ends it, or came before", []at{{small, Answer{Session: 1}, 0, 1}, connect, {of(Pass, 0), Answer{Session: 1}, 21, 22},
			{of(Pause, 0), Answer{Said: Not}, 5, 60}, {of(Pass, 0), Answer{Session: Dropped}, 100, 101}}, Linear, 0, 96},
		{"a pause that came before, or ends it", []at{{small, Answer{Session: 1}, 0, 1}, connect, {of(Pass, 0), Answer{Session: 1}, 21, 22},
			{of(Pause, 0), Answer{Said: Not}, 15, 60}, {of(Pass, 0), Answer{Session: Dropped}, 100, 101}}, Linear, 0, 91},
		{"the look says less than passed", []at{{small, Answer{Session: 1}, 0, 1}, connect, {of(Pass, 0), Answer{Session: 1}, 30, 31}, ends,
			{of(Look, 0), Answer{All: Describe(1, "available", false, 0)}, 140, 141}}, Refused, 0, 0},
		{"what is used up goes on at its throttle, whose time is not counted", slices.Concat(throttled, []at{ends}), Linear, 10, 46},
		{"without a throttle it does not", slices.Concat([]at{{small, Answer{Session: 1}, 0, 1}, connect}, passes(1, 30, 3)), Refused, 0, 0},
		{"a packet is dropped at a throttle", slices.Concat(throttled, passes(Dropped, 50, 1)), Refused, 0, 0},
		{"what is bought takes over from a throttle", slices.Concat(throttled, []at{{Call{Verb: Create, Time: Long}, Answer{Session: 2}, 50, 51}},
			passes(2, 60, 3), []at{ends}), Linear, 58, 106},
		{"what is bought does not", slices.Concat(throttled, []at{{Call{Verb: Create, Time: Long}, Answer{Session: 2}, 50, 51}},
			passes(1, 60, mostLate+1)), Refused, 0, 0},
		{"a throttle ends with the disconnect", slices.Concat(throttled, []at{ends, {of(Connect, 0), Answer{Session: 1}, 140, 141}}), Refused, 0, 0},
		{"what took over by itself is deleted before control heard of that", slices.Concat(throttled[:3], two, passes(2, 60, 1), deleted, passes(1, 80, 2), []at{ends}), Linear, 18, 92},
		{"what took over as time was up is deleted before control heard of that", slices.Concat([]at{{short, Answer{Session: 1}, 0, 1}, connect}, two, []at{ranOut},
			passes(2, 60, 1), deleted, passes(1, 80, 2), []at{ends}), Linear, 28, 92},
		{"what took over is deleted after what had no throttle", slices.Concat([]at{{Call{Verb: Create, Time: Short}, Answer{Session: 1}, 0, 1}, connect}, two, []at{ranOut},
			passes(2, 60, 1), deleted, passes(1, 80, 2), []at{ends}), Refused, 0, 0},
		{"a throttle that is taken away ends", slices.Concat(throttled, []at{{of(Slow, 1), Answer{}, 50, 51}}, passes(1, 60, 1)), Refused, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := New(func() time.Duration { return 0 })
			for _, c := range row.calls {
				h.Add(c.call, c.answer, time.Duration(c.begin)*time.Millisecond, time.Duration(c.end)*time.Millisecond)
			}
			if verdict, why := h.Judge(time.Minute); verdict != row.verdict {
				t.Errorf("%s, want %s: %s", verdict, row.verdict, why)
			}
			least, most, ok := h.Elapsed(0, time.Minute)
			if ok != (row.verdict == Linear) || least != time.Duration(row.least)*time.Millisecond || most != time.Duration(row.most)*time.Millisecond {
				t.Errorf("%v to %v (%v), want %d to %d ms", least, most, ok, row.least, row.most)
			}
		})
	}
}
