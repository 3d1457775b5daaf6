package store

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"gatewayd/store/client"
)

// maxUnderWay is how many requests of a connection may be under way. With as many
// unanswered, no more are read.
const maxUnderWay = 32

// service is what serves requests; connections come and go.
type service struct {
	disk    *disk
	commits chan<- batch
	staged  staged
	running sync.WaitGroup
}

// caller is one connection. Its reader, its writer and a goroutine for each read
// under way end when gone is closed.
type caller struct {
	*service
	conn   net.Conn
	places chan struct{} // a token for each request under way
	out    chan []byte   // answers; has room for all that are under way
	gone   chan struct{}
	once   sync.Once
	parsed chan struct{} // closed when the reader has ended

	batches sync.WaitGroup // handed to the committer and not done
	settled chan struct{}  // closed when nothing of this caller or one before can change anything any more
}

// attend serves conn until it ends or hangUp. It reads nothing of it before what
// callers before have left behind is done: who comes next must not read what is about
// to change.
func (s *service) attend(ctx context.Context, conn net.Conn, before *caller) *caller {
	c := &caller{
		service: s,
		conn:    conn,
		places:  make(chan struct{}, maxUnderWay),
		out:     make(chan []byte, maxUnderWay),
		gone:    make(chan struct{}),
		parsed:  make(chan struct{}),
		settled: make(chan struct{}),
	}
	s.running.Go(c.write)
	s.running.Go(func() {
		defer close(c.parsed)
		defer c.hangUp()
		if before != nil {
			select {
			case <-before.settled:
			case <-c.gone:
				return
			}
		}
		c.read(ctx)
	})
	s.running.Go(func() {
		<-c.parsed
		if before != nil {
			<-before.settled
		}
		c.batches.Wait()
		close(c.settled)
	})
	return c
}

// hangUp closes the connection. What was parsed is still done.
func (c *caller) hangUp() {
	c.once.Do(func() {
		close(c.gone)
		c.conn.Close()
		c.running.Go(func() { c.disk.outflow.end(errClosing) })
	})
}

func (c *caller) write() {
	defer c.hangUp()
	for {
		select {
		case <-c.gone:
			return
		case frame := <-c.out:
			if _, err := c.conn.Write(frame); err != nil {
				return
			}
			<-c.places
		}
	}
}

// read parses requests and starts each. A frame that breaks the protocol ends the
// connection.
func (c *caller) read(ctx context.Context) {
	r := bufio.NewReader(c.conn)
	for {
		frame, err := client.ReadFrame(r)
		if err != nil {
			c.complain(err)
			return
		}
		req, err := client.ParseRequest(frame)
		if err != nil {
			c.complain(err)
			return
		}
		select {
		case c.places <- struct{}{}:
		case <-c.gone:
			return
		}
		if !c.start(ctx, req) {
			return
		}
	}
}

func (c *caller) complain(err error) {
	if errors.Is(err, client.ErrMalformed) {
		c.disk.log.Error("store: connection closed", "err", err)
	}
}

// start hands a batch to the committer and serves anything else beside. It returns
// false when the connection ended first.
func (c *caller) start(ctx context.Context, req client.Request) bool {
	if req.Op != client.OpBatch {
		c.running.Go(func() { c.answer(c.serve(ctx, req)) })
		return true
	}
	done := func(err error) {
		a := client.Answer{ID: req.ID, Op: req.Op}
		fail(&a, c.disk.called(err))
		c.answer(a)
		c.batches.Done()
	}
	c.batches.Add(1)
	select {
	case c.commits <- batch{req.Records, done}:
		return true
	case <-c.gone:
		c.batches.Done()
		return false
	}
}

// answer queues the answer. There is room: the request has its place until it is
// written.
func (c *caller) answer(a client.Answer) { c.out <- a.Append(nil) }

func (c *caller) serve(ctx context.Context, req client.Request) client.Answer {
	a := client.Answer{ID: req.ID, Op: req.Op}
	var err error
	switch req.Op {
	case client.OpGet:
		a.Value, a.Found, err = c.disk.get(req.Key)
	case client.OpScan:
		a.Records, a.More, err = c.disk.scan(req.Prefix, req.After, req.Limit)
	case client.OpBackup:
		a.Value, a.More, err = c.disk.backup(ctx, req.Begin)
	case client.OpRestore:
		err = c.restore(ctx, req)
	case client.OpHealth:
		a.Health = c.disk.health()
	}
	fail(&a, c.disk.called(err))
	return a
}

// fail gives the answer the status and the text of err, if there is one.
func fail(a *client.Answer, err error) {
	if err == nil {
		return
	}
	a.Text = reason(err)
	switch {
	case errors.Is(err, client.ErrFull):
		a.Status = client.Full
	case errors.Is(err, client.ErrCorrupt):
		a.Status = client.Corrupt
	case errors.Is(err, ErrBadSnapshot):
		a.Status = client.Unfit
	default:
		a.Status = client.Failed
	}
}

// reason is err's text without the beginning that the client puts before it again.
func reason(err error) string {
	text := err.Error()
	for _, known := range []error{client.ErrFull, client.ErrCorrupt} {
		text = strings.TrimPrefix(text, known.Error()+": ")
	}
	return text
}
