package client

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
)

// queueLength is how many calls may wait to be written before the next one waits
// outside the queue.
const queueLength = 32

// line is one connection. Two goroutines run for it, one that writes and one that
// reads, until end.
type line struct {
	conn  net.Conn
	queue chan queued
	ended chan struct{} // closed when the connection is of no more use
	once  sync.Once
	run   sync.WaitGroup

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]chan Answer // calls under way, each with room for its answer
}

// queued is a frame that waits to be written.
type queued struct {
	id    uint64
	frame []byte
}

func newLine(conn net.Conn) *line {
	l := &line{
		conn:    conn,
		queue:   make(chan queued, queueLength),
		ended:   make(chan struct{}),
		waiting: make(map[uint64]chan Answer),
	}
	l.run.Go(l.write)
	l.run.Go(l.read)
	return l
}

// hangUp closes the connection; both goroutines end by themselves.
func (l *line) hangUp() {
	l.once.Do(func() {
		close(l.ended)
		l.conn.Close()
	})
}

// end closes the connection and waits until nothing of the line runs.
func (l *line) end() {
	l.hangUp()
	l.run.Wait()
}

// call sends req under a new id and waits for the answer, for ctx or for the end of
// the line.
func (l *line) call(ctx context.Context, req Request) (Answer, error) {
	answer := make(chan Answer, 1)
	l.mu.Lock()
	l.lastID++
	req.ID = l.lastID
	l.waiting[req.ID] = answer
	l.mu.Unlock()
	defer l.forget(req.ID)

	select {
	case <-l.ended:
		return Answer{}, ErrAway
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	case l.queue <- queued{req.ID, req.Append(nil)}:
	}
	var a Answer
	select {
	case a = <-answer:
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	case <-l.ended:
		select {
		case a = <-answer: // it came just before the end
		default:
			return Answer{}, ErrAway
		}
	}
	if a.Op != req.Op {
		l.hangUp()
		return Answer{}, fmt.Errorf("%w: the answer is to %v", ErrMalformed, a.Op)
	}
	return a, nil
}

func (l *line) forget(id uint64) {
	l.mu.Lock()
	delete(l.waiting, id)
	l.mu.Unlock()
}

// take gives the channel of a call that still waits, and nil for one that has ended.
func (l *line) take(id uint64) chan Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting[id]
}

// write writes the queued frames whole: a deadline never leaves half a frame behind.
func (l *line) write() {
	defer l.hangUp()
	for {
		select {
		case <-l.ended:
			return
		case q := <-l.queue:
			if l.take(q.id) == nil {
				continue
			}
			if _, err := l.conn.Write(q.frame); err != nil {
				return
			}
		}
	}
}

// read hands each answer to its call and drops those nobody waits for.
func (l *line) read() {
	defer l.hangUp()
	r := bufio.NewReader(l.conn)
	for {
		frame, err := ReadFrame(r)
		if err != nil {
			return
		}
		a, err := ParseAnswer(frame)
		if err != nil {
			return
		}
		if answer := l.take(a.ID); answer != nil {
			select {
			case answer <- a:
			default: // a second answer to one request
			}
		}
	}
}
