package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

// serveLater is serveDir of a database that is taken for a large one.
func serveLater(t *testing.T, dir string) *room {
	t.Helper()
	return serveAs(t, dir, plenty, -1)
}

// found serves dir as a large database until its damage is found, and returns what the
// process leaves that ends for it. Where Badger had begun something that makes it
// doubtful, it is mended at once.
func found(t *testing.T, dir string) (left string) {
	t.Helper()
	d := newDisk(dir, Option{Log: quiet})
	d.atOnce = -1
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, d, nil) }()
	mended := time.NewTicker(10 * time.Millisecond)
	defer mended.Stop()
	for {
		select {
		case err := <-ended:
			if !isDamage(err) {
				t.Fatalf("it ended with %v", err)
			}
			left = asKilled(t, dir)
			d.db.Close()
			return left
		case <-mended.C:
			if d.notice() != "" {
				cancel()
				<-ended
				return dir
			}
		}
	}
}

// asKilled is a copy of dir as a process leaves it that is killed.
func asKilled(t *testing.T, dir string) string {
	t.Helper()
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return killed
}

// filled is a directory with tables, snapshots and a journal behind them, all whole.
func filled(t *testing.T) (dir string, want []string) {
	t.Helper()
	dir = t.TempDir()
	r := serveDir(t, dir, plenty)
	for n := range 40 {
		batchOf(t, r.c, record(fmt.Sprintf("old/%03d", n), string(bytes.Repeat([]byte{'a' + byte(n%20)}, 2000))), record("last", fmt.Sprint(n)))
	}
	r.end(t) // with a snapshot, and all of it in tables
	r = serveDir(t, dir, plenty)
	for n := range 10 {
		batchOf(t, r.c, record(fmt.Sprintf("new/%03d", n), "x"), record("last", fmt.Sprint("new ", n)),
			client.Record{Key: fmt.Appendf(nil, "old/%03d", n), Delete: true})
	}
	r.d.snapshot.Store(r.d.last) // none at the end
	want = everything(t, r.c, "", 0)
	r.end(t)
	return dir, want
}

func (r *room) isProved(t *testing.T) {
	t.Helper()
	eventually(t, "the database is compared", func() bool { return !r.d.unproved.Load() })
}

func TestALargeDatabaseIsComparedWhileItIsServed(t *testing.T) {
	t.Parallel()
	dir, want := filled(t)
	for range 2 {
		r := serveLater(t, dir)
		if got := everything(t, r.c, "", 0); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("it holds %q, want %q", got, want)
		}
		for n := range 50 { // while it is compared
			batchOf(t, r.c, record("last", fmt.Sprint("later ", n)), record(fmt.Sprintf("new/%03d", n%5), fmt.Sprint(n)))
		}
		r.isProved(t)
		if h, err := r.c.Health(patient(t)); err != nil || !h.OK || h.Notice != "" {
			t.Errorf("health: %+v, %v", h, err)
		}
		r.d.snapshot.Store(r.d.last)
		r.end(t)
	}
}

// What only comparing can find: a record that Badger lost, changed or brought back
// without a word. The process ends, and the next one mends it and says so.
func TestWhatComparingFindsIsMendedByTheNextStart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		harm func(txn *badger.Txn) error
	}{
		{"a record is missing", func(txn *badger.Txn) error { return txn.Delete(storedKey([]byte("old/030"))) }},
		{"a record of the journal is missing", func(txn *badger.Txn) error { return txn.Delete(storedKey([]byte("new/003"))) }},
		{"a record is an older one", func(txn *badger.Txn) error {
			return txn.Set(storedKey([]byte("old/031")), seal([]byte("old/031"), []byte("older")))
		}},
		{"a deleted record is back", func(txn *badger.Txn) error {
			return txn.Set(storedKey([]byte("old/002")), seal([]byte("old/002"), []byte("back")))
		}},
		{"the last record is missing", func(txn *badger.Txn) error { return txn.Delete(storedKey([]byte("old/039"))) }},
		{"there is one behind the last", func(txn *badger.Txn) error {
			return txn.Set(storedKey([]byte("zzz")), seal([]byte("zzz"), nil))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, want := filled(t)
			db, err := badger.Open(profile(dir, quiet))
			if err == nil {
				err = errors.Join(db.Update(row.harm), db.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			dir = found(t, dir)
			for range 2 {
				r := serveLater(t, dir)
				if got := everything(t, r.c, "", 0); strings.Join(got, " ") != strings.Join(want, " ") {
					t.Errorf("it holds %q, want %q", got, want)
				}
				if h, err := r.c.Health(patient(t)); err != nil || !h.OK || !strings.Contains(h.Notice, "nothing is lost") {
					t.Errorf("health: %+v, %v", h, err)
				}
				if _, err := os.Stat(filepath.Join(dir, doubtedName)); err == nil {
					t.Error("it is doubted for ever")
				}
				r.isProved(t)
				r.end(t)
			}
		})
	}
}

// A snapshot that is damaged is none of the database's: both are there again, and there
// is nothing to be said.
func TestASnapshotThatComparingFindsDamagedIsMadeAnew(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		at   func(size int) int
	}{{"in its middle", func(size int) int { return size / 2 }}, {"in its checksum", func(size int) int { return size - 2 }}} {
		t.Run(row.name, func(t *testing.T) {
			dir, want := filled(t)
			path := newestOf(t, dir, generationPrefix)
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, path, row.at(int(st.Size())))
			r := serveLater(t, dir)
			r.isProved(t)
			eventually(t, "the snapshot is made anew", func() bool {
				all := generationsIn(t, dir)
				_, err := checkGeneration(all[len(all)-1], false)
				return err == nil && !r.d.renew.Load()
			})
			if got := everything(t, r.c, "", 0); strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("it holds %q, want %q", got, want)
			}
			if h, err := r.c.Health(patient(t)); err != nil || !h.OK || h.Notice != "" {
				t.Errorf("health: %+v, %v", h, err)
			}
		})
	}
}

// Whatever suggests that the database lacks something has it compared before it is
// served.
func TestADatabaseInDoubtIsComparedFirst(t *testing.T) {
	t.Parallel()
	add := func(name, text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
			if err == nil {
				_, err = f.WriteString(text)
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
	}
	for _, row := range []struct {
		name  string
		harm  func(t *testing.T, dir string)
		later bool
	}{
		{"as it was left", func(*testing.T, string) {}, true},
		{"a process ended for it", add(doubtedName, "why"), false},
		{"a table that the manifest does not know", add("000999.sst", ""), false},
		{"the manifest's end is torn", add(badger.ManifestFilename, "\x00\x00\x00\x50"), false},
		{"there are two logs", func(t *testing.T, dir string) { add("00098.mem", "")(t, dir); add("00099.mem", "")(t, dir) }, false},
		{"a table is not there", func(t *testing.T, dir string) { os.Remove(newestTable(t, dir)) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, _ := filled(t)
			row.harm(t, dir)
			d := newDisk(dir, Option{})
			d.atOnce = -1
			if got := d.large(profile(dir, quiet)); got != row.later {
				t.Errorf("it is compared later: %v", got)
			}
			if d.atOnce = compareAtOnce; d.large(profile(dir, quiet)) {
				t.Error("a small one is compared later")
			}
		})
	}
}

func newestTable(t *testing.T, dir string) string {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	return tables[len(tables)-1]
}
