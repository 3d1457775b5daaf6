package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// batchBytes is how much one Receive brings when frames are large: enough to
// spread a system call's cost, little enough to stay in a core's cache until it
// is sent, and to copy in well under a millisecond, during which the collector
// cannot stop this thread.
const batchBytes = 128 << 10

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A Packet is a port behind an AF_PACKET socket.
type Packet struct {
	fd     int
	mem    *buffers // of frames longer than a slot
	frames [Batch][]byte
	early  [sparseMost][]byte
	ring   ring     // not mapped: there is none
	calls  calls    // what is received by then
	out    transmit // ring of what is sent

	rx        [Batch]mmsghdr // for frames longer than a slot, or all
	rxVectors [Batch]unix.Iovec
	tags      [Batch]tag // theirs
	priority  bool       // priority tags are kept

	tx        [Batch]mmsghdr
	txVectors [Batch]unix.Iovec

	stats  Stats
	denied error // why the kernel gave no ring

	outDenied error // likewise no transmit ring
	broken    error // why nothing can be received any more
}

// NewPacket makes a link of an AF_PACKET socket of type SOCK_RAW that is bound
// to its port and has PACKET_VNET_HDR set. It receives from a ring, or by system
// calls if ringless is set or the kernel gives it none. The link owns fd from then
// on; on an error it still belongs to the caller. Send uses that socket only until
// SendBy.
func NewPacket(fd int, ringless bool) (*Packet, error) {
	on, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR)
	if err != nil {
		return nil, fmt.Errorf("read PACKET_VNET_HDR of descriptor %d: %w", fd, err)
	}
	if on == 0 {
		return nil, fmt.Errorf("socket of descriptor %d has no PACKET_VNET_HDR", fd)
	}
	mem, err := newBuffers()
	if err != nil {
		return nil, err
	}
	p := &Packet{fd: fd, mem: mem}
	p.prepare()
	if !ringless {
		p.ring, p.denied = openRing(fd)
	}
	if p.Ringless() {
		if err := p.useCalls(); err != nil {
			_ = mem.release()
			return nil, errors.Join(p.denied, err)
		}
	}
	return p, nil
}

// KeepPriority has frames keep their priority tags, too, as in a bridge.
func (p *Packet) KeepPriority() { p.priority = true }

// Denied is why the kernel gave the port no ring to receive from, and none to send by;
// nil when it did, or was not asked for one.
func (p *Packet) Denied() (receive, send error) { return p.denied, p.outDenied }

// SendBy has short frames sent through a transmit ring on fd, another socket that is
// bound to the port, to no protocol, and has PACKET_VNET_HDR set. The link owns fd
// from then on; after an error, which says why the kernel gives it no ring, fd still
// belongs to the caller, and the link goes on without it.
func (p *Packet) SendBy(fd int) error {
	p.out, p.outDenied = openTransmit(fd)
	return p.outDenied
}

// prepare points all messages at their buffers, once.
func (p *Packet) prepare() {
	for i := range p.rx {
		p.rxVectors[i].Base = &p.mem.frame[i][0]
		p.rxVectors[i].SetLen(bufferLen)
		p.rx[i].hdr.Iov = &p.rxVectors[i]
		p.rx[i].hdr.SetIovlen(1)
		p.tx[i].hdr.Iov = &p.txVectors[i]
		p.tx[i].hdr.SetIovlen(1)
	}
}

// FD implements Link.
func (p *Packet) FD() int { return p.fd }

// Stats returns the counters, after adding what the kernel dropped since the
// last call, and gives up a ring that these say stands still. It belongs to the
// link's goroutine.
func (p *Packet) Stats() Stats {
	if p.fd < 0 {
		return p.stats
	}
	s, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS) // which clears it
	if err != nil {
		return p.stats
	}
	p.stats.KernelDrops += uint64(s.Drops)
	if !p.Ringless() && p.ring.standsStill(s.Drops) {
		p.broken = p.leaveRing()
	}
	return p.stats
}

// Close implements Link.
func (p *Packet) Close() error {
	if p.fd < 0 {
		return nil
	}
	fd := p.fd
	p.fd = -1
	err := errors.Join(p.mem.release(), p.ring.release(), p.out.close())
	if e := unix.Close(fd); e != nil {
		err = fmt.Errorf("close port: %w", e)
	}
	return err
}
