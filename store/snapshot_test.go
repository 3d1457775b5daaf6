package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatewayd/store/client"
)

func TestASnapshotHoldsEverything(t *testing.T) {
	c := openMemory(t)
	want := map[string]string{"empty": ""}
	batchOf(t, c, record("empty", ""), record("gone", "x"), client.Record{Key: []byte("gone"), Delete: true})
	for i := range 300 {
		key, value := fmt.Sprintf("k/%d", i), strings.Repeat(fmt.Sprint(i), i)
		want[key] = value
		batchOf(t, c, record(key, value))
	}
	path := filepath.Join(t.TempDir(), "snap")
	for range 2 { // the second one replaces the first
		if err := c.Snapshot(patient(t), path); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last := ""
	n, err := ReadSnapshot(f, func(r client.Record) error {
		if v, ok := want[string(r.Key)]; !ok || v != string(r.Value) || string(r.Key) <= last {
			t.Errorf("record %q after %q: %.20q", r.Key, last, r.Value)
		}
		last = string(r.Key)
		return nil
	})
	if err != nil || int(n) != len(want) {
		t.Fatalf("%d of %d records, %v", n, len(want), err)
	}
	if left, _ := filepath.Glob(path + ".*"); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestASnapshotThatFailsLeavesTheFormerFile(t *testing.T) {
	r := serveDir(t, t.TempDir(), plenty)
	batchOf(t, r.c, record("a", "1"))
	path := filepath.Join(t.TempDir(), "snap")
	if err := r.c.Snapshot(patient(t), path); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	batchOf(t, r.c, record("b", "2"))
	r.free.Store(testGuard)
	if err := r.c.Snapshot(patient(t), path); !errors.Is(err, client.ErrFull) {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Error("the former file changed")
	}
	if left, _ := filepath.Glob(path + ".*"); left != nil {
		t.Errorf("left behind: %v", left)
	}
	for _, path := range []string{"relative", filepath.Join(t.TempDir(), "no", "such", "directory")} {
		if err := r.c.Snapshot(patient(t), path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func wholeSnapshot(t testing.TB) []byte {
	c := openMemory(t)
	batchOf(t, c, record("a", "1"), record("b", ""), record("c", "333"))
	path := filepath.Join(t.TempDir(), "snap")
	if err := c.Snapshot(patient(t), path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

func drop(client.Record) error { return nil }

func TestASnapshotThatIsNotWholeIsRefused(t *testing.T) {
	whole := wholeSnapshot(t)
	if n, err := ReadSnapshot(bytes.NewReader(whole), drop); n != 3 || err != nil {
		t.Fatalf("the whole one: %d, %v", n, err)
	}
	for i := range whole {
		if _, err := ReadSnapshot(bytes.NewReader(whole[:i]), drop); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("cut at %d: %v", i, err)
		}
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			if _, err := ReadSnapshot(bytes.NewReader(bad), drop); !errors.Is(err, ErrBadSnapshot) {
				t.Errorf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
	}
	if _, err := ReadSnapshot(bytes.NewReader(append(whole, 0)), drop); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzReadSnapshot(f *testing.F) {
	whole := wholeSnapshot(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-4])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, given := uint64(0), 0
		n, err := ReadSnapshot(bytes.NewReader(b), func(r client.Record) error {
			given += len(r.Key) + len(r.Value)
			return nil
		})
		if err != nil && !errors.Is(err, ErrBadSnapshot) || given > len(b) {
			t.Fatalf("%d records, %d bytes of %d, %v", n, given, len(b), err)
		}
	})
}
