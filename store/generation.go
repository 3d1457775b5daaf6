package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

const (
	generationPrefix  = "snapshot-"
	partialGeneration = "snapshot.partial"
	keptGenerations   = 2

	lastSnapshotTime = 500 * time.Millisecond // for the snapshot before the end
)

// sequenced is a file whose name ends with a sequence: a snapshot holds everything up
// to it, a journal's segment what follows it.
type sequenced struct {
	path     string
	sequence uint64
}

func generationPath(dir string, sequence uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x", generationPrefix, sequence))
}

// filesOf lists the files in dir that are prefix and a sequence, the oldest first.
func filesOf(dir, prefix string) ([]sequenced, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []sequenced
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || len(digits) != 16 {
			continue
		}
		if n, err := strconv.ParseUint(digits, 16, 64); err == nil {
			files = append(files, sequenced{filepath.Join(dir, e.Name()), n})
		}
	}
	slices.SortFunc(files, func(a, b sequenced) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

// prune removes the snapshots that are older than the kept ones, and the segments
// that are not needed with the oldest of these.
func prune(dir string, keep int) error {
	snapshots, err := filesOf(dir, generationPrefix)
	if err != nil || len(snapshots) == 0 {
		return err
	}
	segments, err := filesOf(dir, segmentPrefix)
	if err != nil {
		return err
	}
	old := snapshots[:max(0, len(snapshots)-keep)]
	oldest := snapshots[len(old)].sequence
	for i, s := range segments {
		if i+1 < len(segments) && segments[i+1].sequence <= oldest {
			old = append(old, s)
		}
	}
	var failed error
	for _, s := range old {
		failed = errors.Join(failed, removeFile(s.path))
	}
	return failed
}

// removeFile removes a file that may be gone.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keepSafe makes a snapshot when one is due: the journal has begun a new segment, or
// the former ones are not whole. The error is a damage.
func (d *disk) keepSafe(ctx context.Context) error {
	due := d.renew.Load() || d.snapshot.Load() < d.segment.Load()
	if d.dir == "" || !due || d.unproved.Load() {
		return nil
	}
	d.reading.Add(1)
	filled := d.segments.Load()
	look, done := d.look(ctx)
	err := d.use(func(db *badger.DB) error {
		if d.renew.Load() {
			d.renewAccount(look, db, d.pace(look))
			return nil
		}
		return d.nextSnapshot(look, db, d.pace(look))
	})
	done()
	d.reading.Add(-1)
	if err == nil {
		d.segments.Add(-filled)
	}
	var bad *damage
	switch {
	case errors.As(err, &bad):
		return err
	case errors.Is(err, errNotWhole), errors.Is(err, ErrBadSnapshot):
		d.log.Error("store: the snapshots and the journal are made anew", "err", err)
		d.renew.Store(true)
	case err != nil && !errors.Is(err, client.ErrFull) && !errors.Is(err, context.Canceled):
		d.log.Warn("store: no snapshot; it is tried again", "err", err)
	}
	return nil
}

// lastSnapshot makes a snapshot of a disk that changed since the last one, before it is
// closed, unless that takes too long. Without it nothing is lost: the journal has it.
func (d *disk) lastSnapshot() {
	if d.dir == "" || d.db == nil || d.lean || d.renew.Load() || d.unproved.Load() || d.isBroken() || d.snapshot.Load() == d.last {
		return
	}
	if size, err := roomToCompact(d.dir); err != nil || size > d.atOnce {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.atEnd)
	defer cancel()
	if err := d.nextSnapshot(ctx, d.db, nil); err != nil {
		d.log.Info("store: no snapshot at the end", "err", err)
	}
}

// doubt has the database looked at, because reading from it failed.
func (d *disk) doubt(err error) error {
	if err != nil && d.dir != "" && !errors.Is(err, client.ErrFull) {
		select {
		case d.doubts <- err:
		default: // it is looked at already
		}
	}
	return err
}

// settle says whether a doubt is a damage.
func (d *disk) settle(ctx context.Context, doubt error) error {
	if errors.Is(doubt, client.ErrCorrupt) {
		return damaged("reading it: %v", doubt)
	}
	return d.check(func(db *badger.DB) error { return d.scrub(ctx, db) })
}

// check is a look at the database that is open, if one is. The error is a damage.
func (d *disk) check(look func(*badger.DB) error) error {
	if d.dir == "" {
		return nil
	}
	err := d.use(look)
	if err != nil && !isDamage(err) {
		if !errors.Is(err, client.ErrFull) && !errors.Is(err, context.Canceled) {
			d.log.Warn("store: the tables were not checked", "err", err)
		}
		return nil
	}
	return err
}

// scrub reads all tables of the database and checks their sums. The error is a damage,
// or one of reading.
func (d *disk) scrub(ctx context.Context, db *badger.DB) error {
	return checkTables(ctx, d.dir, tableIDs(db), goneFrom(db))
}

// scrubShare is how much of the tables is read at once to look for damage, in bytes: a
// large database is not all read each time.
const scrubShare = 128 << 20

// scrubSome is scrub of the tables whose turn it is.
func (d *disk) scrubSome(ctx context.Context, db *badger.DB) error {
	ids := tableIDs(db)
	at, _ := slices.BinarySearch(ids, d.scrubbed+1)
	ids = slices.Concat(ids[at:], ids[:at])
	ids = ids[:min(len(ids), scrubShare/tableSize)]
	if len(ids) > 0 {
		d.scrubbed = ids[len(ids)-1]
	}
	p, gone := d.pace(ctx), goneFrom(db)
	var buf []byte
	for _, id := range ids {
		var err error
		if buf, err = checkTable(d.dir, id, buf, gone); err != nil {
			return err
		}
		if err := p.did(len(buf)); err != nil {
			return err
		}
	}
	return nil
}
