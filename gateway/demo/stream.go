package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	numbered     = 16      // bytes at the start of a datagram: stream, number
	streamBuffer = 8 << 20 // bytes a socket may hold
)

// numbers is a set of the numbers that datagrams carry.
type numbers struct {
	words []uint64
	twice int // how often a number came again
}

const highest = 1 << 20 // a number from there on is nobody's

func (n *numbers) add(number uint64) {
	if number >= highest {
		return
	}
	for uint64(len(n.words)) <= number/64 {
		n.words = append(n.words, 0)
	}
	if bit := uint64(1) << (number % 64); n.words[number/64]&bit != 0 {
		n.twice++
	} else {
		n.words[number/64] |= bit
	}
}

// count is how many different numbers there are.
func (n numbers) count() (all int) {
	for _, w := range n.words {
		all += bits.OnesCount64(w)
	}
	return all
}

func (n numbers) clone() numbers { return numbers{slices.Clone(n.words), n.twice} }

// stream sends numbered datagrams to the echo at an even pace and notes which
// come back.
type stream struct {
	id   uint64
	conn net.Conn
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	sent int
	back numbers
}

// stream begins one with datagrams of size bytes of layer 3.
func (c *client) stream(size int, every time.Duration) (*stream, error) {
	conn, err := c.at.dial(context.Background(), "udp4", net.JoinHostPort(serverIP, strconv.Itoa(echoPort)))
	if err != nil {
		return nil, fmt.Errorf("begin a stream: %w", err)
	}
	_ = conn.(*net.UDPConn).SetReadBuffer(streamBuffer)
	ctx, stop := context.WithCancel(context.Background())
	s := &stream{id: rand.Uint64(), conn: conn, stop: stop}
	s.done.Go(func() { s.send(ctx, size-28, every) })
	s.done.Go(s.receive)
	return s, nil
}

func (s *stream) send(ctx context.Context, payload int, every time.Duration) {
	datagram := make([]byte, payload)
	binary.BigEndian.PutUint64(datagram, s.id)
	for began, number := time.Now(), uint64(0); ; {
		for due := uint64(time.Since(began) / every); number <= due && number < highest; number++ {
			if ctx.Err() != nil {
				return
			}
			binary.BigEndian.PutUint64(datagram[8:], number)
			if _, err := s.conn.Write(datagram); err == nil {
				s.mu.Lock()
				s.sent++
				s.mu.Unlock()
			}
		}
		if sleep(ctx, time.Until(began.Add(time.Duration(number)*every))) != nil {
			return
		}
	}
}

// receive notes what comes back until the connection is closed.
func (s *stream) receive() {
	buf := make([]byte, 2048)
	for {
		n, err := s.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n >= numbered && binary.BigEndian.Uint64(buf) == s.id {
			s.mu.Lock()
			s.back.add(binary.BigEndian.Uint64(buf[8:]))
			s.mu.Unlock()
		}
	}
}

// halt sends no more, and gives what is on its way time to come back.
func (s *stream) halt(ctx context.Context) error {
	s.stop()
	for range 20 {
		s.mu.Lock()
		all := s.back.count() == s.sent
		s.mu.Unlock()
		if all {
			return nil
		}
		if err := sleep(ctx, 25*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// end stops the stream and returns how many were sent and which came back. It
// may be called again.
func (s *stream) end() (sent int, back numbers) {
	s.stop()
	s.conn.Close()
	s.done.Wait()
	return s.sent, s.back
}
