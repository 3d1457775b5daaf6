package store

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"gatewayd/store/client"
)

// noise is n bytes that do not compress.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func segmentOf(t testing.TB, groups ...[]batch) []byte {
	dir := t.TempDir()
	j, err := startSegment(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	for _, g := range groups {
		if err := j.append(next, g); err != nil {
			t.Fatal(err)
		}
		next += uint64(len(g))
	}
	j.close()
	b, err := os.ReadFile(segmentPath(dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func one(key, value string) batch { return batch{records: []client.Record{record(key, value)}} }

func TestAJournalGivesBackWhatIsWhole(t *testing.T) {
	whole := segmentOf(t, []batch{one("a", "1")}, []batch{one("b", "2"), one("c", "3")},
		[]batch{{records: []client.Record{{Key: []byte("a"), Delete: true}}}})
	read := func(b []byte) (sequences, firsts []uint64, size int, clean bool) {
		size, clean = parseSegment(b, func(e entry) {
			sequences, firsts = append(sequences, e.sequence), append(firsts, e.first)
		})
		return
	}
	same := func(got []uint64, want ...uint64) bool {
		if len(got) != len(want) {
			return false
		}
		for i := range got {
			if got[i] != want[i] {
				return false
			}
		}
		return true
	}
	sequences, firsts, size, clean := read(whole)
	if !same(sequences, 1, 2, 3, 4) || !same(firsts, 1, 2, 2, 4) || !clean || len(whole) != journalAhead {
		t.Fatalf("got %v of groups %v, clean %v, %d bytes", sequences, firsts, clean, len(whole))
	}
	for i := range size {
		for bit := range 8 {
			got, _, _, _ := read(flipBit(whole, i, bit))
			if len(got) != 3 {
				t.Fatalf("bit %d of byte %d flipped: %v are left", bit, i, got)
			}
		}
	}
	for i := range size {
		got, _, _, _ := read(append(bytes.Clone(whole[:i]), make([]byte, 100)...))
		for n, s := range got {
			if s != uint64(n+1) {
				t.Fatalf("torn at %d: %v", i, got)
			}
		}
		if len(got) == 4 {
			t.Fatalf("torn at %d: %v", i, got)
		}
	}
}

func flipBit(b []byte, i, bit int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1 << bit
	return b
}

func FuzzParseSegment(f *testing.F) {
	whole := segmentOf(f, []batch{one("a", "1")}, []batch{one("b", "2"), one("c", "3")})
	f.Add(whole[:200])
	f.Add([]byte(entryMark))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := 0
		size, _ := parseSegment(b, func(e entry) {
			read += len(appendEntry(nil, e.first, e.sequence, e.records))
		})
		if size > len(b) || read > size {
			t.Fatalf("%d bytes of entries, ending at %d of %d", read, size, len(b))
		}
	})
}
