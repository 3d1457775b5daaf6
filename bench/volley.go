package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many frames one volley has.
const batch = 64

// A volley is frames that are sent together. The thread that made it uses it.
type volley struct {
	socket
	mould  *mould
	frames [batch][]byte // written before they are fired
}

// A socket sends a volley's frames out of a port.
type socket interface {
	// fire sends the first n frames and returns how many the kernel took and how
	// many it dropped on their way out; what is left of n was not tried.
	fire(n int) (taken, dropped int, err error)
	close() error
}

// newVolley opens a socket on the port of the thread's namespace, and takes the
// last core.
func newVolley(t *mould, o offer) (*volley, error) {
	var last unix.CPUSet
	last.Set(runtime.NumCPU() - 1)
	_ = unix.SchedSetaffinity(0, &last) // where it is not allowed the scheduler chooses
	port, err := net.InterfaceByName(farPort)
	if err != nil {
		return nil, err
	}
	v := &volley{mould: t}
	for i := range v.frames {
		v.frames[i] = append([]byte(nil), t.original...)
	}
	if o == byRing {
		v.socket, err = newXDPSocket(port.Index, &v.frames)
	} else {
		v.socket, err = newPacketSocket(port.Index, &v.frames)
	}
	return v, err
}

type mmsghdr struct {
	hdr unix.Msghdr
	_   uint32 // how much was sent
}

// A packetSocket sends by sendmmsg on an AF_PACKET socket, past the port's queue.
type packetSocket struct {
	fd      int
	vectors [batch]unix.Iovec
	headers [batch]mmsghdr
}

func newPacketSocket(port int, frames *[batch][]byte) (*packetSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the sender's socket: %w", err)
	}
	p := &packetSocket{fd: fd}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: port}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind the sender's socket: %w", err), p.close())
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("set PACKET_QDISC_BYPASS: %w", err), p.close())
	}
	for i := range p.headers {
		p.vectors[i].Base = &frames[i][0]
		p.vectors[i].SetLen(len(frames[i]))
		p.headers[i].hdr.Iov = &p.vectors[i]
		p.headers[i].hdr.SetIovlen(1)
	}
	return p, nil
}

func (p *packetSocket) close() error { return unix.Close(p.fd) }

func (p *packetSocket) fire(n int) (taken, dropped int, err error) {
	// Raw: it waits for room in the send buffer at most, and the scheduler's part in an ordinary call is measured otherwise.
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&p.headers)), uintptr(n), 0, 0, 0)
	runtime.KeepAlive(p)
	switch {
	case errno == 0:
		return int(r), 0, nil
	case errors.Is(errno, unix.ENOBUFS):
		return 0, 1, nil
	case errors.Is(errno, unix.EINTR), errors.Is(errno, unix.EAGAIN):
		return 0, 0, nil
	}
	return 0, 0, fmt.Errorf("send %d frames: %w", n, errno)
}
