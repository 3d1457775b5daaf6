package link

import (
	"errors"

	"golang.org/x/sys/unix"
)

const (
	// HeaderLen is the length in bytes of the struct virtio_net_hdr in front
	// of every frame.
	HeaderLen = 10

	// MaxFrame is the length in bytes of the longest frame a link carries: its
	// header, the Ethernet header and an IP packet of 65,535 bytes.
	MaxFrame = HeaderLen + 14 + 65535

	// Batch is the most frames that one Receive returns.
	Batch = 64
)

// A Link carries frames to and from one port. Its methods are called by one
// goroutine at a time.
type Link interface {
	// Receive returns the frames that wait, at most Batch, without blocking.
	// The frames and the slice that holds them belong to the link again at
	// the next Receive. It returns nil when nothing waits, and an empty slice
	// when all that waited had to be dropped. An error means that the port is
	// gone; one that wraps ErrDown may pass.
	Receive() ([][]byte, error)

	// Send offers the frames to the kernel in their order and sets taken[i]
	// to whether it took frame i; taken is at least as long as frames. A
	// frame that the kernel refuses for its own sake or for want of room is
	// not an error. An error means that the port is gone; taken is then still
	// true for the frames that left before.
	Send(frames [][]byte, taken []bool) error

	// FD is a descriptor that is readable when frames wait, for epoll. The
	// link owns it.
	FD() int

	// Close releases the descriptor and the memory of all frames.
	Close() error
}

var (
	// ErrDown is the cause of an error when the port's interface was set down
	// but still exists: once it is up again the same link works on.
	ErrDown = errors.New("interface is down")

	// ErrClosed is the cause of an error of a link after its Close, or, for a
	// pipe, after the Close of its other end.
	ErrClosed = errors.New("link is closed")
)

// Stats counts, since the link was made, what went wrong at the port. All
// counters only grow.
type Stats struct {
	KernelDrops uint64 // frames the kernel dropped because they were not received in time
	Truncated   uint64 // frames longer than MaxFrame, dropped by Receive
	Malformed   uint64 // frames whose offload state the kernel could not express, dropped by it
	Tagged      uint64 // frames that came with a VLAN tag, which was put back in place

	NoBuffers uint64 // not taken: ENOBUFS or ENOMEM; a queue of the device is full
	TooLong   uint64 // not taken: EMSGSIZE; longer than the MTU and not a super-packet
	Invalid   uint64 // not taken: EINVAL; the header contradicts the frame
	Full      uint64 // not taken: EAGAIN; the socket's send buffer stayed full
	Refused   uint64 // not taken: any other error for this one frame
}

// refuse counts one frame that the kernel did not take.
func (s *Stats) refuse(errno unix.Errno) {
	switch errno {
	case unix.ENOBUFS, unix.ENOMEM:
		s.NoBuffers++
	case unix.EMSGSIZE:
		s.TooLong++
	case unix.EINVAL:
		s.Invalid++
	case unix.EAGAIN:
		s.Full++
	default:
		s.Refused++
	}
}

// gone returns the error of a port that cannot be used any more, or nil when
// errno concerns one frame only.
func gone(errno unix.Errno) error {
	switch errno {
	case unix.ENETDOWN:
		return ErrDown
	case unix.ENXIO, unix.ENODEV, unix.EBADF, unix.EBADFD, unix.ENOTSOCK, unix.ENOTCONN:
		return errno
	}
	return nil
}
