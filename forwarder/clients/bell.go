package clients

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Bell wakes the other side of the seam. It is an eventfd that the keeper
// makes once and every restarted process inherits; rings add up and a ring
// without a listener waits for the next one.
type Bell struct{ f *os.File }

// NewBell makes a bell.
func NewBell() (*Bell, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make bell: eventfd: %w", err)
	}
	return &Bell{os.NewFile(uintptr(fd), "bell")}, nil
}

// OpenBell takes over a bell's descriptor, as received from the keeper: still
// non-blocking, as NewBell made it.
func OpenBell(f *os.File) *Bell { return &Bell{f} }

var one = [8]byte{1} // in every byte order a count above zero

// Ring wakes the listener, now or when it next listens.
func (b *Bell) Ring() { _, _ = b.f.Write(one[:]) }

// Wait blocks until the bell rings or is closed.
func (b *Bell) Wait() error {
	var count [8]byte
	if _, err := b.f.Read(count[:]); err != nil {
		if errors.Is(err, os.ErrClosed) {
			return os.ErrClosed
		}
		return fmt.Errorf("wait for bell: %w", err)
	}
	return nil
}

// File returns the descriptor's file, to be handed on or polled.
func (b *Bell) File() *os.File { return b.f }

// Close ends a Wait.
func (b *Bell) Close() error { return b.f.Close() }

// FD is a file's descriptor, without making it blocking as Fd does.
func FD(f *os.File) (int, error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	got := -1
	if err := c.Control(func(fd uintptr) { got = int(fd) }); err != nil {
		return 0, err
	}
	return got, nil
}
