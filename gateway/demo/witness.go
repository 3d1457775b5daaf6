package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	captureBuffer = 64 << 20 // bytes; seconds of what the demo sends
	captureHead   = 192      // bytes of a frame that are looked at: all headers
	look          = 10       // milliseconds at most before a witness answers
)

// witness captures every packet at one far end.
type witness struct {
	name   string
	fd     int
	ignore netip.Addr // packets from or to it are none of the internet's
	ended  chan struct{}

	mu     sync.Mutex
	idle   sync.Cond
	asked  uint64 // by sync
	heard  uint64 // asked when the socket was last found empty
	closed bool
	spans  map[*span]bool
	drops  uint64 // packets that the kernel could not keep for it
	err    error  // why it cannot be believed
}

// newWitness captures at an interface, which is up, from now on.
func newWitness(n *namespace, link string, ignore netip.Addr) (*witness, error) {
	w := &witness{name: n.name, fd: -1, ignore: ignore, ended: make(chan struct{}), spans: map[*span]bool{}}
	w.idle.L = &w.mu
	l, err := n.links.LinkByName(link)
	if err != nil {
		return nil, fmt.Errorf("find %s in %s: %w", link, n.name, err)
	}
	if err := n.do(func() error { return w.open(l.Attrs().Index) }); err != nil {
		return nil, fmt.Errorf("capture at %s in %s: %w", link, n.name, err)
	}
	go w.run()
	return w, nil
}

func (w *witness) open(index int) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	everything := uint16(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00) // network byte order
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: index}),
	); err != nil {
		unix.Close(fd)
		return err
	}
	w.fd = fd
	return nil
}

// run reads until close.
func (w *witness) run() {
	defer close(w.ended)
	r, buf := newReader(), make([]byte, captureHead)
	for {
		n, from, err := unix.Recvfrom(w.fd, buf, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if !w.rest() {
				return
			}
		case err != nil:
			w.doubt(fmt.Errorf("capture at %s: %w", w.name, err))
			if !w.rest() {
				return
			}
		default:
			w.take(r, buf[:min(n, len(buf))], from)
		}
	}
}

// take counts one frame.
func (w *witness) take(r *reader, raw []byte, from unix.Sockaddr) {
	now := time.Now()
	p, counts, err := r.read(raw)
	if err != nil {
		w.doubt(err)
		return
	}
	if !counts || w.ignore.IsValid() && (p.from == w.ignore || p.to == w.ignore) {
		return
	}
	l, _ := from.(*unix.SockaddrLinklayer)
	out := l != nil && l.Pkttype == unix.PACKET_OUTGOING
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.spans {
		s.add(p, out, now)
	}
}

// rest waits a little for the next frame, having found none; false: no more
// are wanted.
func (w *witness) rest() bool {
	w.mu.Lock()
	w.heard = w.asked
	w.idle.Broadcast()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return false
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, look)
	return true
}

func (w *witness) doubt(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// begin opens a span: it counts what is captured from now on. What arrived
// before is in the spans that are open already.
func (w *witness) begin() *span {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sync()
	s := &span{from: map[netip.Addr]bool{}}
	w.spans[s] = true
	return s
}

// read returns a copy of a span with all that has arrived so far.
func (w *witness) read(s *span) span {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sync()
	now := *s
	now.from = maps.Clone(s.from)
	return now
}

// end returns a span and counts no more into it.
func (w *witness) end(s *span) span {
	now := w.read(s)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.spans, s)
	return now
}

// sync waits until all that has arrived is counted. mu is held.
func (w *witness) sync() {
	w.asked++
	for until := w.asked; w.heard < until && !w.closed; {
		w.idle.Wait()
	}
}

// sound returns why the witness cannot be believed; nil: it saw everything.
func (w *witness) sound() error {
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS) // reading clears it
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("ask for drops of the capture at %s: %w", w.name, err)
	}
	w.drops += uint64(stats.Drops)
	if w.drops > 0 {
		return fmt.Errorf("the capture at %s lost %d packets", w.name, w.drops)
	}
	return w.err
}

// quiet waits until a span has not grown for a while, or ctx ends.
func (w *witness) quiet(ctx context.Context, s *span, still time.Duration) error {
	for before, since := w.read(s), time.Now(); time.Since(since) < still; {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if now := w.read(s); now.arrived() != before.arrived() || now.sent() != before.sent() {
			before, since = now, time.Now()
		}
	}
	return nil
}

func (w *witness) close() {
	w.mu.Lock()
	w.closed = true
	w.idle.Broadcast()
	w.mu.Unlock()
	<-w.ended
	unix.Close(w.fd)
}

// sleep waits for d, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
