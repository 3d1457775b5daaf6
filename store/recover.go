package store

import (
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
	doubtedName  = "doubted" // what a process found that ended for it: the next one does not believe the database
	attemptsName = "opening" // the boot, a space, and as many bytes as openings in it that did not come to an end
	mostAttempts = 3         // after which the database is taken for damaged

	compareAtOnce = 16 << 20 // bytes of tables up to which the database is compared before it is served
)

// damage is an error that says that the database cannot be believed.
type damage struct{ why string }

func (e *damage) Error() string { return e.why }

func damaged(format string, a ...any) error { return &damage{fmt.Sprintf(format, a...)} }

func isDamage(err error) bool {
	var bad *damage
	return errors.As(err, &bad)
}

// openChecked opens the database and compares it with the account, or, when nothing
// suggests that it lacks something, has that done while it is served. When it cannot be
// opened or lacks what it has to hold, it is set aside and made anew.
func (d *disk) openChecked(ctx context.Context, o badger.Options) error {
	defer removeFile(filepath.Join(d.dir, attemptsName)) // whatever comes back here did not end the process
	why, err := os.ReadFile(filepath.Join(d.dir, rebuildingName))
	rebuilding := err == nil
	d.unproved.Store(false)
	later := !rebuilding && d.large(o)
	a, err := takeAccount(d.dir, later)
	if err == nil && later && (!a.whole(a.last) || len(a.bad) > 0) {
		later = false
		a, err = takeAccount(d.dir, false)
	}
	if err != nil {
		return fmt.Errorf("read the snapshots and the journal at %s: %w", d.dir, err)
	}
	if rebuilding {
		d.log.Warn("store: a rebuild was interrupted and begins again", "dir", d.dir)
		return d.rebuild(ctx, o, a, string(why), false)
	}
	db, q, err := d.openBelieved(ctx, o, a, later)
	var bad *damage
	if errors.As(err, &bad) {
		if later {
			if a, err = takeAccount(d.dir, false); err != nil {
				return fmt.Errorf("read the snapshots and the journal at %s: %w", d.dir, err)
			}
		}
		return d.rebuild(ctx, o, a, bad.why, true)
	}
	if err != nil {
		return err
	}
	d.last = q
	if err := errors.Join(d.adopt(ctx, db, a), removeFile(filepath.Join(d.dir, doubtedName)), syncDir(d.dir)); err != nil {
		return errors.Join(err, db.Close())
	}
	d.unproved.Store(later)
	d.db = db
	return nil
}

// large says whether the database is so large that it is compared with the account while
// it is served, and in the state that Badger leaves it in: nobody found something, its
// tables are those of its manifest, which ends where its last change does, and it has
// one log, whose end then is the database's own sequence.
func (d *disk) large(o badger.Options) bool {
	_, doubted := os.Lstat(filepath.Join(d.dir, doubtedName))
	size, err := roomToCompact(d.dir)
	if doubted == nil || err != nil || size <= d.atOnce {
		return false
	}
	logs, err := logs(d.dir)
	if err != nil || len(logs) > 1 {
		return false
	}
	m, err := readManifest(o)
	if err != nil || !m.whole {
		return false
	}
	all, err := m.accounts(d.dir)
	return err == nil && all
}

// openBelieved opens the database if it can be believed; a damage otherwise. q is the
// newest sequence in it. With later it is not compared with the account yet.
func (d *disk) openBelieved(ctx context.Context, o badger.Options, a *account, later bool) (db *badger.DB, q uint64, err error) {
	if err := d.countAttempt(); err != nil {
		return nil, 0, err
	}
	defer func() { // Badger panics on some of what it finds
		if r := recover(); r != nil {
			db, err = nil, damaged("opening it: %v", r)
		}
	}()
	said := &complaints{badgerLog: badgerLog{d.log}}
	o.Logger = said
	m, err := readManifest(o)
	if err == nil {
		err = checkTables(ctx, d.dir, m.ids(), func(uint64) bool { return false })
	}
	if err != nil {
		return nil, 0, asDamage(err)
	}
	if !d.lean {
		if err := d.thinOut(ctx, o); err != nil {
			return nil, 0, asDamage(err)
		}
	}
	if db, err = openLocked(ctx, o); err != nil {
		return nil, 0, asDamage(err)
	}
	if q, err = d.judge(db, a, said.text(), later); err != nil {
		closeDamaged(db)
		return nil, 0, err
	}
	return db, q, nil
}

// judge compares the open database with the account; with later only how far they go.
func (d *disk) judge(db *badger.DB, a *account, complaint string, later bool) (q uint64, err error) {
	if complaint != "" {
		return 0, damaged("%s", complaint)
	}
	txn := db.NewTransaction(false)
	defer txn.Discard()
	q, err = sequenceIn(txn)
	if err != nil {
		return 0, damaged("its newest sequence: %v", err)
	}
	a.dropTorn(q)
	behind := a.behind(q)
	switch {
	case a.base != nil && a.base.sequence > q:
		return 0, damaged("it ends with batch %d, and a snapshot holds batch %d", q, a.base.sequence)
	case len(behind) > 0 && (behind[0].sequence != q+1 || behind[len(behind)-1].first > q+1):
		return 0, damaged("it ends with batch %d, and the journal has batch %d", q, a.last)
	case !a.whole(q):
		return q, d.readAll(db)
	case later:
		return q, nil
	}
	return q, a.compare(db, txn, q, func(_, _ []byte) error { return nil })
}

// readAll reads every record of a database whose account is not whole.
func (d *disk) readAll(db *badger.DB) error {
	if err := each(db, nil, nil, func(_, _ []byte) (bool, error) { return true, nil }); err != nil {
		return damaged("reading it: %v", err)
	}
	return nil
}

// adopt makes the database, which is believed, the store: it gets the entries that
// it lacks, and what is not whole in the account is made anew.
func (d *disk) adopt(ctx context.Context, db *badger.DB, a *account) error {
	for _, e := range a.behind(d.last) {
		if err := commitTo(db, [][]client.Record{e.records}, e.sequence); err != nil {
			return fmt.Errorf("take batch %d from the journal: %w", e.sequence, err)
		}
		d.last = e.sequence
	}
	whole := a.whole(d.last) && len(a.bad) == 0
	if whole {
		d.snapshot.Store(a.base.sequence)
		d.segmentSize.Store(journalLeast)
		d.segment.Store(d.last)
		if a.goOn != nil {
			j, err := continueSegment(a.goOn.path, a.size)
			if err != nil {
				return err
			}
			d.journal = j
			d.segment.Store(a.goOn.sequence)
		}
		return nil
	}
	if a.base != nil || len(a.entries) > 0 || len(a.bad) > 0 || d.last > 0 {
		d.log.Error("store: a snapshot or the journal was damaged; the database is whole and nothing is lost; they are made anew",
			"bad", a.bad, "missing", a.holes, "dir", d.dir)
	}
	d.renew.Store(true)
	d.renewAccount(ctx, db, nil)
	return nil
}

// renewAccount replaces the snapshots and the journal, which are not whole, by one
// snapshot of the database. Where there is no room it is tried again.
func (d *disk) renewAccount(ctx context.Context, db *badger.DB, p *pace) {
	if err := d.firstSnapshot(ctx, db, p); err != nil {
		d.log.Error("store: the snapshots are not whole and cannot be made anew", "err", err)
		return
	}
	d.renew.Store(false)
}

// countAttempt counts an opening that may end this process; after too many the
// database is taken for damaged. One of an earlier boot is not counted: the power ended
// it. Nor is one on a full disk.
func (d *disk) countAttempt() error {
	path := filepath.Join(d.dir, attemptsName)
	text, _ := os.ReadFile(path) // none: the first
	before, same := strings.CutPrefix(string(text), d.boot+" ")
	if !same {
		before = ""
	}
	if len(before) >= mostAttempts {
		return damaged("opening it ended the process %d times", len(before))
	}
	_ = os.WriteFile(path, []byte(d.boot+" "+before+"|"), 0o600)
	return nil
}

// asDamage takes an error of opening for damage unless it speaks of something else.
func asDamage(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, errInUse) {
		return err
	}
	text := err.Error()
	for _, other := range []string{"no space left", "too many open files", "cannot allocate memory",
		"permission denied", "not permitted", "read-only file system"} {
		if strings.Contains(text, other) {
			return err
		}
	}
	return damaged("%s", text)
}

// closeDamaged closes a database that may not bear it.
func closeDamaged(db *badger.DB) {
	defer func() { _ = recover() }()
	_ = db.Close() // it is set aside
}

// writeFile writes a small file that is there or not, also after a power cut.
func writeFile(path, text string) error {
	f, err := os.OpenFile(path+".partial", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".partial", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
