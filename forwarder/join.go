package forwarder

import (
	"slices"

	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
)

// Wire packets of a flow that are in one batch leave as one super-packet, which
// is one way through the kernel for all of them. Each was admitted and translated
// by itself and is billed by itself; none waits for another.
const (
	joinFlows   = 128 // places for the flows of a batch
	joinBuffers = 16  // super-packets of a batch
	joinRefused = 3   // in a row, whose packets were taken one by one: the kernel does not know the kind
	joinKinds   = 8
)

// joins are the super-packets of a port's batch.
type joins struct {
	mergers [link.Batch]packet.Merger // by the place of their first frame
	first   [link.Batch]uint8         // by place: that of the first frame it leaves with
	leave   [link.Batch]uint8         // how many leave with a first one
	flows   [joinFlows]joinFlow
	batch   uint32 // flows of an older one are forgotten
	joined  int    // frames behind a first one
	buffers [][]byte
	lent    int // of buffers, in this batch
	lend    func() []byte
	kinds   [link.Batch]uint8 // by the place of their first frame
	refused [joinKinds]int    // super-packets, by kind

	offered [link.Batch][]byte
	took    [link.Batch]bool
	place   [link.Batch]uint8 // in offered, of each first frame
}

// joinFlow is where the last frames of a flow leave.
type joinFlow struct {
	batch uint32
	first uint8
}

func newJoins() *joins {
	j := &joins{batch: 1}
	j.lend = j.buffer
	return j
}

// buffer is room for a super-packet; nil when all is lent.
func (j *joins) buffer() []byte {
	if j.lent == joinBuffers {
		return nil
	}
	if j.lent == len(j.buffers) {
		j.buffers = append(j.buffers, make([]byte, packet.MaxMerged))
	}
	j.lent++
	return j.buffers[j.lent-1]
}

// kind is which kind of super-packet p and others of its flow make: the kernel may know one and not the other.
func kind(p *packet.Packet) (k uint8) {
	if p.Proto == packet.UDP {
		k |= 1
	}
	if p.Version == 6 {
		k |= 2
	}
	if p.Tagged {
		k |= 4
	}
	return k
}

// add takes the frame in a place of the batch; p is nil if it is joined with
// nothing.
func (j *joins) add(place int, p *packet.Packet) {
	j.first[place], j.leave[place] = uint8(place), 1
	if p == nil {
		j.batch++ // a later fragment, for one, must not be overtaken by its flow
		return
	}
	flow, k := &j.flows[flowOf(p)], kind(p)
	if flow.batch == j.batch && j.refused[k] < joinRefused && j.mergers[flow.first].Add(p, j.lend) {
		j.first[place] = flow.first
		j.leave[flow.first]++
		j.joined++
		return
	}
	j.mergers[place].Begin(p)
	j.kinds[place] = k
	*flow = joinFlow{j.batch, uint8(place)}
}

// flowOf is the place of a packet's flow.
func flowOf(p *packet.Packet) uint32 {
	hosts := p.Hosts()
	h := uint32(hosts>>32^hosts)*0x9e3779b1 ^ (uint32(p.SrcPort)<<16|uint32(p.DstPort))*0x85ebca77
	return h >> 16 % joinFlows
}

// send offers a batch to a link, with what is joined in it as one.
func (j *joins) send(l link.Link, frames [][]byte, taken []bool) error {
	if j.joined == 0 {
		return l.Send(frames, taken)
	}
	n := 0
	for i, raw := range frames {
		if int(j.first[i]) != i {
			continue
		}
		if j.leave[i] > 1 {
			raw = j.mergers[i].Frame()
		}
		j.offered[n], j.place[i] = raw, uint8(n)
		n++
	}
	err := l.Send(j.offered[:n], j.took[:n])
	for i := range frames {
		taken[i] = j.took[j.place[j.first[i]]]
	}
	for i := range frames {
		if j.leave[i] > 1 && int(j.first[i]) == i && err == nil {
			err = j.review(l, i, frames, taken)
		}
	}
	return err
}

// review offers the packets of a super-packet that the kernel did not take one
// by one. It takes them when it does not know the kind, and after a few such no
// more of that kind are made.
func (j *joins) review(l link.Link, first int, frames [][]byte, taken []bool) error {
	refused := &j.refused[j.kinds[first]]
	if taken[first] {
		*refused = 0
		return nil
	}
	n := 0
	for i := first; i < len(frames); i++ {
		if int(j.first[i]) == first {
			j.offered[n] = frames[i]
			n++
		}
	}
	err := l.Send(j.offered[:n], j.took[:n])
	if !slices.Contains(j.took[:n], false) {
		*refused++
	}
	n = 0
	for i := first; i < len(frames); i++ {
		if int(j.first[i]) == first {
			taken[i] = j.took[n]
			n++
		}
	}
	return err
}

// begin begins a batch.
func (j *joins) begin() {
	j.batch++
	j.joined, j.lent = 0, 0
}
