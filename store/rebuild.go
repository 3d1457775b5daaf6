package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

const (
	rebuildingName = "rebuilding" // while it exists, what the database holds is not to be believed
	damagedName    = "damaged"    // the newest damaged database, until somebody removes it
	noticeName     = "WHY"        // in it: what happened and what was lost
)

// rebuild makes the database anew from the account. why is what was wrong with it,
// empty when nothing is to be said; what was there is set aside with keep, else
// removed.
func (d *disk) rebuild(ctx context.Context, o badger.Options, a *account, why string, keep bool) error {
	marker := filepath.Join(d.dir, rebuildingName)
	if keep {
		if err := writeFile(marker, why); err != nil {
			return err
		}
	}
	if err := d.setAside(keep, a); err != nil {
		return fmt.Errorf("set the damaged store aside: %w", err)
	}
	free, err := d.free(d.dir)
	if err != nil {
		return err
	}
	if need := roomToFill(a); free < need {
		d.shutWhy = fmt.Sprintf("%s free at %s, %s needed to rebuild the store, which was damaged", megabytes(free), d.dir, megabytes(need))
		d.log.Error("store: shut, no room to rebuild it", "free", free, "need", need, "dir", d.dir)
		return nil
	}
	db, err := openLocked(ctx, o)
	if err != nil {
		return err
	}
	err = d.fillFrom(db, a)
	if err == nil && why != "" {
		err = d.sayLoss(a, why)
	}
	d.last = a.last
	d.segment.Store(a.last)
	if err == nil {
		d.renewAfter(ctx, db, a)
		err = errors.Join(removeFile(marker), removeFile(filepath.Join(d.dir, doubtedName)), syncDir(d.dir))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rebuild the store at %s: %w", d.dir, err), db.Close())
	}
	d.db = db
	return nil
}

// renewAfter sees that a rebuilt database has snapshots and a journal that are whole.
func (d *disk) renewAfter(ctx context.Context, db *badger.DB, a *account) {
	if a.base == nil || len(a.bad) > 0 || len(a.holes) > 0 {
		d.renew.Store(true)
		d.renewAccount(ctx, db, nil)
		return
	}
	d.snapshot.Store(a.base.sequence)
	d.segmentSize.Store(journalLeast)
}

// sayLoss says what happened and what is gone: in the log, and in the file that makes
// the store's health say it.
func (d *disk) sayLoss(a *account, why string) error {
	text := d.lossText(a, why)
	d.log.Error("store: " + text)
	aside := filepath.Join(d.dir, damagedName)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(aside, noticeName), text)
}

// lossText says in words what happened and what is gone.
func (d *disk) lossText(a *account, why string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the database was damaged (%s), found %s; ", why, d.now().UTC().Format("2006-01-02 15:04:05 UTC"))
	switch {
	case a.last == 0:
		b.WriteString("no snapshot and no journal is left: everything is LOST")
	case a.base == nil:
		fmt.Fprintf(&b, "no snapshot is whole; it was restored from %d batches of the journal", len(a.entries))
	default:
		fmt.Fprintf(&b, "it was restored from the snapshot of %s and %d later batches", a.info.Made.UTC().Format("2006-01-02 15:04:05 UTC"), len(a.entries))
	}
	for _, h := range a.holes {
		fmt.Fprintf(&b, ", %v LOST", h)
	}
	switch {
	case len(a.holes) > 0 || a.last == 0:
	case a.gone:
		fmt.Fprintf(&b, ": the journal is gone, and what followed batch %d is LOST", a.last)
	case a.unclean:
		b.WriteString(": nothing is lost but, perhaps, the batch that was under way at the end")
	default:
		b.WriteString(": nothing is lost")
	}
	fmt.Fprintf(&b, "; the damaged files are in %s; this stands here until that directory is removed", filepath.Join(d.dir, damagedName))
	return d.named(b.String())
}

// fillFrom writes the account's records to an empty database.
func (d *disk) fillFrom(db *badger.DB, a *account) error {
	g := grouped{db: db}
	if err := a.each(a.last, g.add); err != nil {
		return err
	}
	return g.end(a.last)
}

// grouped writes records to an empty database, as many at once as one commit takes.
type grouped struct {
	db      *badger.DB
	records []client.Record
	size    int
}

func (g *grouped) add(key, value []byte) error {
	more := len(key) + len(value) + client.RecordCost
	if g.size+more > maxGroup || len(g.records) == client.MaxRecords {
		if err := g.end(0); err != nil {
			return err
		}
	}
	g.size += more
	g.records = append(g.records, client.Record{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	return nil
}

// end writes what is left, and the sequence that all of it stands for.
func (g *grouped) end(sequence uint64) error {
	err := commitTo(g.db, [][]client.Record{g.records}, sequence)
	g.records, g.size = nil, 0
	return err
}

// databaseFile says whether a file in the directory is Badger's.
func databaseFile(name string) bool {
	for _, suffix := range []string{".mem", ".sst", ".vlog"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return name == badger.ManifestFilename || name == "MANIFEST-REWRITE" || name == "KEYREGISTRY" || name == "REWRITE-KEYREGISTRY" || name == "DISCARD"
}

// setAside takes the database out of the directory: with keep into damagedName, in
// place of the one that was there, unless there is no room for both.
func (d *disk) setAside(keep bool, a *account) error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	aside := filepath.Join(d.dir, damagedName)
	if keep {
		if err := os.RemoveAll(aside); err != nil {
			return err
		}
		free, err := d.free(d.dir)
		if err != nil {
			return err
		}
		if keep = free >= roomToFill(a)+d.guard; !keep {
			d.log.Warn("store: no room to keep the damaged files", "free", free, "dir", d.dir)
		}
	}
	if keep {
		if err := os.Mkdir(aside, 0o700); err != nil {
			return err
		}
	}
	for _, e := range entries {
		path := filepath.Join(d.dir, e.Name())
		switch {
		case !databaseFile(e.Name()):
			continue
		case keep:
			err = os.Rename(path, filepath.Join(aside, e.Name()))
		default:
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(d.dir)
}

// roomToFill is the free space that a database takes that is filled from the account,
// at most.
func roomToFill(a *account) int64 {
	need := int64(openSlack + memTable)
	_ = a.each(a.last, func(key, value []byte) error { // an error shows again when it is filled
		need += 2 * int64(len(key)+len(value)+client.RecordCost)
		return nil
	})
	return need
}

// notice is what an earlier damage cost, until its directory is removed.
func (d *disk) notice() string {
	if d.dir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(d.dir, damagedName, noticeName))
	if err != nil {
		return ""
	}
	return string(text)
}
