//go:build netns

package gateway_test

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stream is numbered UDP datagrams from one far end to the other at an even
// pace, and which of them arrived when.
type stream struct {
	t        *testing.T
	sent     atomic.Uint64
	stop     chan struct{}
	sender   sync.WaitGroup
	receiver sync.WaitGroup
	in, out  net.PacketConn

	mu      sync.Mutex
	arrived map[uint64]time.Time // by number, on the far end's own clock
	twice   int
	last    time.Time
}

// listenUDP opens a socket in a namespace that loses nothing by itself.
func (n *namespace) listenUDP(address string) net.PacketConn {
	n.t.Helper()
	var conn net.PacketConn
	check(n.t, n.do(func() (err error) {
		conn, err = net.ListenPacket("udp4", address)
		return err
	}))
	n.t.Cleanup(func() { conn.Close() })
	raw, err := conn.(syscall.Conn).SyscallConn()
	check(n.t, err)
	check(n.t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	}))
	check(n.t, err)
	return conn
}

// stream begins one from the client to the server, of size bytes of layer 3
// each.
func (l *lab) stream(every time.Duration, size int) *stream {
	l.t.Helper()
	return l.streamOf(l.client, clientIP, every, size)
}

// streamOf is stream from a client of that address.
func (l *lab) streamOf(from *namespace, ip string, every time.Duration, size int) *stream {
	l.t.Helper()
	s := &stream{t: l.t, stop: make(chan struct{}), arrived: map[uint64]time.Time{}}
	s.in = l.server.listenUDP(serverIP + ":0")
	s.out = from.listenUDP(ip + ":0")
	s.receiver.Go(s.receive)
	s.sender.Go(func() { s.send(every, make([]byte, size-28)) })
	l.t.Cleanup(func() { s.end() })
	return s
}

func (s *stream) send(every time.Duration, datagram []byte) {
	to := s.in.LocalAddr()
	const most = 500 // at once: a sender that a busy machine held up does not make a flood of it
	for began := time.Now(); ; {
		due := uint64(time.Since(began) / every)
		if late := due - min(due, s.sent.Load()); late > most {
			began = began.Add(time.Duration(late-most) * every)
			due -= late - most
		}
		for s.sent.Load() <= due {
			select {
			case <-s.stop:
				return
			default:
			}
			binary.BigEndian.PutUint64(datagram, s.sent.Load())
			if _, err := s.out.WriteTo(datagram, to); err == nil {
				s.sent.Add(1)
			}
		}
		time.Sleep(max(every, time.Millisecond))
	}
}

func (s *stream) receive() {
	buf := make([]byte, 2048)
	for {
		n, _, err := s.in.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 8 {
			continue
		}
		number, now := binary.BigEndian.Uint64(buf), time.Now()
		s.mu.Lock()
		if _, known := s.arrived[number]; known {
			s.twice++
		} else {
			s.arrived[number] = now
		}
		s.last = now
		s.mu.Unlock()
	}
}

// seen is how many different datagrams have arrived, and when the last did.
func (s *stream) seen() (int, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrived), s.last
}

// rate is how many Mbit/s of a stream of 1000-byte datagrams arrive.
func (s *stream) rate(during time.Duration) float64 {
	before, _ := s.seen()
	began := time.Now()
	time.Sleep(during)
	after, _ := s.seen()
	return float64(after-before) * 8000 / 1e6 / time.Since(began).Seconds()
}

// flows waits until the stream arrives.
func (s *stream) flows() {
	s.t.Helper()
	before, _ := s.seen()
	eventually(s.t, soon, "the stream arrives", func() error {
		if now, _ := s.seen(); now < before+5 {
			return errNotYet
		}
		return nil
	})
}

// span is the first and the last arrival and how many numbers between the
// lowest and the highest are missing.
func (s *stream) span() (first, last time.Time, missing int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	low, high := ^uint64(0), uint64(0)
	for number := range s.arrived {
		low, high = min(low, number), max(high, number)
	}
	if len(s.arrived) == 0 {
		return first, last, 0
	}
	return s.arrived[low], s.arrived[high], int(high-low) + 1 - len(s.arrived)
}

// end ends the stream and returns how many were sent and how many of them
// arrived.
func (s *stream) end() (sent, arrived int) {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.sender.Wait()
	for quiet, last := 0, -1; quiet < 10; quiet++ { // what is on its way
		if now, _ := s.seen(); now != last {
			quiet, last = 0, now
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.in.Close()
	s.out.Close()
	s.receiver.Wait()
	arrived, _ = s.seen()
	return int(s.sent.Load()), arrived
}
