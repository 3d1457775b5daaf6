package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"gatewayd/store/client"
)

const (
	lockWait = 5 * time.Second        // for a former instance to let go of the directory
	lockPoll = 100 * time.Millisecond // how often it is asked
)

var errInUse = errors.New("in use")

// disk is the directory, what is in it (the database, the journal, the snapshots), and
// the room there is. In memory it has no directory, only a database, and always room.
type disk struct {
	dir     string // "" in memory
	name    string // what people call it
	boot    string // of the box
	guard   int64  // bytes, beside what compaction takes
	reserve int64  // bytes
	free    func(dir string) (int64, error)
	now     func() time.Time // wall clock, for stamps that people read
	log     *slog.Logger

	mu      sync.RWMutex // held for reading while db is used, for writing while it is opened or closed
	db      *badger.DB   // nil while there is too little room to open it
	lean    bool         // opened without compaction: no changes
	shutWhy string       // why db is nil

	journal *journal // what is written to; nil: the next commit begins a segment
	last    uint64   // sequence of the newest batch; this and journal are the committer's while db is used

	snapshot    atomic.Uint64 // sequence of the newest snapshot
	segment     atomic.Uint64 // sequence at which the newest segment begins
	segmentSize atomic.Int64  // bytes after which a segment is full
	segments    atomic.Int64  // how many were filled since the newest snapshot was begun
	reading     atomic.Int32  // who reads the journal

	renew    atomic.Bool   // the snapshots and the journal are to be made anew
	atOnce   int64         // bytes of tables up to which the database is compared before it is served
	atEnd    time.Duration // for the snapshot before the end
	unproved atomic.Bool   // it is compared while it is served
	lookMu   sync.Mutex
	stopLook context.CancelFunc // of the look at all records that is under way; nil: there was none
	found    chan error         // damage, by comparing
	scrubbed uint64             // the table that was read last to look for damage; keep's

	tables tablesRoom

	due     chan struct{} // a snapshot is
	doubts  chan error    // of reading from the database
	outflow outflow

	failMu  sync.Mutex
	failure error // what the last commit failed with; nil when it did not
	broken  bool  // journal and database may differ: no commit before they are opened again
}

// prepare makes the directory, if need be, for its owner only, and takes away what
// nobody needs.
func (d *disk) prepare() error {
	if d.dir == "" {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("make the store's directory: %w", err)
	}
	if err := removeFile(filepath.Join(d.dir, stagedName)); err != nil {
		return fmt.Errorf("remove what a restore left that was cut short: %w", err)
	}
	return nil
}

// open opens the database as far as the free space allows (see the package comment).
// Too little room is a state of the disk and no error. The caller holds mu, or is
// alone.
func (d *disk) open(ctx context.Context) error {
	d.lean, d.shutWhy = false, ""
	d.tables.forget()
	o := profile(d.dir, d.log)
	if d.dir == "" {
		db, err := badger.Open(o)
		if err != nil {
			return fmt.Errorf("open in memory: %w", err)
		}
		d.db = db
		return nil
	}
	free, kept, err := d.space()
	if err != nil {
		return err
	}
	if free < kept {
		if err := dropReserve(d.dir); err != nil {
			return err
		}
		if free, err = d.free(d.dir); err != nil {
			return err
		}
		need, err := roomToOpen(d.dir)
		if err != nil {
			return err
		}
		if free < need {
			d.shutWhy = fmt.Sprintf("%s free at %s, %s needed to open the store", megabytes(free), d.dir, megabytes(need))
			d.log.Error("store: shut, the disk is full", "free", free, "need", need, "dir", d.dir)
			return nil
		}
		d.log.Warn("store: opened for reading only, the disk is nearly full", "free", free, "kept", kept, "dir", d.dir)
		o, d.lean = lean(o), true
	}
	d.mend(nil, false)
	if err := d.openChecked(ctx, o); err != nil {
		return err
	}
	d.keepReserve()
	return nil
}

// thinOut compacts level 0 into the levels below when opening would find it crowded,
// while nothing else compacts.
func (d *disk) thinOut(ctx context.Context, o badger.Options) error {
	if is, err := crowded(o); err != nil || !is {
		return err
	}
	db, err := openLocked(ctx, lean(o))
	if err != nil {
		return err
	}
	if err := errors.Join(db.Flatten(1), db.Close()); err != nil {
		return fmt.Errorf("compact the store at %s: %w", d.dir, err)
	}
	return nil
}

// openLocked opens the database and waits, lockWait at most, for a process that has
// it open.
func openLocked(ctx context.Context, o badger.Options) (*badger.DB, error) {
	for waited := time.Duration(0); ; waited += lockPoll {
		if err := dropUnmade(o.Dir); err != nil {
			return nil, fmt.Errorf("open the store at %s: %w", o.Dir, err)
		}
		db, err := badger.Open(o)
		if err == nil {
			return db, nil
		}
		if !isLocked(o.Dir) {
			return nil, fmt.Errorf("open the store at %s: %w", o.Dir, err)
		}
		if waited >= lockWait {
			return nil, fmt.Errorf("open the store at %s: process %s has had it open for %v: "+
				"stop that gatewayd, or give this one another store.path: %w: %w", o.Dir, holder(o.Dir), lockWait, errInUse, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("open the store at %s: %w", o.Dir, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// dropUnmade removes logs without a byte. A process that is killed after it created one
// and before it gave it a size leaves it so; it holds nothing, and Badger does not open
// beside it. While another process has dir open nothing is touched.
func dropUnmade(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // opening says what is the matter
	}
	files, err := f.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, file := range files {
		if kind := filepath.Ext(file.Name()); kind != ".mem" && kind != ".vlog" {
			continue
		}
		st, err := file.Info()
		if err == nil && st.Size() == 0 {
			err = os.Remove(filepath.Join(dir, file.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isLocked asks for Badger's lock on dir, which is a flock of the directory.
func isLocked(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// holder is the id of the process that says it has dir open.
func holder(dir string) string {
	pid, err := os.ReadFile(filepath.Join(dir, "LOCK"))
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(pid))
}

// keepReserve makes the reserve when it is missing and there is room for it and the
// guard. Without it the store works; it only may not open on a full disk.
func (d *disk) keepReserve() {
	if d.dir == "" || d.reserve == 0 || d.lean || hasReserve(d.dir) {
		return
	}
	free, kept, err := d.space()
	if err == nil && free >= kept+d.reserve {
		err = makeReserve(d.dir, d.reserve)
	}
	if err != nil {
		d.log.Warn("store: no reserve", "err", err)
	}
}

// watch opens the disk whole when its space has come back, and anew when a commit
// failed halfway. An error is one that opening met, and leaves the disk shut.
func (d *disk) watch(ctx context.Context) error {
	d.mu.RLock()
	whole := d.db != nil && !d.lean
	if whole {
		d.keepReserve()
	}
	d.mu.RUnlock()
	broken := d.isBroken()
	if whole && !broken || d.dir == "" {
		return nil
	}
	free, kept, err := d.space()
	if err != nil || !broken && free < kept+d.reserve {
		return err
	}
	d.lock()
	defer d.mu.Unlock()
	if err := d.close(); err != nil {
		d.log.Warn("store: closed badly before opening it again", "err", err)
	}
	if err := d.open(ctx); err != nil {
		d.shutWhy = err.Error()
		return err
	}
	if d.db != nil {
		d.log.Info("store: opened again", "free", free)
	}
	return nil
}

// close closes the database. The caller holds mu, or is alone.
func (d *disk) close() error {
	if d.db == nil {
		return nil
	}
	err := errors.Join(d.journal.close(), d.db.Close())
	d.db, d.journal, d.shutWhy = nil, nil, "the store is closed"
	return err
}

// use gives f the database while it cannot be closed. The error wraps
// client.ErrFull when the database is shut.
func (d *disk) use(f func(*badger.DB) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.db == nil {
		return fmt.Errorf("%w: %s", client.ErrFull, d.shutWhy)
	}
	return f(d.db)
}

// refuses is why changes are refused now, and nil when they are not. It wraps
// client.ErrFull.
func (d *disk) refuses() error {
	_, err := d.room()
	return err
}

// space is the free space and how much of it is kept: the guard, and what compaction
// may take. Both in bytes.
func (d *disk) space() (free, kept int64, err error) {
	if free, err = d.free(d.dir); err != nil {
		return 0, 0, err
	}
	need, err := d.tables.room(d.dir)
	return free, d.guard + need, err
}

func (d *disk) room() (free int64, err error) {
	if d.dir == "" {
		return -1, nil
	}
	free, kept, err := d.space()
	if err != nil {
		return 0, err
	}
	d.mu.RLock()
	shut, lean, why := d.db == nil, d.lean, d.shutWhy
	d.mu.RUnlock()
	switch {
	case shut:
		return free, fmt.Errorf("%w: %s", client.ErrFull, why)
	case lean:
		return free, fmt.Errorf("%w: %s free at %s, selling again at %s", client.ErrFull,
			megabytes(free), d.dir, megabytes(kept+d.reserve))
	case free < kept:
		return free, fmt.Errorf("%w: %s free at %s, %s kept free", client.ErrFull,
			megabytes(free), d.dir, megabytes(kept))
	}
	return free, nil
}

// committed notes how a commit ended.
func (d *disk) committed(err error) {
	d.failMu.Lock()
	d.failure = err
	d.failMu.Unlock()
}

// mend notes whether the journal and the database may differ, and why.
func (d *disk) mend(err error, broken bool) {
	d.failMu.Lock()
	d.failure, d.broken = err, broken
	d.failMu.Unlock()
}

func (d *disk) isBroken() bool {
	d.failMu.Lock()
	defer d.failMu.Unlock()
	return d.broken
}

// health is the disk's own view: whether a change would be accepted.
func (d *disk) health() client.Health {
	free, err := d.room()
	if err == nil {
		d.failMu.Lock()
		err = d.failure
		d.failMu.Unlock()
	}
	if err != nil {
		return client.Health{Free: free, Why: reason(d.called(err)), Notice: d.notice()}
	}
	return client.Health{OK: true, Free: free, Notice: d.notice()}
}

// collect lets Badger rewrite a value log that is mostly dead. Values are kept out of
// that log, so it has work only when a larger profile once wrote here.
func (d *disk) collect() {
	if d.dir == "" {
		return
	}
	err := d.use(func(db *badger.DB) error {
		if d.lean {
			return nil
		}
		return db.RunValueLogGC(0.5)
	})
	if err != nil && !errors.Is(err, badger.ErrNoRewrite) && !errors.Is(err, client.ErrFull) {
		d.log.Warn("store: value log not collected", "err", err)
	}
}
