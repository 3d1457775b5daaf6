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
const batchBytes = 512 << 10

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
	ring   ring

	rx        [Batch]mmsghdr // for frames longer than a slot
	rxVectors [Batch]unix.Iovec
	tags      [Batch]tag // theirs

	tx        [Batch]mmsghdr
	txVectors [Batch]unix.Iovec

	stats Stats
}

// NewPacket makes a link of an AF_PACKET socket of type SOCK_RAW that is bound
// to its port and has PACKET_VNET_HDR set. The link owns fd from then on; on an
// error it still belongs to the caller.
func NewPacket(fd int) (*Packet, error) {
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
	if p.ring, err = openRing(fd); err != nil {
		_ = mem.release()
		return nil, err
	}
	p.prepare()
	return p, nil
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
// last call. It belongs to the link's goroutine.
func (p *Packet) Stats() Stats {
	if p.fd >= 0 { // reading clears the kernel's counter
		if s, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			p.stats.KernelDrops += uint64(s.Drops)
		}
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
	err := errors.Join(p.mem.release(), p.ring.release())
	if e := unix.Close(fd); e != nil {
		err = fmt.Errorf("close port: %w", e)
	}
	return err
}
