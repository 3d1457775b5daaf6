package link

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A port's transmit ring (TPACKET_V2, packet(7)), on a socket of its own, since
// one that has such a ring sends nothing else. The kernel makes packets of many slots
// in one call, for three quarters of what sendmmsg(2) costs; there are no messages and
// vectors to read. The virtio header's hdr_len says how much of a frame it copies:
// all, since what it is lent has to be paid for page by page.
const (
	transmitSlots = 512                    // 1 MiB: eight batches that a device has not sent yet
	transmitAt    = unix.SizeofTpacket2Hdr // of a frame in its slot (TPACKET2_HDRLEN without its sockaddr_ll)
	maxTransmit   = slotLen - transmitAt   // bytes of a frame
	hdrLenAt      = 2                      // of hdr_len in the virtio header
	notTaken      = unix.TP_STATUS_SEND_REQUEST | unix.TP_STATUS_WRONG_FORMAT
)

// transmit is the mapped transmit ring.
type transmit struct {
	fd      int
	mapped  []byte      // nil: there is none
	next    int         // slot
	nothing unix.Msghdr // to be sent beside what is in the ring
}

// openTransmit gives a socket its transmit ring. PACKET_VNET_HDR must be set.
func openTransmit(fd int) (transmit, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return transmit{}, fmt.Errorf("set TPACKET_V2: %w", err)
	}
	req := unix.TpacketReq{Block_size: ringBlock, Block_nr: transmitSlots * slotLen / ringBlock,
		Frame_size: slotLen, Frame_nr: transmitSlots}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_TX_RING, &req); err != nil {
		return transmit{}, fmt.Errorf("set PACKET_TX_RING of %d bytes: %w", transmitSlots*slotLen, err)
	}
	mapped, err := unix.Mmap(fd, 0, transmitSlots*slotLen, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return transmit{}, fmt.Errorf("map transmit ring: %w", err)
	}
	return transmit{fd: fd, mapped: mapped}, nil
}

func (t *transmit) close() (err error) {
	if t.mapped == nil {
		return nil
	}
	if e := unix.Munmap(t.mapped); e != nil {
		err = fmt.Errorf("unmap transmit ring: %w", e)
	}
	if e := unix.Close(t.fd); e != nil {
		err = fmt.Errorf("close transmit ring: %w", e)
	}
	*t = transmit{}
	return err
}

// carries says whether the ring takes all frames.
func (t *transmit) carries(frames [][]byte) bool {
	if t.mapped == nil {
		return false
	}
	for _, f := range frames {
		if len(f) > maxTransmit {
			return false
		}
	}
	return true
}

// slot is the header of slot i and all of its bytes.
func (t *transmit) slot(i int) (*unix.Tpacket2Hdr, []byte) {
	at := i % transmitSlots * slotLen
	b := t.mapped[at : at+slotLen : at+slotLen]
	return (*unix.Tpacket2Hdr)(unsafe.Pointer(&b[0])), b
}

// fill writes frames into free slots and returns how many.
func (t *transmit) fill(frames [][]byte) int {
	for i, f := range frames {
		h, b := t.slot(t.next + i)
		if i == transmitSlots || atomic.LoadUint32(&h.Status) != unix.TP_STATUS_AVAILABLE {
			return i
		}
		b = b[transmitAt:]
		copy(b, f)
		binary.LittleEndian.PutUint16(b[hdrLenAt:], uint16(len(f)-HeaderLen))
		h.Len = uint32(len(f))
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_SEND_REQUEST)
	}
	return len(frames)
}

// taken is how many of the next n slots the kernel has made packets of; those after
// them are free again, and the first is the next one.
func (t *transmit) taken(n int) int {
	done := 0
	for done < n {
		if h, _ := t.slot(t.next + done); atomic.LoadUint32(&h.Status)&notTaken != 0 {
			break
		}
		done++
	}
	for i := done; i < n; i++ {
		h, _ := t.slot(t.next + i)
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_AVAILABLE)
	}
	t.next = (t.next + done) % transmitSlots
	return done
}

// sendRing is Send by the transmit ring. The kernel stops at the first frame that it
// does not take, and says why only when it took none before it: the rest is offered
// again, from the frame in question on.
func (p *Packet) sendRing(frames [][]byte, taken []bool) error {
	t, waited := &p.out, false
	for at := 0; at < len(frames); {
		n := t.fill(frames[at:])
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(t.fd), uintptr(unsafe.Pointer(&t.nothing)), unix.MSG_DONTWAIT)
		if done := t.taken(n); done > 0 {
			for i := range done {
				taken[at+i] = true
			}
			at += done
			continue
		}
		if errno == 0 { // no slot is free
			errno = unix.EAGAIN
		}
		if err := gone(errno); err != nil {
			clear(taken[at:len(frames)])
			return fmt.Errorf("send to port: %w", err)
		}
		switch {
		case errno == unix.EAGAIN && !waited:
			waited = true
			waitForRoom(t.fd)
		case errno == unix.EAGAIN: // a full buffer refuses them all
			clear(taken[at:len(frames)])
			p.stats.Full += uint64(len(frames) - at)
			return nil
		default:
			p.stats.refuse(errno)
			taken[at] = false
			at++
		}
	}
	return nil
}
