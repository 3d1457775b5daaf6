package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// peer is the store's end of a pipe, held by the test.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial gives a client that is attached to a peer. The client is closed at the end of
// the test.
func dial(t *testing.T) (*Client, *peer) {
	c := New()
	p := attach(t, c)
	t.Cleanup(func() { c.Close() })
	return c, p
}

func attach(t *testing.T, c *Client) *peer {
	near, far := net.Pipe()
	c.Attach(near)
	return &peer{t, far, bufio.NewReader(far)}
}

func (p *peer) take() Request {
	p.t.Helper()
	frame, err := ReadFrame(p.r)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := ParseRequest(frame)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *peer) give(a Answer) {
	p.t.Helper()
	if _, err := p.conn.Write(a.Append(nil)); err != nil {
		p.t.Fatal(err)
	}
}

var one = []Record{{Key: []byte("k"), Value: []byte("v")}}

func TestADetachedClientSaysAway(t *testing.T) {
	c, ctx := New(), context.Background()
	_, _, get := c.Get(ctx, []byte("k"))
	_, _, scan := c.Scan(ctx, nil, nil, 0)
	_, health := c.Health(ctx)
	for name, err := range map[string]error{"get": get, "scan": scan, "health": health,
		"batch": c.Batch(ctx, one), "backup": c.Backup(ctx, io.Discard), "stage": c.Stage(ctx, strings.NewReader("x")), "restore": c.Restore(ctx)} {
		if !errors.Is(err, ErrAway) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSizesAreCheckedBeforeAnythingIsSent(t *testing.T) {
	c, ctx := New(), context.Background() // sending would say ErrAway
	_, _, longGet := c.Get(ctx, k(MaxKey+1))
	_, _, noKey := c.Get(ctx, nil)
	_, _, longPrefix := c.Scan(ctx, k(MaxKey+1), nil, 0)
	_, _, longAfter := c.Scan(ctx, nil, k(MaxKey+1), 0)
	for name, err := range map[string]error{
		"a get with a long key":         longGet,
		"a get without a key":           noKey,
		"a scan with a long prefix":     longPrefix,
		"a scan with a long after":      longAfter,
		"a batch with an empty key":     c.Batch(ctx, []Record{{Value: k(1)}}),
		"a batch with a long key":       c.Batch(ctx, []Record{{Key: k(MaxKey + 1)}}),
		"a batch with a large value":    c.Batch(ctx, []Record{{Key: k(1), Value: k(MaxValue + 1)}}),
		"a batch of many records":       c.Batch(ctx, manyRecords(MaxRecords+1)),
		"a batch of many bytes":         c.Batch(ctx, []Record{{Key: k(1), Value: k(MaxValue)}, {Key: k(2), Value: k(MaxValue)}}),
		"a batch that deletes and puts": c.Batch(ctx, []Record{{Key: k(1), Value: k(1), Delete: true}}),
	} {
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Batch(ctx, nil); err != nil {
		t.Errorf("a batch of nothing: %v", err)
	}
}

func TestAnswersFindTheirCallsInAnyOrder(t *testing.T) {
	c, p := dial(t)
	values := make(chan string, 2)
	for _, key := range []string{"a", "b"} {
		go func() {
			v, _, err := c.Get(context.Background(), []byte(key))
			if err != nil {
				t.Error(err)
			}
			values <- key + string(v)
		}()
	}
	first, second := p.take(), p.take()
	for _, r := range []Request{second, first} {
		p.give(Answer{ID: r.ID, Op: OpGet, Found: true, Value: r.Key})
	}
	for range 2 {
		if v := <-values; v != "aa" && v != "bb" {
			t.Errorf("the answer of one call went to another: %s", v)
		}
	}
}

func TestAStatusBecomesAnError(t *testing.T) {
	for _, row := range []struct {
		status Status
		want   error
	}{{Done, nil}, {Full, ErrFull}, {Corrupt, ErrCorrupt}} {
		c, p := dial(t)
		ended := make(chan error)
		go func() { ended <- c.Batch(context.Background(), one) }()
		p.give(Answer{ID: p.take().ID, Op: OpBatch, Status: row.status, Text: textOf(row.status)})
		err := <-ended
		if !errors.Is(err, row.want) || err != nil && !strings.Contains(err.Error(), "the reason") {
			t.Errorf("status %d: %v", row.status, err)
		}
	}
}

func textOf(s Status) string {
	if s == Done {
		return ""
	}
	return "the reason"
}

func TestAStalledStoreCostsTheDeadlineAndItsLateAnswerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := dial(t)
		begin := time.Now()
		ended := make(chan error)
		go func() { ended <- c.Batch(context.Background(), one) }()
		late := p.take()
		err := <-ended
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != DefaultTimeout {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
		values := make(chan []byte)
		go func() {
			v, _, err := c.Get(context.Background(), []byte("k"))
			if err != nil {
				t.Error(err)
			}
			values <- v
		}()
		next := p.take()
		p.give(Answer{ID: late.ID, Op: OpBatch, Status: Failed, Text: "late"})
		p.give(Answer{ID: next.ID, Op: OpGet, Found: true, Value: []byte("in time")})
		if v := <-values; string(v) != "in time" {
			t.Fatalf("got %q", v)
		}
	})
}

// Nobody reads: the first call blocks within Write, the others in the queue. When the
// store reads again, it sees the first, whole, and none of those that gave up.
func TestACallThatGaveUpBeforeItsTurnIsNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := dial(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		ended := make(chan error)
		for range 2 * queueLength {
			go func() { ended <- c.Batch(ctx, one) }()
		}
		for range 2 * queueLength {
			if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		p.take()
		go func() { _, _, err := c.Get(context.Background(), []byte("next")); ended <- err }()
		next := p.take()
		if next.Op != OpGet || string(next.Key) != "next" {
			t.Fatalf("a call that had ended was sent: %+v", next)
		}
		p.give(Answer{ID: next.ID, Op: OpGet})
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	c, p := dial(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Batch(ctx, one) }()
	p.take()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestAttachReplacesTheLine(t *testing.T) {
	c, old := dial(t)
	ended := make(chan error)
	go func() { ended <- c.Batch(context.Background(), one) }()
	old.take()
	p := attach(t, c)
	if err := <-ended; !errors.Is(err, ErrAway) {
		t.Fatalf("the call on the old line: %v", err)
	}
	if _, err := old.conn.Write([]byte{0}); err == nil {
		t.Error("the old line is open")
	}
	go func() { ended <- c.Batch(context.Background(), one) }()
	p.give(Answer{ID: p.take().ID, Op: OpBatch})
	if err := <-ended; err != nil {
		t.Fatalf("the call on the new line: %v", err)
	}
}

func TestAStoreThatEndsLeavesAway(t *testing.T) {
	c, p := dial(t)
	ended := make(chan error)
	go func() { ended <- c.Batch(context.Background(), one) }()
	p.take()
	p.conn.Close()
	if err := <-ended; !errors.Is(err, ErrAway) {
		t.Fatalf("under way: %v", err)
	}
	if err := c.Batch(context.Background(), one); !errors.Is(err, ErrAway) {
		t.Fatalf("later: %v", err)
	}
}

func TestNonsenseFromTheStoreEndsTheLine(t *testing.T) {
	wrongOp := Answer{ID: 1, Op: OpGet}
	for name, nonsense := range map[string][]byte{
		"a frame too long":           {0xff, 0xff, 0xff, 0xff},
		"a frame that does not fit":  {0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 77},
		"an answer of another shape": wrongOp.Append(nil),
	} {
		c, p := dial(t)
		ended := make(chan error)
		go func() { ended <- c.Batch(context.Background(), one) }()
		p.take()
		go p.conn.Write(nonsense)
		if err := <-ended; !errors.Is(err, ErrAway) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Batch(context.Background(), one); !errors.Is(err, ErrAway) {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

func TestAClosedClientStaysAway(t *testing.T) {
	c, _ := dial(t)
	c.Close()
	late := attach(t, c)
	if _, err := late.conn.Write([]byte{0}); err == nil {
		t.Error("a closed client took a connection")
	}
	if err := c.Batch(context.Background(), one); !errors.Is(err, ErrAway) {
		t.Error(err)
	}
}

func BenchmarkAppendBatch(b *testing.B) {
	req := Request{Op: OpBatch, Records: manyRecords(4)}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = req.Append(buf[:0])
	}
}

func BenchmarkParseBatch(b *testing.B) {
	req := Request{Op: OpBatch, Records: manyRecords(4)}
	frame := req.Append(nil)[4:]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(frame); err != nil {
			b.Fatal(err)
		}
	}
}
