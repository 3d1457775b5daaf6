package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sync/errgroup"
)

// The database's tables, read here as files and beside Badger, which maps them: what
// is read through a map stays in this process's memory, and all of them may be more
// than a box has.

// tableReaders is how many tables are read at once to check them, each into memory of
// tableSize.
const tableReaders = 4

// readTable reads a table and checks all its sums. It is in buf, or in what is returned
// in its place, until that is used again. An error is a damage, or one of reading.
func readTable(f *os.File, id uint64, buf []byte) (t *table.Table, used []byte, err error) {
	defer func() { // Badger panics on some of what it finds
		if r := recover(); r != nil {
			err = damaged("table %06d: %v", id, r)
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, buf, err
	}
	used = slices.Grow(buf[:0], int(st.Size()))[:st.Size()]
	if _, err := f.ReadAt(used, 0); err != nil {
		return nil, used, err
	}
	t, err = table.OpenInMemoryTable(used, id, &table.Options{ChkMode: options.NoVerification})
	if err == nil {
		t.Fd = f // its name is in errors
		err = t.VerifyChecksum()
	}
	if err != nil {
		return nil, used, damaged("table %06d: %v", id, err)
	}
	return t, used, nil
}

// checkTables reads the tables with these ids in dir and checks their sums. Of those
// that gone speaks of nothing is expected: Badger cuts and removes a table after it was
// compacted.
func checkTables(ctx context.Context, dir string, ids []uint64, gone func(id uint64) bool) error {
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan uint64)
	group.Go(func() error {
		defer close(next)
		for _, id := range ids {
			select {
			case next <- id:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(tableReaders, runtime.GOMAXPROCS(0), len(ids)) {
		group.Go(func() error {
			var buf []byte
			for id := range next {
				var err error
				if buf, err = checkTable(dir, id, buf, gone); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// checkTable is checkTables of one, which is read to buf, or to what is returned in its
// place.
func checkTable(dir string, id uint64, buf []byte, gone func(id uint64) bool) ([]byte, error) {
	f, err := os.Open(table.NewFilename(id, dir))
	if err == nil {
		_, buf, err = readTable(f, id, buf)
		f.Close()
	}
	if err != nil && !gone(id) {
		return buf, err
	}
	return buf, nil
}

// goneFrom says whether db has a table no more.
func goneFrom(db *badger.DB) func(id uint64) bool {
	return func(id uint64) bool {
		_, there := slices.BinarySearch(tableIDs(db), id)
		return !there
	}
}

// tableIDs are those of the tables that db has, in order.
func tableIDs(db *badger.DB) (ids []uint64) {
	for _, t := range db.Tables() {
		ids = append(ids, t.ID)
	}
	slices.Sort(ids)
	return ids
}

// manifest is what Badger's manifest says.
type manifest struct {
	badger.Manifest
	whole bool // nothing follows its last change; else that was torn, or its length damaged
}

func readManifest(o badger.Options) (m manifest, err error) {
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{whole: true}, nil
	}
	if err != nil {
		return m, err
	}
	defer f.Close()
	end := int64(0)
	if m.Manifest, end, err = badger.ReplayManifestFile(f, o.ExternalMagicVersion, o); err != nil {
		return m, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	st, err := f.Stat()
	if err != nil {
		return m, err
	}
	m.whole = st.Size() == end
	return m, nil
}

// ids are those of the manifest's tables.
func (m *manifest) ids() (ids []uint64) {
	for id := range m.Tables {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// accounts says whether the tables in dir are those of the manifest, no more and no
// fewer.
func (m *manifest) accounts(dir string) (bool, error) {
	names, err := named(dir, ".sst")
	if err != nil {
		return false, err
	}
	for _, name := range names {
		id, ok := table.ParseFileID(name)
		if _, known := m.Tables[id]; !ok || !known {
			return false, nil
		}
	}
	return len(names) == len(m.Tables), nil
}

// stream gives the newest version of every caller's key in a set of tables, in the
// order of the keys.
type stream struct {
	gone func(id uint64) bool
	runs []*run
	at   *run          // where it stands; nil: at the end, or before the beginning
	key  []byte        // as the caller knows it; nil: there are no more
	now  y.ValueStruct // valid until next
}

// run is tables whose keys follow each other.
type run struct {
	dir string
	ids []uint64        // of those to come
	it  *table.Iterator // of the one that is read; nil: there are no more
	buf []byte          // it is in
}

// openStream begins with the tables of db. One that is compacted before its turn is
// left out: what it had is in another one or is asked of Badger.
func openStream(db *badger.DB) (*stream, error) {
	s := &stream{gone: goneFrom(db)}
	tables := db.Tables()
	slices.SortStableFunc(tables, func(a, b badger.TableInfo) int {
		if a.Level == 0 || a.Level != b.Level {
			return a.Level - b.Level
		}
		return y.CompareKeys(a.Left, b.Left)
	})
	for i, t := range tables {
		if i == 0 || t.Level == 0 || t.Level != tables[i-1].Level {
			s.runs = append(s.runs, &run{dir: db.Opts().Dir})
		}
		r := s.runs[len(s.runs)-1]
		r.ids = append(r.ids, t.ID)
	}
	for _, r := range s.runs {
		if err := s.settle(r); err != nil {
			return nil, err
		}
	}
	return s, s.next()
}

// settle has a run go to its next table when there is nothing left of this one.
func (s *stream) settle(r *run) error {
	for r.it == nil || !r.it.Valid() {
		if r.it = nil; len(r.ids) == 0 {
			return nil
		}
		id := r.ids[0]
		r.ids = r.ids[1:]
		f, err := os.Open(table.NewFilename(id, r.dir))
		var t *table.Table
		if err == nil {
			t, r.buf, err = readTable(f, id, r.buf)
			f.Close()
		}
		switch {
		case err == nil:
			r.it = t.NewIterator(table.NOCACHE)
			r.it.Rewind()
		case !s.gone(id):
			return err
		}
	}
	return nil
}

// next goes to the next key.
func (s *stream) next() error {
	for {
		if s.at != nil {
			s.at.it.Next()
			if err := s.settle(s.at); err != nil {
				return err
			}
		}
		s.at = nil
		for _, r := range s.runs {
			if r.it != nil && (s.at == nil || y.CompareKeys(r.it.Key(), s.at.it.Key()) < 0) {
				s.at = r
			}
		}
		if s.at == nil {
			s.key = nil
			return nil
		}
		key := y.ParseKey(s.at.it.Key())
		if key[0] == space && (s.key == nil || !bytes.Equal(key[1:], s.key)) {
			s.key, s.now = append(s.key[:0], key[1:]...), s.at.it.Value()
			return nil
		}
	}
}

// Bits of Badger's in the meta of what it stores.
const (
	bitDelete       = 1 << 0
	bitValuePointer = 1 << 1
)

// holds says whether value stands here, and nothing else.
func (s *stream) holds(value []byte) bool {
	if s.now.Meta&(bitDelete|bitValuePointer) != 0 || s.now.ExpiresAt != 0 {
		return false
	}
	stored, err := unseal(s.key, s.now.Value)
	return err == nil && bytes.Equal(stored, value)
}

// present says what is wrong with a record in the view of txn, which should be there.
func present(txn *badger.Txn, key, value []byte) error {
	item, err := txn.Get(storedKey(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return damaged("key %q is missing", key)
	}
	if err == nil {
		err = item.Value(func(stored []byte) error {
			got, err := unseal(key, stored)
			if err == nil && !bytes.Equal(got, value) {
				err = damaged("key %q has another value", key)
			}
			return err
		})
	}
	if err != nil && !isDamage(err) {
		return damaged("reading it: %v", err)
	}
	return err
}

// absent says what is wrong with a key in the view of txn, which should not be there.
func absent(txn *badger.Txn, key []byte) error {
	switch _, err := txn.Get(storedKey(key)); {
	case errors.Is(err, badger.ErrKeyNotFound):
		return nil
	case err != nil:
		return damaged("reading it: %v", err)
	}
	return damaged("key %q should not be there", key)
}

// compare compares what db holds, in the view of txn, with the account as of sequence q,
// to which it is whole, and gives f what the account has. The tables are compared as they
// are in their files; where they are not the account, as with what is not in a table yet,
// Badger is asked. The error is a damage of the database, ErrBadSnapshot, wrapped, or
// f's.
func (a *account) compare(db *badger.DB, txn *badger.Txn, q uint64, f func(key, value []byte) error) error {
	s, err := openStream(db)
	if err != nil {
		return err
	}
	err = a.each(q, func(key, value []byte) error {
		if err := s.skip(txn, key); err != nil {
			return err
		}
		there := s.key != nil && bytes.Equal(s.key, key)
		if !there || !s.holds(value) {
			if err := present(txn, key, value); err != nil {
				return err
			}
		}
		if there {
			if err := s.next(); err != nil {
				return err
			}
		}
		return f(key, value)
	})
	if err == nil {
		err = s.skip(txn, nil)
	}
	if isDamage(err) && a.base != nil { // else the snapshot may be what is wrong
		if _, bad := checkGeneration(*a.base, false); errors.Is(bad, ErrBadSnapshot) {
			return bad
		}
	}
	return err
}

// skip goes over keys before key, nil: all that are left, which should not be there.
func (s *stream) skip(txn *badger.Txn, key []byte) error {
	for s.key != nil && (key == nil || bytes.Compare(s.key, key) < 0) {
		if err := absent(txn, s.key); err != nil {
			return err
		}
		if err := s.next(); err != nil {
			return err
		}
	}
	return nil
}
