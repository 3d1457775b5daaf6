package main

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many frames one system call sends.
const batch = 64

// A sender sends a stream from a namespace's port, from one thread.
type sender struct {
	sent atomic.Uint64 // frames the kernel took
	lost atomic.Uint64 // frames dropped on their way out of the sender
	quit atomic.Bool
	done chan error
}

// send starts a sender on the last core. A rate of 0 is as fast as the core
// allows; others are packets per second, in steps of a millisecond.
func send(l *lab, s stream, rate int) *sender {
	x := &sender{done: make(chan error, 1)}
	t := s.mould(l.gatewayMAC)
	go func() { x.done <- within(l.client, func() error { return x.loop(t, rate) }) }()
	return x
}

// stop ends the sender and returns how many frames the kernel took.
func (x *sender) stop() (uint64, error) {
	x.quit.Store(true)
	err := <-x.done
	return x.sent.Load(), err
}

type mmsghdr struct {
	hdr unix.Msghdr
	_   uint32 // how much was sent
}

// A volley is frames that one system call sends. The thread that made it uses it.
type volley struct {
	fd       int
	mould    *mould
	frames   [batch][]byte
	vectors  [batch]unix.Iovec
	messages [batch]mmsghdr
}

// newVolley opens a socket on the port of the thread's namespace, and takes the
// last core.
func newVolley(t *mould) (*volley, error) {
	var last unix.CPUSet
	last.Set(runtime.NumCPU() - 1)
	_ = unix.SchedSetaffinity(0, &last) // where it is not allowed the scheduler chooses
	port, err := net.InterfaceByName(farPort)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the sender's socket: %w", err)
	}
	v := &volley{fd: fd, mould: t}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: port.Index}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind the sender's socket: %w", err), v.close())
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("set PACKET_QDISC_BYPASS: %w", err), v.close())
	}
	for i := range v.messages {
		v.frames[i] = append([]byte(nil), t.original...)
		v.vectors[i].Base = &v.frames[i][0]
		v.vectors[i].SetLen(len(v.frames[i]))
		v.messages[i].hdr.Iov = &v.vectors[i]
		v.messages[i].hdr.SetIovlen(1)
	}
	return v, nil
}

func (v *volley) close() error { return unix.Close(v.fd) }

// fire sends the first n frames and returns how many the kernel took, and whether
// the one after them was dropped on its way.
func (v *volley) fire(n int) (taken int, dropped bool, err error) {
	// Raw: it never blocks, and the scheduler's part in an ordinary call is measured otherwise.
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(v.fd), uintptr(unsafe.Pointer(&v.messages)), uintptr(n), 0, 0, 0)
	runtime.KeepAlive(v)
	switch {
	case errno == 0:
		return int(r), false, nil
	case errors.Is(errno, unix.ENOBUFS):
		return 0, true, nil
	case errors.Is(errno, unix.EINTR), errors.Is(errno, unix.EAGAIN):
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("send %d frames: %w", n, errno)
}

func (x *sender) loop(t *mould, rate int) error {
	v, err := newVolley(t)
	if err != nil {
		return err
	}
	defer v.close()
	begin := time.Now()
	flow, tried := 0, 0
	for !x.quit.Load() {
		n := batch
		if rate > 0 {
			if n = min(int(time.Since(begin).Microseconds())*rate/1e6-tried, batch); n <= 0 {
				time.Sleep(time.Millisecond)
				continue
			}
		}
		for i := range n {
			t.write(v.frames[i], (flow+i)%t.flows())
		}
		taken, dropped, err := v.fire(n)
		if err != nil {
			return err
		}
		x.sent.Add(uint64(taken))
		if dropped {
			x.lost.Add(1)
			taken = 1
		}
		tried += taken
		flow = (flow + taken) % t.flows()
	}
	return nil
}
