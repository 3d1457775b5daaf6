package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bulkPort is the server's, to which the flows of a load connect.
const bulkPort = 5300

// A load is TCP flows that send as much as they can, all in one direction, until
// they are stopped.
type load struct {
	conns   []*net.TCPConn // both ends
	wait    sync.WaitGroup
	stopped atomic.Bool
	broken  chan error // the first flow that ended by itself
}

// newLoad starts flows of clients: from has the client of each flow. All are connected
// before the first sends.
func newLoad(ctx context.Context, l *lab, from []int, down bool, congestion string) (x *load, err error) {
	x = &load{broken: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("connect %d flows: %w", len(from), err), x.stop())
		}
	}()
	set := func(_, _ string, c syscall.RawConn) (err error) {
		problem := c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestion)
		})
		return errors.Join(problem, err)
	}
	at := net.JoinHostPort(serverIP, strconv.Itoa(bulkPort))
	var door net.Listener
	err = within(l.server, func() (err error) {
		door, err = (&net.ListenConfig{Control: set}).Listen(ctx, "tcp4", at)
		return err
	})
	if err != nil {
		return x, err
	}
	defer door.Close()
	err = within(l.client, func() error {
		for _, client := range from {
			dialer := net.Dialer{Timeout: patience, Control: set, LocalAddr: &net.TCPAddr{IP: memberAt(client).ip.AsSlice()}}
			c, err := dialer.DialContext(ctx, "tcp4", at)
			if err != nil {
				return err
			}
			x.conns = append(x.conns, c.(*net.TCPConn))
		}
		return nil
	})
	if err != nil {
		return x, err
	}
	for range from {
		_ = door.(*net.TCPListener).SetDeadline(time.Now().Add(patience)) // a listener has one
		c, err := door.Accept()
		if err != nil {
			return x, err
		}
		x.conns = append(x.conns, c.(*net.TCPConn))
	}
	for i, c := range x.conns {
		if (i >= len(from)) == down {
			x.wait.Go(func() { x.end(pour(c)) })
		} else {
			x.wait.Go(func() { x.end(take(c)) })
		}
	}
	return x, nil
}

// pour sends on a connection until it breaks.
func pour(c *net.TCPConn) error {
	block := make([]byte, 128<<10)
	for {
		if _, err := c.Write(block); err != nil {
			return err
		}
	}
}

// take takes what comes until the connection breaks.
func take(c *net.TCPConn) error {
	block := make([]byte, 128<<10)
	for {
		if _, err := c.Read(block); err != nil {
			return err
		}
	}
}

// end notes a flow that ended though nobody stopped it.
func (x *load) end(err error) {
	if x.stopped.Load() {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the other end closed")
	}
	select {
	case x.broken <- fmt.Errorf("a flow ended: %w", err):
	default:
	}
}

// stop resets all flows, so that nobody sends what is left, and says whether one
// had ended before.
func (x *load) stop() error {
	x.stopped.Store(true)
	for _, c := range x.conns {
		_ = c.SetLinger(0) // a reset; one that is broken needs none
		_ = c.Close()
	}
	x.wait.Wait()
	select {
	case err := <-x.broken:
		return err
	default:
		return nil
	}
}
