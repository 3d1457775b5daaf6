package link

import (
	"bytes"
	"fmt"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ringed returns a Packet whose ring is plain memory and whose queue of long
// frames is a socket pair, and the queue's other end: the test is the kernel.
func ringed(t testing.TB) (*Packet, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := newBuffers()
	if err != nil {
		t.Fatal(err)
	}
	p := &Packet{fd: fds[0], mem: mem, ring: ring{mapped: make([]byte, ringSlots*slotLen)}}
	p.prepare()
	t.Cleanup(func() {
		mem.release()
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return p, fds[1]
}

const macAt = 76 // where the kernel puts the Ethernet header in a slot

// kernel writes a frame, with its virtio header, into slot i.
func (p *Packet) kernel(i int, frame []byte) *unix.Tpacket2Hdr {
	b := p.ring.mapped[i%ringSlots*slotLen:][:slotLen]
	n := copy(b[macAt-HeaderLen:], frame)
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&b[0]))
	*h = unix.Tpacket2Hdr{Status: unix.TP_STATUS_USER, Len: uint32(len(frame) - HeaderLen), Snaplen: uint32(n - HeaderLen), Mac: macAt}
	return h
}

func text(i, n int) []byte {
	return append(make([]byte, HeaderLen), bytes.Repeat(fmt.Appendf(nil, "%06d", i), n/6)...)
}

func TestLongFramesStandInTheirPlace(t *testing.T) {
	p, queue := ringed(t)
	slot, at := 0, 0
	for round := range 200 { // the ring goes round several times
		var want [][]byte
		for range 1 + round%Batch {
			frame := text(at, 60+at%1200)
			if at%5 == 3 {
				frame = text(at, 9000+at%20000)
			}
			if h := p.kernel(slot, frame); h.Snaplen < h.Len {
				h.Status |= unix.TP_STATUS_COPY
				if _, err := unix.Write(queue, frame); err != nil {
					t.Fatal(err)
				}
			}
			want = append(want, frame)
			slot, at = slot+1, at+1
		}
		for len(want) > 0 {
			got, err := p.Receive()
			if err != nil || len(got) == 0 {
				t.Fatalf("round %d: %d frames, %v; %d are missing", round, len(got), err, len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("round %d: frame %d is %q…, want %q…", round, i, got[i][:30], want[i][:30])
				}
			}
			want = want[len(got):]
		}
	}
	if got, err := p.Receive(); got != nil || err != nil {
		t.Errorf("%d frames of an empty ring, %v", len(got), err)
	}
	for i := range ringSlots {
		if h, _ := p.ring.slot(i); h.Status&unix.TP_STATUS_USER != 0 {
			t.Fatalf("slot %d is not given back", i)
		}
	}
}

func TestALookTellsWhetherFramesWait(t *testing.T) {
	p, _ := ringed(t)
	look := func(when string, want bool) {
		t.Helper()
		if waits, known := p.Look(); waits != want || !known {
			t.Errorf("%s: waits %v, known %v", when, waits, known)
		}
	}
	look("an empty ring", false)
	for i := range Batch + 1 {
		p.kernel(i, text(i, 60))
	}
	look("frames", true)
	p.Receive()
	look("one more than a batch", true)
	p.Receive()
	look("all of them were received, and the last is not given back", false)
	p.kernel(Batch+1, text(0, 60))
	look("another frame", true)
	p.ring.mapped = nil
	if waits, known := p.Look(); waits || known {
		t.Errorf("no ring: waits %v, known %v", waits, known)
	}
}

func TestASlotIsTheCallersUntilTheNextReceive(t *testing.T) {
	p, _ := ringed(t)
	h := p.kernel(0, text(1, 60))
	if got, _ := p.Receive(); len(got) != 1 || h.Status == unix.TP_STATUS_KERNEL {
		t.Errorf("%d frames, status %d", len(got), h.Status)
	}
	if p.Receive(); h.Status != unix.TP_STATUS_KERNEL {
		t.Errorf("status %d", h.Status)
	}
}

func TestWhatTheQueueCouldNotHoldIsLostAndCounted(t *testing.T) {
	p, queue := ringed(t)
	p.kernel(0, text(0, 60))
	p.kernel(1, text(1, 9000)) // no room: not marked
	p.kernel(2, text(2, 9000)).Status |= unix.TP_STATUS_COPY
	p.kernel(3, text(3, 9000)).Status |= unix.TP_STATUS_COPY // its copy is not there
	p.kernel(4, text(4, 60))
	if _, err := unix.Write(queue, text(2, 9000)); err != nil {
		t.Fatal(err)
	}
	got, err := p.Receive()
	if err != nil || len(got) != 3 || !bytes.Equal(got[1], text(2, 9000)) || !bytes.Equal(got[2], text(4, 60)) {
		t.Errorf("%d frames, %v", len(got), err)
	}
	if p.stats.KernelDrops != 2 {
		t.Errorf("counted %d", p.stats.KernelDrops)
	}
}

func TestABatchOfLongFramesIsSmall(t *testing.T) {
	p, queue := ringed(t)
	for i := range 10 {
		p.kernel(i, text(i, 65000)).Status |= unix.TP_STATUS_COPY
	}
	if err := unix.SetsockoptInt(queue, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20); err == nil {
		for i := range 10 {
			if _, err := unix.Write(queue, text(i, 65000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p.Receive(); p.ring.held != batchBytes/65000+1 {
		t.Errorf("%d slots in a batch", p.ring.held)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x01\x01\x36\x00\xa8\x05\x22\x00\x10\x00addressesaddr\x08\x00"), uint32(0x51), uint32(16), uint32(16), uint16(76), uint16(100), uint16(0x8100))
	f.Add([]byte{}, uint32(0x11), uint32(0), uint32(0), uint16(0), uint16(0xffff), uint16(0))
	f.Add([]byte("\xff\xff############"), uint32(0xffffffff), uint32(1<<31), uint32(1<<31), uint16(0xffff), uint16(1), uint16(1))
	p, queue := ringed(f)
	f.Fuzz(func(t *testing.T, frame []byte, status, length, snaplen uint32, mac, tci, tpid uint16) {
		if len(frame) == 0 || len(frame) > slotLen-macAt {
			return
		}
		h := p.kernel(p.ring.head, append(make([]byte, HeaderLen), frame...))
		h.Status, h.Len, h.Snaplen, h.Mac, h.Vlan_tci, h.Vlan_tpid = status|unix.TP_STATUS_USER, length, snaplen, mac, tci, tpid
		_, _ = unix.Write(queue, frame)
		got, err := p.Receive()
		if err != nil || len(got) > 1 {
			t.Errorf("%d frames, %v", len(got), err)
		}
		next := p.kernel(p.ring.head, append(make([]byte, HeaderLen), frame...))
		next.Status, next.Len, next.Snaplen, next.Mac, next.Vlan_tci, next.Vlan_tpid = status|unix.TP_STATUS_USER, length, snaplen, mac, tci, tpid
		if got := p.Sparse(); len(got) > 1 {
			t.Errorf("%d of one go first", len(got))
		}
		for range 4 {
			var rest [64]byte
			_, _, _ = unix.Recvfrom(p.fd, rest[:], unix.MSG_DONTWAIT)
		}
		p.ring.giveBack()
		p.Receive()
		p.ring.giveBack()
	})
}

func TestARingStandsStillWhenTheKernelDropsAndGivesNothing(t *testing.T) {
	type look struct {
		came    string
		dropped uint32
	}
	const frame, full, nothing = "a frame comes", "the ring is full", ""
	for _, row := range []struct {
		name  string
		looks []look
		want  bool
	}{
		{"nothing comes and nothing is dropped", []look{{nothing, 0}, {nothing, 0}, {nothing, 0}}, false},
		{"a drop is a moment's", []look{{nothing, 1}, {nothing, 0}}, false},
		{"two looks find drops and no frame", []look{{nothing, 1}, {nothing, 3}}, true},
		{"they may be far apart", []look{{nothing, 1}, {nothing, 0}, {nothing, 0}, {nothing, 1}}, true},
		{"a frame between them", []look{{nothing, 1}, {frame, 1}, {nothing, 1}}, false},
		{"a full ring drops", []look{{full, 100}, {full, 100}, {full, 100}}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, _ := ringed(t)
			got := false
			for _, look := range row.looks {
				if look.came != nothing {
					p.kernel(p.ring.head, text(1, 60))
				}
				if look.came == frame {
					_, _ = p.Receive()
					_, _ = p.Receive() // gives it back
				}
				got = p.ring.standsStill(look.dropped)
			}
			if got != row.want {
				t.Errorf("it stands still: %v", got)
			}
		})
	}
}
