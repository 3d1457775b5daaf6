package forwarder

import (
	"errors"
	"time"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/clients"
)

// deadlines are the grants that end by themselves, in a binary heap with the
// next one at its root, so that a round looks at those that are due and not at
// all clients.
type deadlines struct {
	heap  []deadline
	place []uint32 // by slot: its place in the heap plus one; 0: none
}

type deadline struct {
	at   time.Duration // since boot
	slot uint32
}

// init makes room for so many slots.
func (d *deadlines) init(a *arena.Arena, slots int) error {
	err := errors.Join(arena.Make(a, &d.heap, slots), arena.Make(a, &d.place, slots))
	d.heap = d.heap[:0]
	return err
}

// next is the earliest deadline; clients.NoTime when there is none.
func (d *deadlines) next() time.Duration {
	if len(d.heap) == 0 {
		return clients.NoTime
	}
	return d.heap[0].at
}

// set notes when a slot's grant ends, in place of what was noted before;
// clients.NoTime: never.
func (d *deadlines) set(slot uint32, at time.Duration) {
	i := int(d.place[slot]) - 1
	if at == clients.NoTime {
		if i >= 0 {
			d.remove(i)
		}
		return
	}
	if i < 0 {
		i = len(d.heap)
		d.heap = append(d.heap, deadline{})
	}
	d.settle(i, deadline{at, slot})
}

// remove takes place i out; the last one fills it.
func (d *deadlines) remove(i int) {
	last := len(d.heap) - 1
	d.place[d.heap[i].slot] = 0
	moved := d.heap[last]
	d.heap = d.heap[:last]
	if i < last {
		d.settle(i, moved)
	}
}

// settle puts an entry where it belongs, from place i on, whose own is gone.
func (d *deadlines) settle(i int, e deadline) {
	for i > 0 && e.at < d.heap[(i-1)/2].at {
		d.put(i, d.heap[(i-1)/2])
		i = (i - 1) / 2
	}
	for {
		child := 2*i + 1
		if child+1 < len(d.heap) && d.heap[child+1].at < d.heap[child].at {
			child++
		}
		if child >= len(d.heap) || e.at <= d.heap[child].at {
			break
		}
		d.put(i, d.heap[child])
		i = child
	}
	d.put(i, e)
}

func (d *deadlines) put(i int, e deadline) {
	d.heap[i] = e
	d.place[e.slot] = uint32(i) + 1
}
