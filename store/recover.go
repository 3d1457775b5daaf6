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
	attemptsName   = "opening"    // as many bytes as openings that did not come to an end
	mostAttempts   = 3            // after which the database is taken for damaged
	rebuildingName = "rebuilding" // while it exists, what the database holds is not to be believed
	damagedName    = "damaged"    // the newest damaged database, until somebody removes it
	noticeName     = "WHY"        // in it: what happened and what was lost
)

// damage is an error that says that the database cannot be believed.
type damage struct{ why string }

func (e *damage) Error() string { return e.why }

func damaged(format string, a ...any) error { return &damage{fmt.Sprintf(format, a...)} }

// openChecked opens the database and compares it with the account. When it cannot be
// opened or lacks what it has to hold, it is set aside and made anew.
func (d *disk) openChecked(ctx context.Context, o badger.Options) error {
	a, err := takeAccount(d.dir)
	if err != nil {
		return fmt.Errorf("read the snapshots and the journal at %s: %w", d.dir, err)
	}
	defer removeFile(filepath.Join(d.dir, attemptsName)) // whatever comes back here did not end the process
	if why, err := os.ReadFile(filepath.Join(d.dir, rebuildingName)); err == nil {
		d.log.Warn("store: a rebuild was interrupted and begins again", "dir", d.dir)
		return d.rebuild(ctx, o, a, string(why), false)
	}
	db, q, err := d.openBelieved(ctx, o, a)
	var bad *damage
	if errors.As(err, &bad) {
		return d.rebuild(ctx, o, a, bad.why, true)
	}
	if err != nil {
		return err
	}
	d.last = q
	if err := errors.Join(d.adopt(ctx, db, a), syncDir(d.dir)); err != nil {
		return errors.Join(err, db.Close())
	}
	d.db = db
	return nil
}

// openBelieved opens the database if it can be believed; a damage otherwise. q is the
// newest sequence in it.
func (d *disk) openBelieved(ctx context.Context, o badger.Options, a *account) (db *badger.DB, q uint64, err error) {
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
	if !d.lean {
		if err := d.thinOut(ctx, o); err != nil {
			return nil, 0, asDamage(err)
		}
	}
	if db, err = openLocked(ctx, o); err != nil {
		return nil, 0, asDamage(err)
	}
	if q, err = d.judge(db, a, said.text()); err != nil {
		closeDamaged(db)
		return nil, 0, err
	}
	return db, q, nil
}

// judge compares the open database with the account.
func (d *disk) judge(db *badger.DB, a *account, complaint string) (q uint64, err error) {
	if complaint != "" {
		return 0, damaged("%s", complaint)
	}
	txn := db.NewTransaction(false)
	q, err = sequenceIn(txn)
	txn.Discard()
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
	}
	why, err := a.differs(db, q)
	if err != nil {
		return 0, damaged("reading it: %v", err)
	}
	if why != "" {
		return 0, damaged("%s", why)
	}
	return q, nil
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
	d.renew = true
	d.renewAccount(ctx, db)
	return nil
}

// renewAccount replaces the snapshots and the journal, which are not whole, by one
// snapshot of the database. Where there is no room it is tried again.
func (d *disk) renewAccount(ctx context.Context, db *badger.DB) {
	if err := d.keepSnapshot(ctx, db, 1); err != nil {
		d.log.Error("store: the snapshots are not whole and cannot be made anew", "err", err)
		return
	}
	d.renew = false
}

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
		err = errors.Join(removeFile(marker), syncDir(d.dir))
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
		d.renew = true
		d.renewAccount(ctx, db)
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
	g.records = append(g.records, client.Record{Key: key, Value: value})
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

// countAttempt counts an opening that may end this process; after too many the
// database is taken for damaged. On a full disk it is not counted.
func (d *disk) countAttempt() error {
	path := filepath.Join(d.dir, attemptsName)
	before, _ := os.ReadFile(path) // none: the first
	if len(before) >= mostAttempts {
		return damaged("opening it ended the process %d times", len(before))
	}
	_ = os.WriteFile(path, append(before, '|'), 0o600)
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
