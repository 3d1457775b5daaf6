package nat

// TCP flags as in the header's last flag octet (RFC 9293 section 3.1).
const (
	FIN uint8 = 0x01
	SYN uint8 = 0x02
	RST uint8 = 0x04
	ACK uint8 = 0x10
)

// NoScale says that a SYN had no window scale option (RFC 7323).
const NoScale uint8 = 0xff

// Segment is what a TCP header says; the zero value serves for UDP and ICMP.
type Segment struct {
	Flags    uint8
	Seq, Ack uint32
	Window   uint16 // as in the header, unscaled
	WScale   uint8  // the window scale option of a SYN, NoScale for none
	Len      int    // payload bytes
}

// The directions of a segment, which index flow.half and flow.shift.
const (
	outbound = 0
	inbound  = 1
)

// The bits of flow.marks, shifted left by the direction.
const (
	synSeen  uint8 = 1 << 0 // sent a SYN
	synAcked uint8 = 1 << 2 // the other side has acknowledged it
	finSeen  uint8 = 1 << 4 // sent a FIN
	known    uint8 = 1 << 6 // ack and edge say something
)

const (
	// guessedShift is the window scale of a side whose SYN was never seen;
	// most systems use 6 to 8.
	guessedShift = 8
	maxShift     = 14 // RFC 7323 section 2.3
	// oldest is how far behind the receiver's acknowledgement a segment may
	// end, when its window is smaller: a retransmission, a keep-alive.
	oldest = 65535
	// openData is the most payload in a SYN (RFC 7413) that may be left
	// unacknowledged by the SYN-ACK.
	openData = 4096
)

// half is what one side has sent, in sequence numbers.
type half struct {
	end  uint32 // behind the last octet sent, SYN and FIN counted
	ack  uint32 // the highest acknowledgement: the receive window's left edge
	edge uint32 // the highest right edge of the receive window
}

// after compares sequence numbers (RFC 9293 section 3.4).
func after(a, b uint32) bool { return int32(a-b) > 0 }

// track moves a TCP flow's state; a new state starts its timer. It reports
// whether the segment must leave last-seen alone.
func (t *Table) track(i uint32, f *flow, d int, s *Segment) (quiet bool) {
	next := f.state
	switch {
	case s.Flags&(SYN|RST) == 0:
		next = f.advance(d, s)
	case s.Flags&RST != 0:
		if f.state != closing && f.resets(d, s) {
			next = reset
		}
		quiet = true
	case s.Flags&ACK == 0:
		next = f.syn(d, s)
	default:
		next = f.synAck(d, s)
	}
	if next != f.state {
		t.refresh(i) // first: a kill between the two must not leave a short timer long begun
		f.state = next
		t.unschedule(i)
		t.schedule(i, t.deadline(f))
	}
	return quiet
}

// advance takes a segment with neither SYN nor RST; like syn and synAck it
// returns the state that follows.
func (f *flow) advance(d int, s *Segment) state {
	end := s.Seq + uint32(s.Len)
	if s.Flags&FIN != 0 {
		end++
	}
	if d == inbound && !f.plausible(s.Seq, end) {
		return f.state // sent by the remote it is late; by somebody else, a guess
	}
	me := &f.half[d]
	if f.marks&((synSeen|known)<<d) == 0 || after(end, me.end) {
		me.end = end
	}
	if s.Flags&ACK != 0 {
		f.acknowledge(d, s.Ack, uint32(s.Window)<<f.shift[d])
	}
	if s.Flags&FIN != 0 {
		f.marks |= finSeen << d
	}
	if f.state == reset && d == inbound {
		return reset
	}
	return f.settled()
}

// acknowledge takes a segment's acknowledgement and window, in octets.
func (f *flow) acknowledge(d int, ack, window uint32) {
	me, you := &f.half[d], &f.half[d^1]
	if f.marks&(known<<d) == 0 {
		me.ack, me.edge = ack, ack+window
		f.marks |= known << d
	}
	if after(ack, me.ack) {
		me.ack = ack
	}
	if after(ack+window, me.edge) {
		me.edge = ack + window
	}
	if f.marks&(synSeen<<(d^1)) != 0 && !after(you.end, ack) {
		f.marks |= synAcked << (d ^ 1)
	}
}

// settled is the state that follows from what both sides have sent.
func (f *flow) settled() state {
	const (
		bothKnown = known | known<<1
		bothFIN   = finSeen | finSeen<<1
		bothSYN   = synSeen | synSeen<<1
	)
	unacked := f.marks & bothSYN &^ (f.marks >> 2) // synAcked lies two bits above synSeen
	switch {
	case f.marks&bothFIN == bothFIN:
		return closing
	case f.marks&bothKnown == bothKnown && unacked == 0:
		return established
	}
	return opening
}

// plausible says whether an inbound segment fits the client's window, which a
// sender that cannot see the connection does not know.
func (f *flow) plausible(seq, end uint32) bool {
	if f.marks&(known<<outbound) == 0 {
		return false
	}
	h := &f.half[outbound]
	return !after(seq, h.edge) && !after(h.ack-max(h.edge-h.ack, oldest), end)
}

// resets says whether an RST is inside the window of the side that gets it, or
// acknowledges the SYN that it answers (RFC 9293 section 3.5.2).
func (f *flow) resets(d int, s *Segment) bool {
	me, you := &f.half[d], &f.half[d^1]
	switch {
	case f.marks&(known<<(d^1)) != 0:
		return s.Seq-you.ack < max(you.edge-you.ack, 1)
	case f.marks&(synSeen<<(d^1)) != 0:
		return s.Flags&ACK != 0 && you.end-s.Ack < openData
	default: // the other side has been silent: its sender takes back what it sent
		return s.Seq == me.end
	}
}

// syn takes a SYN without ACK. The client's starts the flow afresh, except one
// sent again and one that crosses or answers the remote's; the remote's does so
// only once the flow is closed, as anybody may have sent it.
func (f *flow) syn(d int, s *Segment) state {
	first := f.marks&(synSeen<<d) == 0
	switch {
	case f.state == closing || f.state == reset:
		f.restart()
	case d == outbound:
		behind := f.half[d].end - (s.Seq + 1 + uint32(s.Len))
		if !first && (behind == 0 || f.state == established && behind < oldest) {
			return f.state
		}
		if f.state != opening || f.marks != synSeen<<inbound {
			f.restart()
		}
	case f.state != opening || !first || f.marks&^(synSeen<<outbound) != 0:
		return f.state
	}
	f.offer(d, s)
	return opening
}

// synAck takes the answer to a SYN.
func (f *flow) synAck(d int, s *Segment) state {
	if f.state != opening || f.marks&(synSeen<<(d^1)) == 0 || f.half[d^1].end-s.Ack >= openData {
		return f.state
	}
	f.offer(d, s)
	f.acknowledge(d, s.Ack, uint32(s.Window))
	f.marks |= synAcked << (d ^ 1)
	return f.settled()
}

// restart forgets the connection before this one.
func (f *flow) restart() {
	f.marks = 0
	f.half = [2]half{}
}

// offer notes a SYN's sequence number and window scale, which counts when both
// sides offer one.
func (f *flow) offer(d int, s *Segment) {
	f.half[d].end = s.Seq + 1 + uint32(s.Len)
	if f.marks&(synSeen<<d) != 0 {
		return
	}
	f.marks |= synSeen << d
	f.shift[d] = s.WScale
	if s.WScale != NoScale {
		f.shift[d] = min(s.WScale, maxShift)
	}
	if f.marks&(synSeen<<(d^1)) != 0 && (f.shift[0] == NoScale || f.shift[1] == NoScale) {
		f.shift = [2]uint8{}
	}
}
