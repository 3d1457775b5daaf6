package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/store/client"
)

// serveMemory serves a disk in memory that the test can reach into.
func serveMemory(t *testing.T) (*disk, *client.Client) {
	d := &disk{log: slog.New(slog.DiscardHandler), now: time.Now}
	if err := d.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- attendAll(ctx, d, conns) }()
	c := client.New()
	near, far := net.Pipe()
	c.Attach(near)
	conns <- far
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		d.close()
	})
	return d, c
}

// room is a store on disk whose free space the test sets.
type room struct {
	dir   string
	d     *disk
	free  atomic.Int64
	conns chan net.Conn
	c     *client.Client
	stop  context.CancelFunc
	ended chan error
}

const testGuard, testReserve = 1 << 20, 2 << 20

var quiet = slog.New(slog.DiscardHandler)

func serveDir(t *testing.T, dir string, free int64) *room {
	t.Helper()
	return serveAs(t, dir, free, compareAtOnce)
}

// serveAs is serveDir that takes a database with tables of more than atOnce bytes for a
// large one.
func serveAs(t *testing.T, dir string, free, atOnce int64) *room {
	t.Helper()
	r := &room{dir: dir, conns: make(chan net.Conn), c: client.New(), ended: make(chan error, 1)}
	r.free.Store(free)
	r.d = &disk{dir: dir, boot: "this", now: time.Now, due: make(chan struct{}, 1), doubts: make(chan error, 1), found: make(chan error, 1), atOnce: atOnce, atEnd: time.Minute, guard: testGuard, reserve: testReserve, log: quiet,
		free: func(string) (int64, error) { return r.free.Load(), nil }}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- serve(ctx, r.d, r.conns) }()
	near, far := net.Pipe()
	r.c.Attach(near)
	select {
	case r.conns <- far:
	case err := <-r.ended:
		t.Fatalf("serve ended: %v", err)
	}
	t.Cleanup(func() { r.end(t) })
	return r
}

func (r *room) end(t *testing.T) {
	r.c.Close()
	r.stop()
	if r.ended == nil {
		return
	}
	if err := <-r.ended; err != nil {
		t.Errorf("serve ended with %v", err)
	}
	r.ended = nil
}

const plenty = 1 << 30

func TestWhatWasWrittenIsThereAfterAReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "serve")
	r := serveDir(t, dir, plenty)
	batchOf(t, r.c, record("a", "1"), record("b", "2"))
	batchOf(t, r.c, client.Record{Key: []byte("a"), Delete: true})
	r.end(t)
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", st.Mode(), err)
	}
	r = serveDir(t, dir, plenty)
	if keys := everything(t, r.c, "", 0); !slices.Equal(keys, []string{"b"}) {
		t.Fatalf("got %q", keys)
	}
}

// A file appears before it has a size, and a process may be killed between.
func TestAFileThatWasNeverMadeIsFine(t *testing.T) {
	for _, name := range []string{"00009.mem", "000009.vlog", "000999.sst", "DISCARD", "MANIFEST-REWRITE"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := serveDir(t, dir, plenty)
			batchOf(t, r.c, record("a", "1"))
			r.end(t)
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			r = serveDir(t, dir, plenty)
			batchOf(t, r.c, record("b", "2"))
			r.end(t)
			r = serveDir(t, dir, plenty)
			if keys := everything(t, r.c, "", 0); !slices.Equal(keys, []string{"a", "b"}) {
				t.Fatalf("got %q", keys)
			}
		})
	}
}

func TestOtherFilesInTheDirectoryAreFine(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := serveDir(t, dir, plenty)
		batchOf(t, r.c, record("a", "1"))
		r.end(t)
	}
}

// The first serve holds the directory's lock; time is the second one's own.
func TestADirectoryInUseIsWaitedForAndThenNamed(t *testing.T) {
	dir := t.TempDir()
	r := serveDir(t, dir, plenty)
	batchOf(t, r.c, record("a", "1"))
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		err := Serve(t.Context(), dir, nil, Option{})
		if err == nil || time.Since(begin) != lockWait {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
		for _, part := range []string{dir, "store.path", "stop that gatewayd"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	})
}

func TestADirectoryThatIsLetGoInTimeIsOpened(t *testing.T) {
	dir := t.TempDir()
	r := serveDir(t, dir, plenty)
	batchOf(t, r.c, record("a", "1"))
	go func() { time.Sleep(3 * lockPoll); r.stop() }()
	second := serveDir(t, dir, plenty)
	if keys := everything(t, second.c, "", 0); !slices.Equal(keys, []string{"a"}) {
		t.Fatalf("got %q", keys)
	}
}

func TestANewConnectionReplacesTheOldOne(t *testing.T) {
	r := serveDir(t, t.TempDir(), plenty)
	batchOf(t, r.c, record("a", "1"))
	near, far := net.Pipe()
	other := client.New()
	other.Attach(near)
	r.conns <- far
	if v, _, err := other.Get(patient(t), []byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("the new one: %q, %v", v, err)
	}
	if err := r.c.Batch(patient(t), []client.Record{record("a", "2")}); !errors.Is(err, client.ErrAway) {
		t.Fatalf("the old one: %v", err)
	}
	other.Close()
}

// Whether or not the batch that a caller left behind was done, the next one's reads
// agree about it.
func TestWhatACallerLeftBehindIsDoneBeforeTheNextIsServed(t *testing.T) {
	r := serveDir(t, t.TempDir(), testGuard+testReserve)
	defer r.end(t)
	for i := range 100 {
		key := fmt.Appendf(nil, "key %d", i)
		near, far := net.Pipe()
		r.conns <- far
		batch := client.Request{ID: 1, Op: client.OpBatch, Records: []client.Record{{Key: key, Value: []byte("v")}}}
		if _, err := near.Write(batch.Append(nil)); err != nil {
			t.Fatal(err)
		}
		near.Close() // it dies without waiting for the answer
		to, from := net.Pipe()
		r.c.Attach(to)
		r.conns <- from
		_, first, err := r.c.Get(patient(t), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.c.Batch(patient(t), []client.Record{{Key: []byte("another"), Value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
		_, later, err := r.c.Get(patient(t), key)
		if err != nil || first != later {
			t.Fatalf("key %d: read as there %v, then %v: %v", i, first, later, err)
		}
	}
}

func TestNonsenseEndsTheConnectionAndNotTheStore(t *testing.T) {
	r := serveDir(t, t.TempDir(), plenty)
	for _, nonsense := range []string{"\xff\xff\xff\xff", "\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x63", "\x00\x00"} {
		near, far := net.Pipe()
		r.conns <- far
		if _, err := near.Write([]byte(nonsense)); err != nil {
			t.Fatal(err)
		}
		if len(nonsense) < 4 {
			near.Close()
			continue
		}
		if _, err := bufio.NewReader(near).ReadByte(); err != io.EOF {
			t.Errorf("%x: the connection is open: %v", nonsense, err)
		}
	}
	near, far := net.Pipe()
	r.conns <- far
	r.c.Attach(near)
	batchOf(t, r.c, record("a", "1"))
}

func TestUnderTheGuardChangesAreRefusedAndReadsAreNot(t *testing.T) {
	r := serveDir(t, t.TempDir(), plenty)
	batchOf(t, r.c, record("a", "1"))
	r.free.Store(testGuard - 1)
	if err := r.c.Batch(patient(t), []client.Record{record("a", "2")}); !errors.Is(err, client.ErrFull) {
		t.Fatalf("a change: %v", err)
	}
	if v, _, err := r.c.Get(patient(t), []byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("a read: %q, %v", v, err)
	}
	h, err := r.c.Health(patient(t))
	if err != nil || h.OK || h.Free != testGuard-1 || !strings.Contains(h.Why, "1.0 MB kept free") {
		t.Fatalf("health: %+v, %v", h, err)
	}
	if err := r.c.Backup(patient(t), io.Discard); err != nil {
		t.Fatalf("a backup: %v", err)
	}
	if err := r.c.Stage(patient(t), bytes.NewReader(nil)); !errors.Is(err, client.ErrFull) {
		t.Fatalf("a restore: %v", err)
	}
	r.free.Store(testGuard)
	batchOf(t, r.c, record("a", "2"))
	if h, err := r.c.Health(patient(t)); err != nil || !h.OK {
		t.Fatalf("health again: %+v, %v", h, err)
	}
}

// What a full disk finds at the start, and what it becomes when space returns.
func TestOpeningOnAFullDisk(t *testing.T) {
	for _, row := range []struct {
		name  string
		free  int64
		reads bool
	}{
		{"under the guard it opens to be read", testGuard - 1, true},
		{"with no room at all it stays shut", 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			r := serveDir(t, dir, plenty)
			batchOf(t, r.c, record("a", "1"))
			if !hasReserve(dir) {
				t.Fatal("no reserve was made")
			}
			r.end(t)

			r = serveDir(t, dir, row.free)
			ctx := patient(t)
			h, err := r.c.Health(ctx)
			if err != nil || h.OK || h.Why == "" {
				t.Errorf("health: %+v, %v", h, err)
			}
			if hasReserve(dir) {
				t.Error("the reserve was not given up")
			}
			if err := r.c.Batch(ctx, []client.Record{record("a", "2")}); !errors.Is(err, client.ErrFull) {
				t.Errorf("a change: %v", err)
			}
			v, _, err := r.c.Get(ctx, []byte("a"))
			if row.reads && (err != nil || string(v) != "1") || !row.reads && !errors.Is(err, client.ErrFull) {
				t.Errorf("a read: %q, %v", v, err)
			}

			r.free.Store(testGuard + testReserve - 1) // room, but not for the reserve
			if err := r.c.Batch(ctx, []client.Record{record("a", "2")}); !errors.Is(err, client.ErrFull) {
				t.Errorf("a change with a little room: %v", err)
			}
			r.free.Store(plenty)
			if err := r.d.watch(ctx); err != nil {
				t.Fatal(err)
			}
			batchOf(t, r.c, record("a", "3"))
			if !hasReserve(dir) {
				t.Error("the reserve was not made again")
			}
		})
	}
}

// Free space counts with the reserve given up, so the reserve decides here.
func TestTheReserveIsWhatOpensAFullDisk(t *testing.T) {
	dir := t.TempDir()
	r := serveDir(t, dir, plenty)
	batchOf(t, r.c, record("a", "1"))
	r.end(t)
	d := &disk{dir: dir, now: time.Now, atOnce: compareAtOnce, atEnd: time.Minute, guard: testGuard, reserve: testReserve, log: slog.New(slog.DiscardHandler),
		free: func(string) (int64, error) {
			if hasReserve(dir) {
				return 0, nil
			}
			return testGuard / 2, nil
		}}
	if err := d.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if v, found, err := d.get([]byte("a")); err != nil || !found || string(v) != "1" {
		t.Fatalf("got %q, %v, %v", v, found, err)
	}
}

func TestTheReserveIsAllocated(t *testing.T) {
	dir := t.TempDir()
	if err := makeReserve(dir, testReserve); err != nil {
		t.Fatal(err)
	}
	du, err := allocated(filepath.Join(dir, reserveName))
	if err != nil || du < testReserve {
		t.Fatalf("%d bytes, %v", du, err)
	}
	for range 2 {
		if err := dropReserve(dir); err != nil || hasReserve(dir) {
			t.Fatal(err)
		}
	}
}
