package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// StreamEvent is one event of an answer without an end.
type StreamEvent struct {
	ID   string // of the newest event so far; where to go on after
	Name string // empty: none was given, which browsers read as "message"
	Data []byte // valid until the next event
}

// maxEvent is how long an event's data, or one line of the answer, may be in bytes.
const maxEvent = 1 << 20

// errLongEvent says that an answer is none of gatewayd's.
var errLongEvent = fmt.Errorf("an event of more than %d bytes", maxEvent)

// Events follows the events of path, which is "/events" and a query, and calls
// each with one after the other. It ends with each's error, with the context's,
// with a *Problem, or with an *Unreachable when the daemon hangs up. last is the
// id to go on after, also of events that the query filters out; empty: none came.
func (c *Client) Events(ctx context.Context, path string, each func(StreamEvent) error) (last string, err error) {
	answer, err := c.Stream(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	defer answer.Close()
	last, theirs, err := readEvents(answer, each)
	switch {
	case theirs:
		return last, err
	case ctx.Err() != nil:
		return last, ctx.Err()
	case err == nil:
		err = errors.New("the answer has ended")
	}
	return last, c.unreachable(http.MethodGet, err)
}

// readEvents reads a stream to its end as HTML's "server-sent events" says
// (WHATWG, 9.2.6). theirs says that err is of each.
func readEvents(r io.Reader, each func(StreamEvent) error) (last string, theirs bool, err error) {
	lines := &lineReader{r: bufio.NewReader(r)}
	var name string
	var data []byte
	for first := true; ; first = false {
		line, err := lines.next()
		if err == io.EOF {
			return last, false, nil // what was not ended by an empty line is no event
		}
		if err != nil {
			return last, false, err
		}
		if first {
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if len(line) == 0 {
			if data != nil {
				if err := each(StreamEvent{last, name, data[:len(data)-1]}); err != nil {
					return last, true, err
				}
			}
			name, data = "", nil
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if len(data)+len(value) > maxEvent {
				return last, false, errLongEvent
			}
			data = append(append(data, value...), '\n')
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				last = string(value)
			}
		} // "retry" is for who comes back by itself; "" is a comment
	}
}

// lineReader reads lines that end with LF, CR or both.
type lineReader struct {
	r    *bufio.Reader
	line []byte
	cr   bool // the line before ended with CR
}

// next returns a line without its end, valid until the next call. io.EOF is also
// for a line without one.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		b, err := l.r.ReadByte()
		if err != nil {
			return nil, err
		}
		after := l.cr
		l.cr = b == '\r'
		switch {
		case b == '\n' && after:
			continue // the second half of that end
		case b == '\n' || b == '\r':
			return l.line, nil
		}
		if l.line = append(l.line, b); len(l.line) > maxEvent {
			return nil, errLongEvent
		}
	}
}
