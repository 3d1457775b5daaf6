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
	case o.stalls || o.ending || o.waits:
		return unsure
	case o.running == 0:
		return silent
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
	return runs
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
	for _, op := range line { // in another order these may have been the ones
		if drops(op) && slices.ContainsFunc(all, func(w window) bool { return int64(w.begin) <= op.Return && op.Call <= int64(w.end) }) {
			all = append(all, window{time.Duration(op.Call), time.Duration(op.Return)})
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
	}
	return before != after || before == unsure
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
