package nat

import "math/bits"

// wheelSize is a power of two above the longest timer.
func wheelSize(longest uint32) int { return 1 << bits.Len32(min(longest, 1<<16-2)+1) }

// over says whether a flow's timer has run out: more than its time-out has
// passed, whole seconds being what is known.
func (t *Table) over(f *flow) bool { return t.deadline(f) <= t.second }

// deadline is the first second in which a flow is over.
func (t *Table) deadline(f *flow) uint32 { return f.seen + t.timeouts[f.state] + 1 }

// schedule hangs a flow into the wheel; one that is due further on than the
// wheel reaches is looked at earlier.
func (t *Table) schedule(i, due uint32) {
	last := t.wheelAt + uint32(len(t.wheel)) - 1
	due = min(max(due, t.wheelAt), last)
	head := &t.wheel[due&uint32(len(t.wheel)-1)]
	l := &t.links[i]
	l.due, l.wheelPrev, l.wheelNext = due, 0, *head
	if *head != 0 {
		t.links[*head].wheelPrev = i
	}
	*head = i
}

func (t *Table) unschedule(i uint32) {
	l := &t.links[i]
	if l.wheelPrev != 0 {
		t.links[l.wheelPrev].wheelNext = l.wheelNext
	} else {
		t.wheel[l.due&uint32(len(t.wheel)-1)] = l.wheelNext
	}
	if l.wheelNext != 0 {
		t.links[l.wheelNext].wheelPrev = l.wheelPrev
	}
}

// Expire ends what has run out, in at most budget steps (a flow or a second
// each), and frees at most budget rested ports of each protocol. What is left
// over is done by the next call. Before that, half as many flows end of those who
// leave, and of addresses that went away. Call it once a batch and at least once a second.
func (t *Table) Expire(now int64, budget int) {
	t.clock(now)
	t.depart(budget / 2)
	t.sweepAway(budget / 2)
	for i := range t.places {
		if p := &t.places[i]; p.filled {
			p.pools[0].wake(t.second, budget)
			p.pools[1].wake(t.second, budget)
		}
	}
	for t.wheelAt <= t.second && budget > 0 {
		head := &t.wheel[t.wheelAt&uint32(len(t.wheel)-1)]
		for ; *head != 0 && budget > 0; budget-- {
			i := *head
			if due := t.deadline(&t.flows[i]); due > t.second {
				t.unschedule(i)
				t.schedule(i, due)
			} else {
				t.remove(i)
			}
		}
		if *head != 0 {
			return
		}
		t.wheelAt++
		budget--
	}
}
