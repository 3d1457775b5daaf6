package clients

import (
	"encoding/binary"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Capture has the frames of one client copied, for control to read. Control writes it:
// ID last, and 0 first; it is taken in at the next Changed of any slot.
type Capture struct {
	ID   atomic.Uint64 // never used before; 0: none
	Slot atomic.Uint64 // the client's
	MAC  atomic.Uint64 // the client's, 48 bits, first octet highest
	Most atomic.Uint64 // bytes of each frame that are copied, from its Ethernet header on
	_    [4]uint64
}

// A ring of copies has a worker as its writer and control as its reader, one ring a
// worker and capture, so that neither waits for another. What finds no room is lost, and
// counted. A record is a header and the frame, in one piece on multiples of 8; a
// record of no length says that the next one is at the beginning. The reader takes
// the writer's word for nothing.
const (
	copyHeader = 40      // bytes: length of the record, bytes copied, bytes of the frame, port and way, id, time, checksum's place
	minRing    = 1 << 18 // bytes: two of the longest frames
	maxRing    = 1 << 28
	copyRing   = page // of the words in front of a ring, bytes
)

// copiesWords are a ring's counts since the table was formatted, each writer's on a
// cache line of its own.
type copiesWords struct {
	// Written by the worker.
	head atomic.Uint64               // bytes of records written
	lost [NumPorts - 1]atomic.Uint64 // frames that found no room, by port: LAN and WAN
	_    [5]uint64

	// Written by control.
	tail atomic.Uint64 // bytes of records read
	_    [7]uint64
}

// Copy is what is known of a copied frame.
type Copy struct {
	ID     uint64        // of the capture
	When   time.Duration // since boot
	Port   uint8         // LAN or WAN
	Sent   bool          // it left by the port; else it came in
	Length int           // of the frame, bytes, from its Ethernet header on
	// Where a checksum is left to the device: from which byte on it sums up, and where from
	// there it belongs; 0: none is.
	SumFrom, SumAt uint16
}

// Copies is a ring of copies.
type Copies struct {
	words *copiesWords
	data  []byte // a power of two
}

func validRing(bytes uint64) bool {
	return bytes == 0 || bytes >= minRing && bytes <= maxRing && bytes&(bytes-1) == 0
}

// copiesSize is what a ring of so many bytes takes, its words included.
func copiesSize(bytes int) int {
	if bytes == 0 {
		return 0
	}
	return copyRing + bytes
}

func newCopies(mem []byte) Copies {
	return Copies{words: (*copiesWords)(unsafe.Pointer(&mem[0])), data: mem[copyRing:]}
}

// Captures says whether clients can be captured.
func (t *Table) Captures() bool { return len(t.copies) > 0 }

// Copies returns the ring of a worker for a capture, an index of Header.Captures.
func (t *Table) Copies(worker, capture int) *Copies { return &t.copies[worker*MaxCaptures+capture] }

// Put copies the first bytes of a frame, which lie in two parts; false when there is no
// room. Forwarder's side. The reader sees it at once.
func (c *Copies) Put(what Copy, head, rest []byte) bool {
	size := uint64(len(c.data))
	put := c.words.head.Load() &^ 7
	need := uint64(copyHeader+len(head)+len(rest)+7) &^ 7
	at := put & (size - 1)
	skip := uint64(0)
	if at+need > size {
		skip = size - at
	}
	if need > size/2 || put+skip+need-c.words.tail.Load() > size {
		c.words.lost[what.Port].Store(c.words.lost[what.Port].Load() + 1)
		return false
	}
	if skip > 0 {
		binary.NativeEndian.PutUint32(c.data[at:], 0)
		put += skip
		at = 0
	}
	b := c.data[at : at+need]
	binary.NativeEndian.PutUint32(b, uint32(need))
	binary.NativeEndian.PutUint32(b[4:], uint32(len(head)+len(rest)))
	binary.NativeEndian.PutUint32(b[8:], uint32(what.Length))
	b[12], b[13] = what.Port, 0
	if what.Sent {
		b[13] = 1
	}
	binary.NativeEndian.PutUint64(b[16:], what.ID)
	binary.NativeEndian.PutUint64(b[24:], uint64(what.When))
	binary.NativeEndian.PutUint16(b[32:], what.SumFrom)
	binary.NativeEndian.PutUint16(b[34:], what.SumAt)
	copy(b[copyHeader+copy(b[copyHeader:], head):], rest)
	c.words.head.Store(put + need)
	return true
}

// Next returns the next copy; false when there is none. Control's side. raw lies in the
// ring, may be written to, and is the reader's until Done. What no writer of ours writes
// ends the reading of what is there.
func (c *Copies) Next(from uint64) (what Copy, raw []byte, next uint64, ok bool) {
	size, head := uint64(len(c.data)), c.words.head.Load()
	for range 2 {
		if head-from > size || from%8 != 0 {
			return what, nil, head &^ 7, false
		}
		if head-from < copyHeader {
			return what, nil, from, false
		}
		at := from & (size - 1)
		if rest := size - at; rest < copyHeader || binary.NativeEndian.Uint32(c.data[at:]) == 0 {
			from += rest
			continue
		}
		b := c.data[at:]
		need := uint64(binary.NativeEndian.Uint32(b))
		length := uint64(binary.NativeEndian.Uint32(b[4:]))
		what = Copy{
			Length: int(binary.NativeEndian.Uint32(b[8:])), Port: b[12], Sent: b[13] != 0,
			ID: binary.NativeEndian.Uint64(b[16:]), When: time.Duration(binary.NativeEndian.Uint64(b[24:])),
			SumFrom: binary.NativeEndian.Uint16(b[32:]), SumAt: binary.NativeEndian.Uint16(b[34:]),
		}
		if need%8 != 0 || need > min(head-from, uint64(len(b))) || copyHeader+length > need || what.Port > WAN ||
			what.Length < int(length) || what.Length > maxFrame {
			return what, nil, head &^ 7, false
		}
		return what, b[copyHeader : copyHeader+length : copyHeader+length], from + need, true
	}
	return what, nil, head &^ 7, false
}

// maxFrame bounds what a frame can say to be long, bytes.
const maxFrame = 1 << 17

// Begin returns from where on a new reader reads: what is there is a former one's.
func (c *Copies) Begin() uint64 {
	head := c.words.head.Load() &^ 7
	c.words.tail.Store(head)
	return head
}

// Done gives back the room of what was read before a place that Next has returned.
func (c *Copies) Done(next uint64) { c.words.tail.Store(next) }

// Lost returns how many frames found no room, by port: LAN and WAN, ever.
func (c *Copies) Lost() (n [NumPorts - 1]uint64) {
	for port := range n {
		n[port] = c.words.lost[port].Load()
	}
	return n
}

// Release gives the memory of all records back. Nobody reads the ring; a frame that is
// copied meanwhile may be lost.
func (c *Copies) Release() {
	_ = unix.Madvise(c.data, unix.MADV_REMOVE) // memory that is no file's stays
}

// CapturesTaken says whether each worker has taken in the captures as they were
// after so many changes.
func (h *Header) CapturesTaken(changes uint64) bool {
	for i := range h.workers() {
		if int64(h.Worker[i].Changes.Load()-changes) < 0 {
			return false
		}
	}
	return true
}
