package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How an AF_XDP socket is made.
const (
	ringFrames = 512  // in its memory, and descriptors in each ring; a power of two
	chunk      = 2048 // bytes for a frame, the least that the kernel takes
)

// An xdpSocket is an AF_XDP socket that only sends, in copy mode: descriptors in a
// ring, and one system call for many. A frame belongs to the kernel until it comes
// back in the completion ring. As with a packetSocket, the send buffer bounds what
// is on its way (some 270 small frames by default), so that a core that receives
// for another (RPS) is never sent more than it queues (1000).
type xdpSocket struct {
	fd                  int
	frames              *[batch][]byte
	memory, sent, ended []byte // mapped: frames, transmit ring, completion ring
	tx, done            indices
	descriptors         []unix.XDPDesc
	completed           []uint64
	free                []uint64 // frames that are ours, by their place in the memory; the last is taken first
}

// indices count what was put into a ring and taken out of it, modulo 2³².
type indices struct{ producer, consumer *uint32 }

func newIndices(ring []byte, o unix.XDPRingOffset) indices {
	return indices{(*uint32)(unsafe.Pointer(&ring[o.Producer])), (*uint32)(unsafe.Pointer(&ring[o.Consumer]))}
}

func newXDPSocket(port int, frames *[batch][]byte) (x *xdpSocket, err error) {
	x = &xdpSocket{frames: frames}
	if x.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open the sender's AF_XDP socket: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"give it memory", x.register},
		{"make its rings", x.rings},
		{"bind it", func() error { return x.bind(port) }},
	} {
		if err := step.do(); err != nil {
			return nil, errors.Join(fmt.Errorf("the sender's AF_XDP socket: %s: %w", step.what, err), x.close())
		}
	}
	return x, nil
}

// register gives the socket its memory.
func (x *xdpSocket) register() (err error) {
	x.memory, err = unix.Mmap(-1, 0, ringFrames*chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	for at := range uint64(ringFrames) {
		x.free = append(x.free, at*chunk)
	}
	about := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&x.memory[0]))), Len: ringFrames * chunk, Size: chunk}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, unix.XDP_UMEM_REG, uintptr(unsafe.Pointer(&about)), unsafe.Sizeof(about), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// rings makes and maps the transmit and the completion ring. The kernel wants a
// fill ring too, which only one that receives uses.
func (x *xdpSocket) rings() error {
	for _, option := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_TX_RING} {
		if err := unix.SetsockoptInt(x.fd, unix.SOL_XDP, option, ringFrames); err != nil {
			return err
		}
	}
	var at unix.XDPMmapOffsets
	size := uint32(unsafe.Sizeof(at))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(x.fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS, uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	var err error
	if x.sent, err = x.mapped(unix.XDP_PGOFF_TX_RING, at.Tx.Desc+ringFrames*uint64(unsafe.Sizeof(unix.XDPDesc{}))); err != nil {
		return err
	}
	if x.ended, err = x.mapped(unix.XDP_UMEM_PGOFF_COMPLETION_RING, at.Cr.Desc+ringFrames*8); err != nil {
		return err
	}
	x.tx, x.done = newIndices(x.sent, at.Tx), newIndices(x.ended, at.Cr)
	x.descriptors = unsafe.Slice((*unix.XDPDesc)(unsafe.Pointer(&x.sent[at.Tx.Desc])), ringFrames)
	x.completed = unsafe.Slice((*uint64)(unsafe.Pointer(&x.ended[at.Cr.Desc])), ringFrames)
	return nil
}

func (x *xdpSocket) mapped(offset int64, size uint64) ([]byte, error) {
	return unix.Mmap(x.fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// bind waits for a socket that was there before: the kernel lets go of the port's
// queue some time after it was closed.
func (x *xdpSocket) bind(port int) error {
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		err := unix.Bind(x.fd, &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(port)})
		if !errors.Is(err, unix.EBUSY) || time.Since(begin) > patience {
			return err
		}
	}
}

func (x *xdpSocket) close() error {
	problems := []error{unix.Close(x.fd)}
	for _, m := range [][]byte{x.sent, x.ended, x.memory} {
		if m != nil {
			problems = append(problems, unix.Munmap(m))
		}
	}
	return errors.Join(problems...)
}

// reap takes back the frames that the kernel is done with.
func (x *xdpSocket) reap() {
	next, end := *x.done.consumer, atomic.LoadUint32(x.done.producer)
	for ; next != end; next++ {
		x.free = append(x.free, x.completed[next%ringFrames])
	}
	atomic.StoreUint32(x.done.consumer, next)
}

func (x *xdpSocket) fire(n int) (taken, dropped int, err error) {
	x.reap()
	n = min(n, len(x.free))
	if n == 0 {
		x.pause()
		return 0, 0, nil
	}
	next := *x.tx.producer
	for i := range n {
		last := len(x.free) - 1
		at := x.free[last]
		x.free = x.free[:last]
		x.descriptors[next%ringFrames] = unix.XDPDesc{Addr: at, Len: uint32(copy(x.memory[at:at+chunk], x.frames[i]))}
		next++
	}
	atomic.StoreUint32(x.tx.producer, next)
	dropped, err = x.flush(next)
	return n - dropped, dropped, err
}

// flush has the kernel send all before an index, and counts what it drops.
func (x *xdpSocket) flush(end uint32) (dropped int, err error) {
	moved := time.Now()
	for at := atomic.LoadUint32(x.tx.consumer); at != end; {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(x.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		now := atomic.LoadUint32(x.tx.consumer)
		switch {
		case errors.Is(errno, unix.EBUSY): // it took one out of the ring, dropped it and went no further
			dropped++
			moved = time.Now()
		case errno != 0 && !errors.Is(errno, unix.EAGAIN) && !errors.Is(errno, unix.ENOBUFS) && !errors.Is(errno, unix.EINTR):
			return dropped, fmt.Errorf("send %d frames from the ring: %w", end-now, errno)
		case now != at:
			moved = time.Now()
		case time.Since(moved) > patience:
			return dropped, fmt.Errorf("%d frames are left in the ring %v after the last was taken", end-now, patience)
		default:
			x.pause()
		}
		at = now
	}
	return dropped, nil
}

// pause lets others have the core: what is on its way is enough, and a sender that
// asked again and again would take from those who forward.
func (x *xdpSocket) pause() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 100_000}, nil) }
