package store

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"gatewayd/store/client"
)

// The sums of the comment above the sizes.
func TestNoTableOutgrowsItsFirstBuffer(t *testing.T) {
	const half = firstBuffer / 2
	if tableSize*2 <= half || tableSize*2 > firstBuffer {
		t.Errorf("twice %d bytes are not rounded up to %d", tableSize, firstBuffer)
	}
	if flushed := memTable + maxGroup; tableGrowth*float64(flushed) > firstBuffer {
		t.Errorf("a flush of %d bytes outgrows %d", flushed, firstBuffer)
	}
	if compacted := 0.95*tableSize + client.MaxValue; tableGrowth*compacted > firstBuffer {
		t.Errorf("a compaction to %.0f bytes outgrows %d", compacted, firstBuffer)
	}
	if inline <= client.MaxValue+sealSize || maxGroup+maxRecords >= memTable*15/100 || maxRecords < client.MaxRecords {
		t.Error("the largest batch does not fit in a transaction")
	}
}

// Sizes that grow a table's blocks most, over keys in disorder, through flushes and
// compactions and a level 0 that the former process left crowded. On 32-bit this is
// where a table that outgrows its buffer shows.
func TestEverySizeSurvivesFlushAndCompaction(t *testing.T) {
	sizes := []int{20, 2100, 4100, 4400, 8800, 30_000, 100_000, client.MaxValue}
	if testing.Short() {
		sizes = []int{4400, client.MaxValue}
	}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			random := rand.New(rand.NewPCG(1, uint64(size)))
			want := map[string]byte{}
			value := make([]byte, size)
			for round := range 3 {
				r := serveDir(t, dir, plenty)
				for written := 0; written < 4<<20; {
					var records []client.Record
					for n := 0; n+size <= client.MaxBatch-2000 && len(records) < 400; n += size + 60 {
						key := fmt.Sprintf("%06d", random.IntN(12<<20/(size+400)))
						mark := byte(random.IntN(256))
						want[key] = mark
						value := append([]byte(key), value[6:]...)
						value[size-1] = mark
						records = append(records, client.Record{Key: []byte(key), Value: value})
						written += size + 400
					}
					batchOf(t, r.c, records...)
				}
				if round == 1 {
					r.leaveCrowded(t)
				}
				for key, mark := range want {
					v, found, err := r.c.Get(patient(t), []byte(key))
					if err != nil || !found || len(v) != size || string(v[:6]) != key || v[size-1] != mark {
						t.Fatalf("round %d: key %s: found %v, %d bytes, %v", round, key, found, len(v), err)
					}
				}
				if n := len(everything(t, r.c, "", 0)); n != len(want) {
					t.Fatalf("round %d: %d of %d keys", round, n, len(want))
				}
				r.end(t)
			}
		})
	}
}

// A process that is killed as it opens leaves a log more each time. Level 0 takes all of
// them at once, also where nothing compacts it meanwhile.
func TestManyLogsAreOpened(t *testing.T) {
	t.Parallel()
	for _, nearlyFull := range []bool{false, true} {
		dir := t.TempDir()
		r := serveDir(t, dir, plenty)
		batchOf(t, r.c, record("kept", "value"))
		r.d.mu.Lock()
		logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
		if err != nil || len(logs) == 0 {
			t.Fatalf("logs %v: %v", logs, err)
		}
		written, err := os.ReadFile(logs[0])
		r.d.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		r.end(t)
		for i := range 4 * levelZeroUp {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.mem", 90001+i)), written, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if nearlyFull { // nothing compacts then
			opened := make(chan error, 1)
			go func() {
				db, err := openLocked(context.Background(), lean(profile(dir, slog.New(slog.DiscardHandler))))
				if err == nil {
					err = db.Close()
				}
				opened <- err
			}()
			select {
			case err := <-opened:
				if err != nil {
					t.Fatal(err)
				}
			case <-patient(t).Done():
				t.Fatal("it is not opened")
			}
		}
		r = serveDir(t, dir, plenty)
		if v, found, err := r.c.Get(patient(t), []byte("kept")); err != nil || !found || string(v) != "value" {
			t.Errorf("nearly full: %v: %q, found %v, %v", nearlyFull, v, found, err)
		}
		r.end(t)
	}
}

// leaveCrowded opens the database again and again without compaction, so that each
// time leaves a table in level 0, and then serves it as usual.
func (r *room) leaveCrowded(t *testing.T) {
	t.Helper()
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	o := profile(r.dir, r.d.log)
	for is := false; !is; {
		if err := r.d.close(); err != nil {
			t.Fatal(err)
		}
		db, err := openLocked(context.Background(), lean(o))
		if err != nil {
			t.Fatal(err)
		}
		r.d.db = db
		txn := db.NewTransaction(true)
		if err := put(txn, record("none", "")); err != nil {
			t.Fatal(err)
		}
		if err := put(txn, client.Record{Key: []byte("none"), Delete: true}); err != nil {
			t.Fatal(err)
		}
		if err := txn.Commit(); err != nil {
			t.Fatal(err)
		}
		if is, err = crowded(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.d.close(); err != nil {
		t.Fatal(err)
	}
	if err := r.d.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, table := range r.d.db.Tables() {
		if table.Level == 0 {
			t.Error("opening left level 0 crowded")
			break
		}
	}
}
