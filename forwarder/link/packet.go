package link

import (
	"encoding/binary"
	"fmt"
	"unsafe"

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

// controlLen is the space of one PACKET_AUXDATA control message.
var controlLen = unix.CmsgSpace(int(unsafe.Sizeof(unix.TpacketAuxdata{})))

// A Packet is a port behind an AF_PACKET socket.
type Packet struct {
	fd     int
	mem    *buffers
	frames [Batch][]byte
	next   int // frames to ask for at the next Receive

	rx        [Batch]mmsghdr
	rxVectors [Batch]unix.Iovec
	control   []byte // Batch × controlLen

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
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return nil, fmt.Errorf("set PACKET_AUXDATA: %w", err)
	}
	mem, err := newBuffers()
	if err != nil {
		return nil, err
	}
	p := &Packet{fd: fd, mem: mem, next: Batch, control: make([]byte, Batch*controlLen)}
	for i := range p.rx {
		p.rxVectors[i].Base = &mem.frame[i][0]
		p.rxVectors[i].SetLen(bufferLen)
		p.rx[i].hdr.Iov = &p.rxVectors[i]
		p.rx[i].hdr.SetIovlen(1)
		p.rx[i].hdr.Control = &p.control[i*controlLen]
		p.tx[i].hdr.Iov = &p.txVectors[i]
		p.tx[i].hdr.SetIovlen(1)
	}
	return p, nil
}

// FD implements Link.
func (p *Packet) FD() int { return p.fd }

// Receive implements Link by one recvmmsg(2).
func (p *Packet) Receive() ([][]byte, error) {
	for i := range p.rx[:p.next] {
		p.rx[i].hdr.SetControllen(controlLen)
	}
	for range Batch {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.rx[0])), uintptr(p.next), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return p.collect(int(n)), nil
		case unix.EAGAIN:
			p.next = Batch
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

// collect makes frames of the n messages that recvmmsg filled, and sizes the
// next batch by them.
func (p *Packet) collect(n int) [][]byte {
	kept, bytes := 0, 0
	for i := range p.rx[:n] {
		m := &p.rx[i]
		bytes += int(m.len)
		if m.hdr.Flags&unix.MSG_TRUNC != 0 || m.len > MaxFrame {
			p.stats.Truncated++
			continue
		}
		frame := p.mem.frame[i][:m.len]
		if aux := p.auxdata(i); aux != nil && aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
			frame = p.retag(i, int(m.len), aux)
		}
		p.frames[kept] = frame
		kept++
	}
	p.next = min(Batch, max(1, batchBytes*n/max(bytes, 1)))
	return p.frames[:kept]
}

// auxdata returns what the kernel says beside message i, nil if it says nothing.
func (p *Packet) auxdata(i int) *unix.TpacketAuxdata {
	if p.rx[i].hdr.Controllen < unix.SizeofCmsghdr {
		return nil
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&p.control[i*controlLen]))
	if c.Level != unix.SOL_PACKET || c.Type != unix.PACKET_AUXDATA {
		return nil
	}
	return (*unix.TpacketAuxdata)(unsafe.Pointer(&p.control[i*controlLen+unix.CmsgLen(0)]))
}

// retag returns frame i of n bytes with the VLAN tag of aux put back behind the
// MAC addresses, and the offsets in its header moved with it.
func (p *Packet) retag(i, n int, aux *unix.TpacketAuxdata) []byte {
	const addresses = 12 // bytes: destination and source MAC
	if aux.Vlan_tci&0x0fff == 0 || n < HeaderLen+addresses {
		return p.mem.frame[i][:n]
	}
	p.stats.Tagged++
	tpid := uint16(0x8100)
	if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = aux.Vlan_tpid
	}
	frame := p.mem.tagged(i, n)
	copy(frame, frame[4:4+HeaderLen+addresses])
	binary.BigEndian.PutUint16(frame[HeaderLen+addresses:], tpid)
	binary.BigEndian.PutUint16(frame[HeaderLen+addresses+2:], aux.Vlan_tci)
	const needsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	if frame[0]&needsCsum != 0 {
		addUint16(frame[6:], 4) // csum_start
	}
	if frame[1] != 0 {
		addUint16(frame[2:], 4) // hdr_len
	}
	return frame
}

func addUint16(b []byte, n uint16) {
	binary.LittleEndian.PutUint16(b, binary.LittleEndian.Uint16(b)+n)
}

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
	err := p.mem.release()
	if e := unix.Close(fd); e != nil {
		err = fmt.Errorf("close port: %w", e)
	}
	return err
}
