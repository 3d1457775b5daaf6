package link

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receiving by system calls, a batch each: where the kernel gives a port no ring,
// where nobody wants one, and where one stands still.

// controlLen is the space of one PACKET_AUXDATA control message, bytes.
var controlLen = unix.CmsgSpace(int(unsafe.Sizeof(unix.TpacketAuxdata{})))

// calls is what receiving by system calls takes.
type calls struct {
	control []byte // Batch times controlLen
	next    int    // frames to ask for
	full    bool   // the last call brought as many as it was asked for
}

// useCalls has Receive ask the kernel for frames from now on. The socket must
// have no ring.
func (p *Packet) useCalls() error {
	if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("set PACKET_AUXDATA: %w", err)
	}
	p.calls = calls{control: make([]byte, Batch*controlLen), next: Batch}
	for i := range p.rx {
		p.rx[i].hdr.Control = &p.calls.control[i*controlLen]
	}
	return nil
}

// leaveRing gives up a ring that stands still, with what is in it, and receives
// by system calls.
func (p *Packet) leaveRing() error {
	err := p.ring.release()
	if e := unix.SetsockoptTpacketReq(p.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{}); e != nil {
		err = errors.Join(err, fmt.Errorf("give up PACKET_RX_RING: %w", e))
	}
	return errors.Join(err, p.useCalls())
}

// Ringless says whether the port is received from by system calls.
func (p *Packet) Ringless() bool { return p.ring.mapped == nil }

// call is Receive by one recvmmsg(2).
func (p *Packet) call() ([][]byte, error) {
	for i := range p.rx[:p.calls.next] {
		p.rx[i].hdr.SetControllen(controlLen)
	}
	p.calls.full = false
	for range Batch {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.rx[0])), uintptr(p.calls.next), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			p.calls.full = int(n) == p.calls.next
			return p.collect(int(n)), nil
		case unix.EAGAIN:
			p.calls.next = Batch
			return nil, nil
		case unix.EINTR:
		default:
			if err := gone(errno); err != nil {
				return nil, fmt.Errorf("receive from port: %w", err)
			}
			p.stats.Malformed++ // the kernel has dropped this one; the next may do
		}
	}
	return p.frames[:0], nil
}

// collect makes frames of the n messages that recvmmsg filled, and sizes the next
// batch by them.
func (p *Packet) collect(n int) [][]byte {
	kept, bytes := 0, 0
	for i := range n {
		bytes += int(p.rx[i].len)
		p.tags[i] = p.auxiliary(i)
		if f := p.longFrame(i); f != nil {
			p.frames[kept] = f
			kept++
		}
	}
	p.calls.next = min(Batch, max(1, batchBytes*n/max(bytes, 1)))
	return p.frames[:kept]
}

// auxiliary is the tag that the kernel tells of beside message i.
func (p *Packet) auxiliary(i int) tag {
	if p.rx[i].hdr.Controllen < unix.SizeofCmsghdr {
		return tag{}
	}
	at := p.calls.control[i*controlLen:][:controlLen]
	c := (*unix.Cmsghdr)(unsafe.Pointer(&at[0]))
	if c.Level != unix.SOL_PACKET || c.Type != unix.PACKET_AUXDATA {
		return tag{}
	}
	aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&at[unix.CmsgLen(0)]))
	return tagOf(&unix.Tpacket2Hdr{Status: aux.Status, Snaplen: aux.Snaplen, Vlan_tci: aux.Vlan_tci, Vlan_tpid: aux.Vlan_tpid}, p.priority)
}

// charged says whether frames wait for which the socket is charged at least as
// much as n slots of a ring are. It asks the kernel only after a full batch.
func (p *Packet) charged(n int) bool {
	if !p.calls.full {
		return false
	}
	var memory [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(memory))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(p.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&memory)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && memory[unix.SK_MEMINFO_RMEM_ALLOC] >= uint32(n*slotLen)
}
