package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// smallFrame is the shortest Ethernet frame without its check sequence; with it
// 64 bytes.
const smallFrame = 60

// datagram builds the frame of an IPv4 UDP packet to the server's discard port.
func datagram(to net.HardwareAddr, port uint16, frameLen int) []byte {
	const ip, udp, payload = 14, 34, 42
	b := make([]byte, frameLen)
	from, _ := net.ParseMAC(clientMAC) // a constant
	copy(b, to)
	copy(b[6:], from)
	be := binary.BigEndian
	be.PutUint16(b[12:], 0x0800)
	b[ip], b[ip+8], b[ip+9] = 0x45, 64, 17
	be.PutUint16(b[ip+2:], uint16(frameLen-ip))
	be.PutUint16(b[ip+6:], 0x4000) // don't fragment
	src, dst := netip.MustParseAddr(clientIP).As4(), netip.MustParseAddr(serverIP).As4()
	copy(b[ip+12:], src[:])
	copy(b[ip+16:], dst[:])
	be.PutUint16(b[udp:], port)
	be.PutUint16(b[udp+2:], discard)
	be.PutUint16(b[udp+4:], uint16(frameLen-udp))
	for i := payload; i < frameLen; i++ {
		b[i] = byte(i)
	}
	be.PutUint16(b[ip+10:], ^sum(b[ip:udp], 0))
	pseudo := uint32(17) + uint32(frameLen-udp)
	check := ^sum(b[udp:], pseudo+uint32(sum(b[ip+12:udp], 0)))
	if check == 0 {
		check = 0xffff // RFC 768: zero means none
	}
	be.PutUint16(b[udp+6:], check)
	return b
}

// sum is the ones' complement sum of RFC 1071 over an even number of bytes and
// what was summed before.
func sum(b []byte, s uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// batch is how many frames one system call sends.
const batch = 64

// A sender sends one frame again and again from a namespace's port, from one
// thread.
type sender struct {
	sent atomic.Uint64 // frames the kernel took
	quit atomic.Bool
	done chan error
}

// send starts a sender on the last core. A rate of 0 is as fast as the core
// allows; others are packets per second, in steps of a millisecond.
func send(namespace string, frame []byte, rate int) *sender {
	s := &sender{done: make(chan error, 1)}
	go func() { s.done <- within(namespace, func() error { return s.loop(frame, rate) }) }()
	return s
}

// stop ends the sender and returns how many frames the kernel took.
func (s *sender) stop() (uint64, error) {
	s.quit.Store(true)
	err := <-s.done
	return s.sent.Load(), err
}

type mmsghdr struct {
	hdr unix.Msghdr
	_   uint32 // how much was sent
}

func (s *sender) loop(frame []byte, rate int) error {
	var last unix.CPUSet
	last.Set(runtime.NumCPU() - 1)
	_ = unix.SchedSetaffinity(0, &last) // where it is not allowed the scheduler chooses
	port, err := net.InterfaceByName(farPort)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the sender's socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: port.Index}); err != nil {
		return fmt.Errorf("bind the sender's socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return fmt.Errorf("set PACKET_QDISC_BYPASS: %w", err)
	}
	vector := unix.Iovec{Base: &frame[0]}
	vector.SetLen(len(frame))
	var messages [batch]mmsghdr
	for i := range messages {
		messages[i].hdr.Iov = &vector
		messages[i].hdr.SetIovlen(1)
	}
	begin := time.Now()
	for tried := 0; !s.quit.Load(); {
		n := batch
		if rate > 0 {
			if n = min(int(time.Since(begin).Milliseconds())*rate/1000-tried, batch); n <= 0 {
				time.Sleep(time.Millisecond)
				continue
			}
		}
		// Raw: it never blocks, and the scheduler's part in an ordinary call is measured otherwise.
		taken, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages)), uintptr(n), 0, 0, 0)
		switch {
		case errno == 0:
			tried += int(taken)
			s.sent.Add(uint64(taken))
		case errors.Is(errno, unix.ENOBUFS):
			tried++ // the first frame was dropped on its way
		case errors.Is(errno, unix.EINTR), errors.Is(errno, unix.EAGAIN):
		default:
			return fmt.Errorf("send %d frames: %w", n, errno)
		}
	}
	runtime.KeepAlive(frame)
	return nil
}
