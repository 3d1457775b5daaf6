package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

// account is what the store has to hold, told by the snapshots and the journal and not
// by the database.
type account struct {
	base    *sequenced // the newest snapshot that is whole; nil: none
	info    SnapshotInfo
	entries []entry // of the journal behind base, in their order
	holes   []hole  // what is missing between them
	last    uint64  // the newest sequence there is
	unclean bool    // what follows the last entry is not zeros
	gone    bool    // there is no journal, though there was one
	bad     []string
	goOn    *sequenced // the newest segment, with its size, when it can be gone on with
	size    int64
}

// hole is batches that the journal should have: from .. to.
type hole struct{ from, to uint64 }

func (h hole) String() string {
	if h.from == h.to {
		return fmt.Sprintf("batch %d", h.from)
	}
	return fmt.Sprintf("batches %d to %d", h.from, h.to)
}

var errStop = errors.New("stop")

// takeAccount reads all snapshots and the journal in dir. Damage in them is part of
// the account and no error.
func takeAccount(dir string) (*account, error) {
	a := &account{}
	snapshots, err := filesOf(dir, generationPrefix)
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(snapshots) {
		info, err := checkGeneration(s)
		if errors.Is(err, ErrBadSnapshot) {
			a.bad = append(a.bad, s.path)
			continue
		}
		if err != nil {
			return nil, err
		}
		a.base, a.info, a.last = &s, info, info.Sequence
		break
	}
	return a, a.readJournal(dir)
}

// checkGeneration reads a snapshot to its end.
func checkGeneration(s sequenced) (SnapshotInfo, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return SnapshotInfo{}, err
	}
	defer f.Close()
	info, err := ReadSnapshot(f, func(client.Record) error { return nil })
	if err == nil && info.Sequence != s.sequence {
		err = fmt.Errorf("%w: %s holds sequence %d", ErrBadSnapshot, s.path, info.Sequence)
	}
	return info, err
}

func (a *account) readJournal(dir string) error {
	segments, err := filesOf(dir, segmentPrefix)
	if err != nil {
		return err
	}
	a.gone = len(segments) == 0 && a.last > 0
	after := a.last
	for i, s := range segments {
		if i+1 < len(segments) && segments[i+1].sequence <= after {
			continue // all of it is in the snapshot
		}
		a.missing(s.sequence)
		b, err := os.ReadFile(s.path)
		if err != nil {
			return err
		}
		end := uint64(math.MaxUint64) // what is behind the next one's begin was given up
		if i+1 < len(segments) {
			end = segments[i+1].sequence
		}
		size, clean := parseSegment(b, func(e entry) {
			if e.sequence > a.last && e.sequence <= end {
				a.missing(e.sequence - 1)
				a.entries = append(a.entries, e)
				a.last = e.sequence
			}
		})
		a.unclean = !clean
		if a.goOn = nil; clean && i+1 == len(segments) {
			a.goOn, a.size = &s, int64(size)
		}
	}
	return nil
}

// missing notes that the journal should have reached sequence to here.
func (a *account) missing(to uint64) {
	if to > a.last {
		a.holes = append(a.holes, hole{a.last + 1, to})
		a.last = to
	}
}

// dropTorn drops what is behind sequence q when it is one group that a power cut
// left in part, as nobody was told that it is there.
func (a *account) dropTorn(q uint64) {
	i := slices.IndexFunc(a.entries, func(e entry) bool { return e.sequence > q })
	if i < 0 || len(a.holes) == 0 || a.entries[len(a.entries)-1].first != q+1 {
		return
	}
	if torn := a.holes[len(a.holes)-1]; torn.from > q {
		for i < len(a.entries) && a.entries[i].sequence < torn.from {
			i++
		}
		a.entries, a.last = a.entries[:i], torn.from-1
		a.holes = slices.DeleteFunc(a.holes, func(h hole) bool { return h.from > q })
		a.goOn = nil
	}
}

// behind returns the entries after sequence q.
func (a *account) behind(q uint64) []entry {
	for i, e := range a.entries {
		if e.sequence > q {
			return a.entries[i:]
		}
	}
	return nil
}

// whole says that the account has every batch behind its snapshot up to q.
func (a *account) whole(q uint64) bool {
	return a.base != nil && a.base.sequence <= q && q <= a.last &&
		!slices.ContainsFunc(a.holes, func(h hole) bool { return h.from <= q })
}

// each gives f, in the order of their keys, the records as they were after sequence q.
func (a *account) each(q uint64, f func(key, value []byte) error) error {
	changed := make(map[string][]byte) // nil: deleted
	for _, e := range a.entries {
		if e.sequence > q {
			break
		}
		for _, r := range e.records {
			changed[string(r.Key)] = nil
			if !r.Delete {
				changed[string(r.Key)] = append([]byte{}, r.Value...)
			}
		}
	}
	keys := slices.Sorted(maps.Keys(changed))
	give := func(before []byte) error { // all changed ones that sort before it; nil: all
		for len(keys) > 0 && (before == nil || keys[0] < string(before)) {
			if v := changed[keys[0]]; v != nil {
				if err := f([]byte(keys[0]), v); err != nil {
					return err
				}
			}
			keys = keys[1:]
		}
		return nil
	}
	if a.base != nil {
		r, err := os.Open(a.base.path)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = ReadSnapshot(r, func(rec client.Record) error {
			if err := give(rec.Key); err != nil {
				return err
			}
			if _, later := changed[string(rec.Key)]; later {
				return nil // given next
			}
			return f(rec.Key, rec.Value)
		})
		if err != nil {
			return err
		}
	}
	return give(nil)
}

// differs compares the database, in the view of txn, with the account as of sequence q,
// to which it is whole, and gives f what the account has. why is the first difference;
// empty: there is none.
func (a *account) differs(txn *badger.Txn, q uint64, f func(key, value []byte) error) (why string, err error) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: storedKey(nil)})
	defer it.Close()
	it.Rewind()
	err = a.each(q, func(key, value []byte) error {
		if why, err = compare(it, key, value); err != nil {
			return err
		}
		if why != "" {
			return errStop
		}
		it.Next()
		return f(key, value)
	})
	switch {
	case errors.Is(err, errStop):
		return why, nil
	case err == nil && it.Valid():
		return fmt.Sprintf("key %q should not be there", it.Item().Key()[1:]), nil
	}
	return "", err
}

// compare says how the record that it stands at is not the one that should be there.
func compare(it *badger.Iterator, key, value []byte) (why string, err error) {
	if !it.Valid() {
		return fmt.Sprintf("key %q is missing", key), nil
	}
	item := it.Item()
	if got := item.Key()[1:]; !bytes.Equal(got, key) {
		return fmt.Sprintf("key %q is there where %q should be", got, key), nil
	}
	err = item.Value(func(stored []byte) error {
		got, err := unseal(key, stored)
		if err == nil && !bytes.Equal(got, value) {
			why = fmt.Sprintf("key %q has another value", key)
		}
		return err
	})
	return why, err
}
