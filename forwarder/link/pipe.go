package link

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// pipeFrames is how many frames each direction of a Pipe holds, as a port's ring.
const pipeFrames = ringSlots

// Pipe returns two ends of a link in memory: what one sends the other receives,
// in order and copied. A direction holds 1024 frames; a frame beyond that is
// not taken. The two ends may be used by two goroutines. It is for tests of
// what lies between links.
func Pipe() (a, b Link) {
	ab, ba := newDirection(), newDirection()
	return &pipeEnd{in: ba, out: ab}, &pipeEnd{in: ab, out: ba}
}

// direction is a bounded queue of frames with a descriptor that is readable
// while frames wait.
type direction struct {
	mu     sync.Mutex
	frames [pipeFrames][]byte // buffers are reused
	first  int                // index of the oldest frame
	count  int
	closed bool
	event  int     // eventfd; -1 once the receiving end is closed
	word   [8]byte // of the event counter
}

func newDirection() *direction {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		panic(fmt.Sprintf("link.Pipe: eventfd: %v", err))
	}
	return &direction{event: fd}
}

// pipeEnd is one end of a Pipe.
type pipeEnd struct {
	in, out *direction
	held    [Batch][]byte
}

func (e *pipeEnd) FD() int { return e.in.event }

func (e *pipeEnd) Receive() ([][]byte, error) {
	d := e.in
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count == 0 {
		if d.closed {
			return nil, fmt.Errorf("receive from pipe: %w", ErrClosed)
		}
		return nil, nil
	}
	n := min(d.count, Batch)
	for i := range n {
		// The buffers change places, so that a later Send cannot write to
		// what the caller still reads.
		slot := &d.frames[(d.first+i)%pipeFrames]
		e.held[i], *slot = *slot, e.held[i]
	}
	d.first, d.count = (d.first+n)%pipeFrames, d.count-n
	if d.count == 0 && !d.closed {
		_, _ = unix.Read(d.event, d.word[:]) // makes it unreadable; EAGAIN if it is
	}
	return e.held[:n], nil
}

// Waiting says whether at least n frames wait.
func (e *pipeEnd) Waiting(n int) bool {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	return e.in.count >= n
}

func (e *pipeEnd) Send(frames [][]byte, taken []bool) error {
	d := e.out
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		clear(taken[:len(frames)])
		return fmt.Errorf("send to pipe: %w", ErrClosed)
	}
	for i, f := range frames {
		taken[i] = d.count < pipeFrames && len(f) <= MaxFrame
		if !taken[i] {
			continue
		}
		slot := &d.frames[(d.first+d.count)%pipeFrames]
		*slot = append((*slot)[:0], f...)
		d.count++
	}
	if d.count > 0 {
		d.wake()
	}
	return nil
}

// wake makes the descriptor readable.
func (d *direction) wake() {
	binary.NativeEndian.PutUint64(d.word[:], 1)
	_, _ = unix.Write(d.event, d.word[:])
}

// Close closes both directions: what this end has sent can still be received
// at the other end, which then sees ErrClosed.
func (e *pipeEnd) Close() error {
	e.out.mu.Lock()
	if !e.out.closed {
		e.out.closed = true
		e.out.wake()
	}
	e.out.mu.Unlock()

	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	e.in.closed, e.in.count = true, 0
	if e.in.event >= 0 {
		unix.Close(e.in.event)
		e.in.event = -1
	}
	return nil
}
