package link

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A port's receive ring (TPACKET_V2, packet(7)). The kernel writes a frame into
// the next slot and gives it away by its status; frames longer than a slot it
// queues on the socket as well and marks the slot, so that one look tells the
// order of both.
const (
	slotLen   = 2048 // bytes: a frame of 1500 and all headers
	ringSlots = 2048 // 4 MiB: milliseconds of small frames, and still in cache
	ringBlock = 64 << 10
)

// ring is the mapped receive ring.
type ring struct {
	mapped []byte
	head   int  // next slot to look at
	held   int  // slots before head that the caller still reads
	gave   bool // frames since the last look at the kernel's counters
	barren int  // looks since the last frame that found drops
	ahead  ahead
}

// barrenLooks is after how many of them a ring stands still. One may be a moment's.
const barrenLooks = 2

// openRing gives a socket its ring. PACKET_VNET_HDR must be set.
func openRing(fd int) (ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return ring{}, fmt.Errorf("set TPACKET_V2: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1); err != nil {
		return ring{}, fmt.Errorf("set PACKET_COPY_THRESH: %w", err)
	}
	req := unix.TpacketReq{Block_size: ringBlock, Block_nr: ringSlots * slotLen / ringBlock,
		Frame_size: slotLen, Frame_nr: ringSlots}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return ring{}, fmt.Errorf("set PACKET_RX_RING of %d bytes: %w", ringSlots*slotLen, err)
	}
	mapped, err := unix.Mmap(fd, 0, ringSlots*slotLen, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{})
		return ring{}, fmt.Errorf("map receive ring: %w", err)
	}
	return ring{mapped: mapped}, nil
}

func (r *ring) release() error {
	if r.mapped == nil {
		return nil
	}
	mapped := r.mapped
	*r = ring{}
	if err := unix.Munmap(mapped); err != nil {
		return fmt.Errorf("unmap receive ring: %w", err)
	}
	return nil
}

// slot is the header of slot i and all of its bytes.
func (r *ring) slot(i int) (*unix.Tpacket2Hdr, []byte) {
	at := i % ringSlots * slotLen
	b := r.mapped[at : at+slotLen : at+slotLen]
	return (*unix.Tpacket2Hdr)(unsafe.Pointer(&b[0])), b
}

// filled says whether a frame waits in the slot so many behind the next one.
func (r *ring) filled(behind int) bool {
	h, _ := r.slot(r.head + behind)
	return atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER != 0
}

// standsStill says, told what the kernel dropped since it was asked last, whether
// it has stopped to fill the ring. That is what it does for good, on every slot
// from then on, once a frame came whose offloads a virtio header has no word for
// (tpacket_rcv, since kernel 5.6): it keeps the slot for its own. Before 6.2 a
// UDP super-packet is such a frame, and an SCTP one is to this day.
func (r *ring) standsStill(dropped uint32) bool {
	if r.gave {
		r.gave, r.barren = false, 0
		return false
	}
	if dropped == 0 {
		return false
	}
	if r.filled(0) {
		return false // it is full
	}
	r.barren++
	return r.barren >= barrenLooks
}

// giveBack returns the slots that the caller has done with to the kernel.
func (r *ring) giveBack() {
	for i := r.head - r.held; i < r.head; i++ {
		h, _ := r.slot(i)
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
	}
	r.forget()
	r.held = 0
	r.head %= ringSlots
}

// Receive implements Link. Frames that fit in a slot stay there; the longer
// ones are fetched from the socket by one recvmmsg(2).
func (p *Packet) Receive() ([][]byte, error) {
	if p.fd < 0 {
		return nil, fmt.Errorf("receive from port: %w", unix.EBADF)
	}
	r := &p.ring
	if r.mapped == nil {
		if p.broken != nil {
			return nil, fmt.Errorf("receive from port: %w", p.broken)
		}
		return p.call()
	}
	r.giveBack()
	kept, long, bytes := 0, 0, 0
	for kept < Batch && bytes < batchBytes {
		h, b := r.slot(r.head)
		status := atomic.LoadUint32(&h.Status)
		if status&unix.TP_STATUS_USER == 0 {
			break
		}
		first := r.went()
		r.head++
		r.held++
		if first {
			continue
		}
		bytes += int(min(h.Len, MaxFrame))
		if status&unix.TP_STATUS_COPY != 0 {
			p.tags[long] = tagOf(h, p.priority)
			p.frames[kept] = nil // in its place among the others
			long++
			kept++
		} else if frame := p.short(h, b); frame != nil {
			p.frames[kept] = frame
			kept++
		} else {
			p.stats.KernelDrops++ // longer than a slot, and no room on the socket
		}
	}
	if long > 0 {
		kept = p.fetch(kept, long)
	}
	if r.held == 0 {
		return nil, p.failure()
	}
	r.gave = true
	return p.frames[:kept], nil
}

// short is the whole frame that stands in a slot; nil if it has no room there.
func (p *Packet) short(h *unix.Tpacket2Hdr, b []byte) []byte {
	start := int(h.Mac) - HeaderLen
	if h.Snaplen < h.Len || h.Snaplen > slotLen || start < 4 || start+HeaderLen+int(h.Snaplen) > slotLen {
		return nil
	}
	frame := b[start : start+HeaderLen+int(h.Snaplen)]
	if t := tagOf(h, p.priority); t.valid {
		p.stats.Tagged++
		frame = t.put(b[start-4:][:len(frame)+4])
	}
	return frame
}

// Waiting says whether at least n frames wait behind those of the last
// Receive, n from 1 to ringSlots - Batch. It costs a look at one slot; without a
// ring it is an estimate, and costs a system call when the last batch was full.
func (p *Packet) Waiting(n int) bool {
	if p.fd < 0 {
		return false
	}
	if p.ring.mapped == nil {
		return p.charged(n)
	}
	return p.ring.filled(n - 1)
}

// Look says whether the next frame can be seen in the ring; known is false where
// there is none, and only asking the kernel tells.
func (p *Packet) Look() (waits, known bool) {
	if p.ring.mapped == nil {
		return false, false
	}
	return p.ring.filled(0), true
}

// fetch reads the long frames of a batch of n, and closes the gaps of those
// that cannot be had. It returns how many frames there are then.
func (p *Packet) fetch(n, long int) int {
	got := p.receiveLong(long)
	at, kept := 0, 0
	for _, f := range p.frames[:n] {
		if f == nil {
			if at < got {
				f = p.longFrame(at)
			} else {
				p.stats.KernelDrops++
			}
			at++
		}
		if f != nil {
			p.frames[kept] = f
			kept++
		}
	}
	return kept
}

// receiveLong reads up to n frames from the socket's queue and returns how many
// came.
func (p *Packet) receiveLong(n int) int {
	for range Batch {
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.rx[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(got)
		case unix.EINTR:
		case unix.EAGAIN:
			return 0
		default:
			p.stats.Malformed++ // the kernel has dropped this one
			return 0
		}
	}
	return 0
}

// longFrame is message i; nil when it was longer than a buffer.
func (p *Packet) longFrame(i int) []byte {
	m := &p.rx[i]
	if m.hdr.Flags&unix.MSG_TRUNC != 0 || m.len > MaxFrame {
		p.stats.Truncated++
		return nil
	}
	if t := p.tags[i]; t.valid && m.len >= HeaderLen+addressesLen {
		p.stats.Tagged++
		return t.put(p.mem.tagged(i, int(m.len)))
	}
	return p.mem.frame[i][:m.len]
}

// failure is why an empty port may be gone; nil when it is merely empty.
func (p *Packet) failure() error {
	errno, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = gone(unix.Errno(errno))
	} else if e, ok := err.(unix.Errno); ok {
		err = gone(e)
	}
	if err != nil {
		return fmt.Errorf("receive from port: %w", err)
	}
	return nil
}
