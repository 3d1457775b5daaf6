package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"
)

// DefaultTimeout is the deadline of a call whose context has none.
const DefaultTimeout = 5 * time.Second

// longTimeout is the deadline of a step that reads or writes all records.
const longTimeout = 5 * time.Minute

// What a call can end with, beside its context's error. Compare with errors.Is.
var (
	// ErrAway: no store is attached, or the connection ended before the answer. A
	// Batch that was under way is then in doubt.
	ErrAway = errors.New("the store is away")
	// ErrFull: refused, nothing was done, because the disk is nearly full.
	ErrFull = errors.New("the store's disk is full")
	// ErrCorrupt: a stored value fails its checksum. The error's text names the key.
	ErrCorrupt = errors.New("the stored value fails its checksum")
	// ErrUnfit: refused, nothing was changed, because what was sent is not a whole
	// backup. The error's text says what is wrong with it.
	ErrUnfit = errors.New("it cannot be restored")
	// ErrTooLarge: a key, a value or a batch is over its limit, or a key is empty.
	// Nothing was sent.
	ErrTooLarge = errors.New("over the size limit")
)

// Client calls the store. Its methods may be called from many goroutines.
type Client struct {
	mu     sync.Mutex
	line   *line // the newest; nil before the first Attach
	closed bool
}

// New returns a client that is attached to nothing: every call returns ErrAway
// until Attach.
func New() *Client { return &Client{} }

// Attach makes conn the way to the store from now on. The Client owns conn and
// closes it. Calls under way on an earlier connection return ErrAway.
func (c *Client) Attach(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line != nil {
		c.line.end()
	}
	if c.closed {
		conn.Close()
		return
	}
	c.line = newLine(conn)
}

// Close ends the connection and returns when nothing of it is left running. Calls
// under way, and all later ones, return ErrAway.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.line != nil {
		c.line.end()
	}
	return nil
}

// Get returns the value of key. found is false, with no error, when there is none.
func (c *Client) Get(ctx context.Context, key []byte) (value []byte, found bool, err error) {
	if err := checkKey(key); err != nil {
		return nil, false, fmt.Errorf("store: get: %w", err)
	}
	a, err := c.do(ctx, Request{Op: OpGet, Key: key})
	return a.Value, a.Found, err
}

// Scan returns records whose key begins with prefix and sorts after `after` (nil: from
// the first), in the order of their keys: at most limit of them (0: no limit but the
// next) and about ScanSize bytes. more says that there are others; the next page
// begins after the last key. Each page is a consistent view; two pages are two views.
func (c *Client) Scan(ctx context.Context, prefix, after []byte, limit int) (page []Record, more bool, err error) {
	if len(prefix) > MaxKey || len(after) > MaxKey {
		return nil, false, fmt.Errorf("store: scan: key of %d bytes: %w", max(len(prefix), len(after)), ErrTooLarge)
	}
	limit = min(max(limit, 0), math.MaxInt32)
	a, err := c.do(ctx, Request{Op: OpScan, Prefix: prefix, After: after, Limit: limit})
	return a.Records, a.More, err
}

// Batch writes and deletes the records, all or none, in their order. When it returns
// nil they are on the disk. No records is no work. See the package comment for which
// errors leave it in doubt.
func (c *Client) Batch(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	if err := checkBatch(records); err != nil {
		return fmt.Errorf("store: batch: %w", err)
	}
	_, err := c.do(ctx, Request{Op: OpBatch, Records: records})
	return err
}

// Backup writes everything the store holds, as of one moment, to w. The store goes on
// meanwhile; one backup at a time is written, a second ends the first. What w got is
// good only when the error is nil. Between two parts w may take 30 s; ctx may be
// without a deadline.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	for begin, more := true, true; more; begin = false {
		a, err := c.do(ctx, Request{Op: OpBackup, Begin: begin})
		if err != nil {
			return err
		}
		if _, err := w.Write(a.Value); err != nil {
			return err
		}
		more = a.More
	}
	return nil
}

// Stage sends a backup to the store, which keeps it beside and reads all of it; nothing
// is changed. Only Restore makes it count. Errors of r are returned wrapped; a file
// that is no whole backup is ErrUnfit.
func (c *Client) Stage(ctx context.Context, r io.Reader) error {
	if _, err := c.do(ctx, Request{Op: OpRestore, Step: StepBegin}); err != nil {
		return err
	}
	part := make([]byte, MaxChunk)
	for {
		n, err := io.ReadFull(r, part)
		if n > 0 {
			if _, err := c.do(ctx, Request{Op: OpRestore, Step: StepPart, Part: part[:n]}); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read the backup: %w", err)
		}
	}
	_, err := c.long(ctx, Request{Op: OpRestore, Step: StepCheck})
	return err
}

// Restore puts the staged backup in the place of all records, and over it, in the same
// step, the records given, of which each key may be there once. After an error all is as
// before or all is restored.
func (c *Client) Restore(ctx context.Context, over ...Record) error {
	if err := checkBatch(over); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	_, err := c.long(ctx, Request{Op: OpRestore, Step: StepCommit, Records: over})
	return err
}

// long is do for what takes longer the more there is.
func (c *Client) long(ctx context.Context, req Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	return c.do(ctx, req)
}

// Health asks the store whether it accepts changes.
func (c *Client) Health(ctx context.Context) (Health, error) {
	a, err := c.do(ctx, Request{Op: OpHealth})
	return a.Health, err
}

// do sends one request and waits for its answer. On an error the answer is empty.
func (c *Client) do(ctx context.Context, req Request) (Answer, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	c.mu.Lock()
	l := c.line
	c.mu.Unlock()
	if l == nil {
		return Answer{}, fmt.Errorf("store: %v: %w", req.Op, ErrAway)
	}
	a, err := l.call(ctx, req)
	if err == nil {
		err = a.err()
	}
	if err != nil {
		return Answer{}, fmt.Errorf("store: %v: %w", req.Op, err)
	}
	return a, nil
}

// err is the error a status stands for.
func (a *Answer) err() error {
	switch a.Status {
	case Done:
		return nil
	case Full:
		return fmt.Errorf("%w: %s", ErrFull, a.Text)
	case Corrupt:
		return fmt.Errorf("%w: %s", ErrCorrupt, a.Text)
	case Unfit:
		return fmt.Errorf("%w: %s", ErrUnfit, a.Text)
	}
	return errors.New(a.Text)
}

func checkKey(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("key of %d bytes: %w", len(key), ErrTooLarge)
	}
	return nil
}

func checkBatch(records []Record) error {
	if len(records) > MaxRecords {
		return fmt.Errorf("%d records: %w", len(records), ErrTooLarge)
	}
	for _, r := range records {
		if err := checkKey(r.Key); err != nil {
			return err
		}
		if len(r.Value) > MaxValue || r.Delete && len(r.Value) > 0 {
			return fmt.Errorf("value of %d bytes for key %q: %w", len(r.Value), r.Key, ErrTooLarge)
		}
	}
	if n := batchSize(records); n > MaxBatch {
		return fmt.Errorf("%d bytes: %w", n, ErrTooLarge)
	}
	return nil
}
