package races

import (
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// Elapsed says for how long a device's sessions ran, by the test's own clock: least
// counts from the end of the call that let packets pass to the beginning of the
// one that stopped them, most from the beginning to the end. ok is false when the
// history is in no order. patience is for looking for one.
//
// What may have switched the device is in doubt for as long as the call took, or as
// the packet did; between two of those all orders say the same.
func (h *History) Elapsed(device int, patience time.Duration) (least, most time.Duration, ok bool) {
	model := deviceModel.ToModel()
	verdict, info := porcupine.CheckOperationsVerbose(model, h.ops[device], patience)
	if verdict != porcupine.Ok {
		return 0, 0, false
	}
	if len(h.ops[device]) == 0 {
		return 0, 0, true
	}
	line := info.PartialLinearizationsOperations()[0][0]
	runs := replay(line)
	doubts := doubtful(line, runs)
	for i, w := range doubts {
		most += w.end - w.begin
		if i+1 == len(doubts) {
			break
		}
		still := doubts[i+1].begin - w.end
		switch runs[lastBy(line, w.end)+1] {
		case passing:
			least, most = least+still, most+still
		case unsure:
			most += still
		}
	}
	return least, most, true
}

// running is whether a session of the device runs.
type running uint8

const (
	silent running = iota
	passing
	unsure
)

func (o *owner) runs() running {
	switch {
	case o.stalls || o.ending || o.waits || o.lags():
		return unsure
	case o.running == 0 || o.slowly: // time at a throttle is not counted
		return silent
	case o.sold[o.running-1].usedUp(): // a pause ends it, and says that the device is not connected
		return unsure
	}
	return passing
}

// replay says whether a session runs before a line of calls and after each of
// them, in whatever states the device may be in that go on to the line's end.
func replay(line []porcupine.Operation) []running {
	states := [][]owner{{{}}}
	for _, op := range line {
		var next []owner
		for _, o := range states[len(states)-1] {
			for _, n := range o.steps(op.Input.(Call), op.Output.(Answer)) {
				if !slices.Contains(next, n) {
					next = append(next, n)
				}
			}
		}
		states = append(states, next)
	}
	runs := make([]running, len(states))
	for i := len(line); i >= 0; i-- {
		if i < len(line) { // without those that go on to none of the next
			op := line[i]
			states[i] = slices.DeleteFunc(states[i], func(o owner) bool {
				return !slices.ContainsFunc(o.steps(op.Input.(Call), op.Output.(Answer)), func(n owner) bool { return slices.Contains(states[i+1], n) })
			})
		}
		runs[i] = states[i][0].runs()
		for _, o := range states[i] {
			if o.runs() != runs[i] {
				runs[i] = unsure
			}
		}
	}
	for i, op := range line { // that pause may have been before, in another order
		if op.Input.(Call).Verb == Pause && op.Output.(Answer).Said == Not && runs[i] != silent {
			for j := i; j < len(line) && (j == i || !tellsAll(line[j])); j++ {
				runs[j+1] = unsure
			}
		}
	}
	return runs
}

// tellsAll says that after a call all orders agree whether a session runs.
func tellsAll(op porcupine.Operation) bool {
	switch op.Input.(Call).Verb {
	case Connect, Disconnect, Pause, Pass:
		return true
	}
	return false
}

// window is from a moment to another one.
type window struct{ begin, end time.Duration }

// doubtful are the times in which a device may have been switched, in order and
// apart from each other.
func doubtful(line []porcupine.Operation, runs []running) (all []window) {
	for i, op := range line {
		if switches(op, runs[i], runs[i+1]) {
			all = append(all, window{time.Duration(op.Call), time.Duration(op.Return)})
		}
	}
	for n := -1; n != len(all); { // in another order these may have been the ones
		n = len(all)
		for _, op := range line {
			w := window{time.Duration(op.Call), time.Duration(op.Return)}
			meets := func(o window) bool { return o.begin <= w.end && w.begin <= o.end }
			if mightSwitch(op) && !slices.Contains(all, w) && slices.ContainsFunc(all, meets) {
				all = append(all, w)
			}
		}
	}
	slices.SortFunc(all, func(a, b window) int { return int(a.begin - b.begin) })
	apart := all[:0]
	for _, w := range all {
		if n := len(apart); n > 0 && w.begin <= apart[n-1].end {
			apart[n-1].end = max(apart[n-1].end, w.end)
			continue
		}
		apart = append(apart, w)
	}
	return apart
}

// switches says whether a call may have switched its device.
func switches(op porcupine.Operation, before, after running) bool {
	switch op.Input.(Call).Verb {
	case Connect, Disconnect, Pause, Resume:
		said := op.Output.(Answer).Said
		return said == "" || said == Doubt || before != after
	case Pass:
		return before != after || drops(op) && before != silent
	case Extend: // it may have run out, and have gone on
		return before != silent
	}
	return before != after || before == unsure
}

// mightSwitch says whether a call may have switched its device where, in another
// order, it did not. A session that is used up to the last byte ends as it is
// paused, which says that the device is not connected.
func mightSwitch(op porcupine.Operation) bool {
	switch op.Input.(Call).Verb {
	case Pause, Delete, Wind, Sell, Extend, Slow, Create:
		return true
	}
	return drops(op)
}

func drops(op porcupine.Operation) bool {
	return op.Input.(Call).Verb == Pass && op.Output.(Answer).Session == Dropped
}

// lastBy is the place in a line of the last call that had ended by a moment; -1:
// none had.
func lastBy(line []porcupine.Operation, end time.Duration) int {
	for i := len(line) - 1; i >= 0; i-- {
		if line[i].Return <= int64(end) {
			return i
		}
	}
	return -1
}
