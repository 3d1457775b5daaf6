package link

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// bufferLen is how many bytes of a frame a buffer holds.
	bufferLen = 65600

	// tagRoom is kept free in front of each buffer, so that a VLAN tag can be
	// put back by moving the headers, not the payload. It is a whole cache line.
	tagRoom = 64

	// stride is the distance between two buffers: an odd number of 64-byte
	// cache lines, so that the starts of a batch's frames spread over all
	// cache sets.
	stride = 1033 * 64
)

// buffers is the memory of one batch, mapped outside the Go heap: the collector
// never looks at it and it never moves.
type buffers struct {
	mapped []byte
	frame  [Batch][]byte // each bufferLen long, tagRoom bytes free in front
}

func newBuffers() (*buffers, error) {
	mapped, err := unix.Mmap(-1, 0, Batch*stride,
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for a batch of frames: %w", Batch*stride, err)
	}
	b := &buffers{mapped: mapped}
	for i := range b.frame {
		b.frame[i] = b.tagged(i, bufferLen)[4:]
	}
	return b, nil
}

// tagged returns buffer i with room for a 4-byte VLAN tag in front of n bytes of
// frame.
func (b *buffers) tagged(i, n int) []byte {
	at := i*stride + tagRoom
	return b.mapped[at-4 : at+n : at+bufferLen]
}

func (b *buffers) release() error {
	if b.mapped == nil {
		return nil
	}
	mapped := b.mapped
	*b = buffers{}
	if err := unix.Munmap(mapped); err != nil {
		return fmt.Errorf("unmap a batch of frames: %w", err)
	}
	return nil
}
