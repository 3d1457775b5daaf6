package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

// What Option's zero values stand for.
const (
	DefaultGuard   = 4 << 20 // bytes
	DefaultReserve = 4 << 20 // bytes
)

const (
	watchInterval   = time.Second      // how often the free space is looked at
	scrubInterval   = time.Minute      // how often scrubShare of the tables are read
	collectInterval = 10 * time.Minute // how often the value log is looked at
)

// Option is how a store is served. Its zero value is good for a small box.
type Option struct {
	Guard   int64        // bytes kept free beside the size of the tables: below, changes are refused; 0 means DefaultGuard, negative none
	Reserve int64        // bytes held back for opening on a full disk; 0 means DefaultReserve, negative none
	Log     *slog.Logger // nil means silence
	Name    string       // what people call dir, where that is a way of reaching it; empty means dir
	Boot    string       // tells this boot of the box from all others, as /proc/sys/kernel/random/boot_id; empty: they are one
}

// Serve opens the store in dir, which it makes (mode 0700) if need be, and serves
// each connection that arrives, in place of the one before, until ctx ends. Then it
// closes the store with everything on disk and returns nil. Any error is one of
// opening or closing: a directory that another process has open for 5 s, a disk that
// cannot be written; or a database that is found damaged, which is not closed: the
// process has to end, and the next one mends it. It owns the connections it takes.
func Serve(ctx context.Context, dir string, conns <-chan net.Conn, opt Option) error {
	d := newDisk(dir, opt)
	return d.called(serve(ctx, d, conns))
}

func newDisk(dir string, opt Option) *disk {
	d := &disk{
		dir:     dir,
		name:    opt.Name,
		boot:    opt.Boot,
		guard:   orDefault(opt.Guard, DefaultGuard),
		reserve: orDefault(opt.Reserve, DefaultReserve),
		atOnce:  compareAtOnce,
		atEnd:   lastSnapshotTime,
		free:    freeSpace,
		now:     time.Now,
		due:     make(chan struct{}, 1),
		doubts:  make(chan error, 1),
		found:   make(chan error, 1),
		log:     opt.Log,
	}
	if d.name == "" {
		d.name = dir
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// ServeMemory is Serve of a store that lives in memory and ends with ctx, for the tests
// of other rooms: the real protocol and the real database, and no disk to wait for.
func ServeMemory(ctx context.Context, conns <-chan net.Conn) error {
	d, err := openInMemory(ctx)
	if err != nil {
		return err
	}
	return errors.Join(attendAll(ctx, d, conns), d.close())
}

// openInMemory opens a disk that is none.
func openInMemory(ctx context.Context) (*disk, error) {
	d := &disk{log: slog.New(slog.DiscardHandler), now: time.Now}
	return d, d.open(ctx)
}

// OpenMemory serves a store that lives in memory, over a pipe, for the tests of other
// rooms: the real protocol and the real database. The function it returns closes
// both.
func OpenMemory() (*client.Client, func(), error) {
	near, far := net.Pipe()
	conns := make(chan net.Conn, 1)
	conns <- far
	ctx, cancel := context.WithCancel(context.Background())
	d, err := openInMemory(ctx)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	var served sync.WaitGroup
	served.Go(func() { attendAll(ctx, d, conns) })
	c := client.New()
	c.Attach(near)
	return c, func() {
		c.Close()
		cancel()
		served.Wait()
		d.close()
	}, nil
}

// serve is Serve with its disk given.
func serve(ctx context.Context, d *disk, conns <-chan net.Conn) error {
	if err := d.prepare(); err != nil {
		return err
	}
	if err := d.open(ctx); err != nil {
		return err
	}
	err := attendAll(ctx, d, conns)
	if isDamage(err) {
		if err := writeFile(filepath.Join(d.dir, doubtedName), err.Error()); err != nil {
			d.log.Warn("store: what was found is not on the disk", "err", err)
		}
		d.log.Error("store: the database is damaged; the next start mends it", "err", err)
		return fmt.Errorf("the store at %s is damaged, and is mended at its next start: %w", d.dir, err)
	}
	if err == nil {
		d.lastSnapshot()
	}
	return errors.Join(err, d.close())
}

// attendAll starts what serves the connections and stops it in reverse. It ends with
// ctx, or with a disk that cannot be opened again.
func attendAll(ctx context.Context, d *disk, conns <-chan net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan batch, queueLength)
	c := &committer{disk: d, queue: queue}
	s := &service{disk: d, commits: queue}

	var committing, keeping sync.WaitGroup
	var kept error
	committing.Go(c.run)
	keeping.Go(func() { d.proveSoon(ctx) })
	keeping.Go(func() {
		defer cancel()
		kept = keep(ctx, d)
	})

	var current *caller
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case conn, ok := <-conns:
			if !ok {
				conns = nil
				continue
			}
			current.leave()
			current = s.attend(ctx, conn, current)
		}
	}
	keeping.Wait()
	if isDamage(kept) {
		return kept // what waits for the database may wait for ever
	}
	current.leave()
	s.running.Wait()
	close(queue)
	committing.Wait()
	return kept
}

// leave hangs up and returns when no further request of the caller can start.
func (c *caller) leave() {
	if c != nil {
		c.hangUp()
		<-c.parsed
	}
}

// keep looks after the disk until ctx ends.
func keep(ctx context.Context, d *disk) error {
	watch, scrub, collect := time.NewTicker(watchInterval), time.NewTicker(scrubInterval), time.NewTicker(collectInterval)
	defer watch.Stop()
	defer scrub.Stop()
	defer collect.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C:
			if err := d.watch(ctx); err != nil && ctx.Err() == nil {
				return err
			}
			if err := d.keepSafe(ctx); err != nil {
				return err
			}
		case <-d.due:
			if err := d.keepSafe(ctx); err != nil {
				return err
			}
		case err := <-d.doubts:
			if err := d.settle(ctx, err); err != nil {
				return err
			}
		case <-scrub.C:
			if err := d.check(func(db *badger.DB) error { return d.scrubSome(ctx, db) }); err != nil {
				return err
			}
		case err := <-d.found:
			return err
		case <-collect.C:
			d.collect()
		}
	}
}

// orDefault gives an Option its meaning.
func orDefault(v, standard int64) int64 {
	if v == 0 {
		return standard
	}
	return max(v, 0)
}
