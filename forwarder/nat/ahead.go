package nat

import "sync/atomic"

// Ahead lets a caller that has a batch of packets ask for the memory that their
// look-ups will read before it does the first of them, so that the machine
// fetches it all at once and not piece by piece. A guess may be wrong; nothing
// but time depends on it.
//
// Out and In guess the flow of a packet from its hash's first place; Client
// reads the flow and says whose it is.

// AheadOut guesses the number of the flow that Out will find; 0: none.
func (t *Table) AheadOut(k *Tuple) uint32 { return t.byInside.guess(t.hashInside(k)) }

// AheadIn likewise guesses what In will find.
func (t *Table) AheadIn(proto uint8, ext Endpoint, remote uint32, remotePort uint16) uint32 {
	return t.byOutside.guess(t.secret.flowIn(proto, ext, remote, remotePort))
}

// AheadClient reads a guessed flow; the slot of its client.
func (t *Table) AheadClient(guess uint32) uint32 { return atomic.LoadUint32(&t.flows[guess].slot) }

// guess is the number in a hash's first place, if the hash's high bits fit.
func (x *index) guess(h uint32) uint32 {
	s := x.slots[h&x.mask]
	if n := s & x.number; x.slot(h, n) == s {
		return n
	}
	return 0
}
