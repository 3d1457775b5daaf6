package limiter

import "gatewayd/forwarder/arena"

// list is flows, or sides, in order, by number; 0 is none.
type list struct{ first, last uint32 }

// links are the successors of those that are in lists of one kind, by number: each is in one of them at most.
type links []uint32

// newLinks makes room for the numbers below n.
func newLinks(a *arena.Arena, k *links, n int) error { return arena.Make(a, (*[]uint32)(k), n) }

// push adds a number to the end of a list.
func (k links) push(l *list, n uint32) {
	if k[n] = 0; l.first == 0 {
		l.first = n
	} else {
		k[l.last] = n
	}
	l.last = n
}

// pop takes the first number out of a list that has one.
func (k links) pop(l *list) uint32 {
	n := l.first
	if l.first = k[n]; l.first == 0 {
		l.last = 0
	}
	return n
}

// unpop puts a number back that was popped.
func (k links) unpop(l *list, n uint32) {
	if k[n] = l.first; l.first == 0 {
		l.last = n
	}
	l.first = n
}
