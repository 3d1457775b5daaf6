package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

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

var errGlance = errors.New("enough is read")

// takeAccount reads the newest snapshot that is whole, and the journal behind it, in dir.
// Damage in them is part of the account and no error. With glance of the snapshot only
// the beginning is read, and whether it is whole shows when all of it is.
func takeAccount(dir string, glance bool) (*account, error) {
	a := &account{}
	snapshots, err := filesOf(dir, generationPrefix)
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(snapshots) {
		info, err := checkGeneration(s, glance)
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

// checkGeneration reads a snapshot to its end; with glance only its beginning.
func checkGeneration(s sequenced, glance bool) (SnapshotInfo, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return SnapshotInfo{}, err
	}
	defer f.Close()
	stop := error(nil)
	if glance {
		stop = errGlance
	}
	info, err := ReadSnapshot(f, func(client.Record) error { return stop })
	if errors.Is(err, errGlance) {
		err = nil
	}
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
	changed := a.changed(q)
	give := func(before []byte) error { // all changed ones that sort before it; nil: all
		for len(changed) > 0 && (before == nil || bytes.Compare(changed[0].Key, before) < 0) {
			if r := changed[0]; !r.Delete {
				if err := f(r.Key, r.Value); err != nil {
					return err
				}
			}
			changed = changed[1:]
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
			if len(changed) > 0 && bytes.Equal(changed[0].Key, rec.Key) {
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

// changed are the newest records of the journal up to sequence q, in the order of their
// keys, each of which is there once.
func (a *account) changed(q uint64) (newest []*client.Record) {
	for i := range a.entries {
		if a.entries[i].sequence > q {
			break
		}
		for j := range a.entries[i].records {
			newest = append(newest, &a.entries[i].records[j])
		}
	}
	slices.SortStableFunc(newest, func(a, b *client.Record) int { return bytes.Compare(a.Key, b.Key) })
	last := 0
	for i, r := range newest {
		if i+1 == len(newest) || !bytes.Equal(newest[i+1].Key, r.Key) {
			newest[last], last = r, last+1
		}
	}
	return newest[:last]
}
