package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatewayd/store/client"
)

func TestABackupHoldsEverything(t *testing.T) {
	c := openMemory(t)
	want := map[string]string{"empty": ""}
	batchOf(t, c, record("empty", ""), record("gone", "x"), client.Record{Key: []byte("gone"), Delete: true})
	for i := range 300 {
		key, value := fmt.Sprintf("k/%d", i), strings.Repeat(fmt.Sprint(i), i)
		want[key] = value
		batchOf(t, c, record(key, value))
	}
	var got bytes.Buffer
	if err := c.Backup(patient(t), &got); err != nil {
		t.Fatal(err)
	}
	last := ""
	info, err := ReadSnapshot(&got, func(r client.Record) error {
		if v, ok := want[string(r.Key)]; !ok || v != string(r.Value) || string(r.Key) <= last {
			t.Errorf("record %q after %q: %.20q", r.Key, last, r.Value)
		}
		last = string(r.Key)
		return nil
	})
	if err != nil || int(info.Records) != len(want) || info.Sequence != 301 || info.Made.IsZero() {
		t.Fatalf("%+v of %d records, %v", info, len(want), err)
	}
}

// A backup is of one moment, and of more than one part.
func TestABackupIsOfOneMoment(t *testing.T) {
	c := openMemory(t)
	for i := range 40 {
		batchOf(t, c, record(fmt.Sprintf("%02d", i), string(noise(20<<10, uint64(i)))))
	}
	var got bytes.Buffer
	n := 0
	err := c.Backup(patient(t), writerFunc(func(b []byte) (int, error) {
		if n++; n == 2 {
			batchOf(t, c, record("39", "changed"), record("40", "new"))
		}
		return got.Write(b)
	}))
	if err != nil || n < 3 {
		t.Fatalf("%d parts, %v", n, err)
	}
	info, err := ReadSnapshot(&got, func(r client.Record) error {
		if len(r.Value) != 20<<10 {
			t.Errorf("%s has %d bytes", r.Key, len(r.Value))
		}
		return nil
	})
	if err != nil || info.Records != 40 || info.Sequence != 40 {
		t.Fatalf("%+v, %v", info, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A reader that goes away, and a second one, do not keep the store from being closed.
func TestABackupThatIsNotReadOnEndsNothing(t *testing.T) {
	r := serveDir(t, t.TempDir(), plenty)
	for i := range 40 {
		batchOf(t, r.c, record(fmt.Sprintf("%02d", i), string(noise(20<<10, uint64(i)))))
	}
	gone := errors.New("gone")
	for range 2 {
		err := r.c.Backup(patient(t), writerFunc(func([]byte) (int, error) { return 0, gone }))
		if !errors.Is(err, gone) {
			t.Fatal(err)
		}
	}
	if err := r.c.Backup(patient(t), io.Discard); err != nil {
		t.Fatal(err)
	}
	_ = r.c.Backup(patient(t), writerFunc(func([]byte) (int, error) { return 0, gone }))
	r.end(t)
}

// eventually waits for what happens by itself.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}

func generationsIn(t *testing.T, dir string) []sequenced {
	t.Helper()
	files, err := filesOf(dir, generationPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The journal decides when, two generations stay, and what they do not need goes.
func TestSnapshotsAreMadeByThemselves(t *testing.T) {
	dir := t.TempDir()
	r := serveDir(t, dir, plenty)
	for round := range 4 {
		for i := range 8 {
			batchOf(t, r.c, record(fmt.Sprint(i), string(noise(150<<10, uint64(round)))))
		}
		eventually(t, "a snapshot", func() bool { return r.d.snapshot.Load() >= r.d.segment.Load() })
	}
	var kept []sequenced
	eventually(t, "two generations stay", func() bool {
		kept = generationsIn(t, dir)
		return len(kept) == keptGenerations
	})
	segments, err := filesOf(dir, segmentPrefix)
	if err != nil || len(segments) == 0 || len(segments) > 4 {
		t.Errorf("%d segments, %v", len(segments), err)
	}
	for _, s := range kept {
		if info, err := checkGeneration(s, false); err != nil || info.Records == 0 {
			t.Errorf("%s: %+v, %v", s.path, info, err)
		}
	}
	batchOf(t, r.c, record("last", "1"))
	r.end(t)
	after := generationsIn(t, dir)
	if info, err := checkGeneration(after[len(after)-1], false); err != nil || info.Sequence != 33 {
		t.Errorf("at the clean end: %+v, %v", info, err)
	}
	r = serveDir(t, dir, plenty)
	r.end(t)
	if now := generationsIn(t, dir); len(now) != 2 || now[1] != after[1] {
		t.Errorf("nothing changed, and %v became %v", after, now)
	}
}

func TestASnapshotThatFailsLeavesTheFormerOnes(t *testing.T) {
	dir := t.TempDir()
	r := serveDir(t, dir, plenty)
	batchOf(t, r.c, record("a", "1"))
	before := generationsIn(t, dir)
	r.free.Store(testGuard / 2)
	err := r.d.use(func(db *badger.DB) error { return r.d.nextSnapshot(context.Background(), db, nil) })
	if !errors.Is(err, client.ErrFull) {
		t.Fatal(err)
	}
	if after := generationsIn(t, dir); len(after) != 1 || after[0] != before[0] {
		t.Errorf("%v became %v", before, after)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	r.free.Store(plenty)
}

func wholeBackup(t testing.TB) []byte {
	c := openMemory(t)
	batchOf(t, c, record("a", "1"), record("b", ""), record("c", "333"))
	var b bytes.Buffer
	if err := c.Backup(patient(t), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func drop(client.Record) error { return nil }

func TestABackupThatIsNotWholeIsRefused(t *testing.T) {
	whole := wholeBackup(t)
	if info, err := ReadSnapshot(bytes.NewReader(whole), drop); info.Records != 3 || err != nil {
		t.Fatalf("the whole one: %+v, %v", info, err)
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
	other := append([]byte("gatewayd store 7\n"), whole[len(magic):]...)
	if _, err := ReadSnapshot(bytes.NewReader(other), drop); !errors.Is(err, ErrBadSnapshot) || !strings.Contains(err.Error(), "another version") {
		t.Errorf("another version: %v", err)
	}
}

func TestARestorePutsTheBackupInThePlaceOfAll(t *testing.T) {
	for _, where := range []string{"on disk", "in memory"} {
		t.Run(where, func(t *testing.T) {
			dir := t.TempDir()
			var r *room
			c := openMemory(t)
			if where == "on disk" {
				r = serveDir(t, dir, plenty)
				c = r.c
			}
			batchOf(t, c, record("a", "0"), record("b", "2"), record("m", "2"))
			var backup bytes.Buffer
			if err := c.Backup(patient(t), &backup); err != nil {
				t.Fatal(err)
			}
			batchOf(t, c, record("a", "3"), record("c", "4"), client.Record{Key: []byte("b"), Delete: true})

			for name, bad := range map[string][]byte{
				"empty": nil, "cut": backup.Bytes()[:backup.Len()-1], "flipped": flip(backup.Bytes(), 40),
			} {
				if err := c.Stage(patient(t), bytes.NewReader(bad)); !errors.Is(err, client.ErrUnfit) {
					t.Errorf("%s: staged: %v", name, err)
				}
				if err := c.Restore(patient(t)); err == nil {
					t.Errorf("%s: restored", name)
				}
			}
			holds(t, c, "a=3", "c=4", "m=2")

			if err := c.Stage(patient(t), bytes.NewReader(backup.Bytes())); err != nil {
				t.Fatal(err)
			}
			holds(t, c, "a=3", "c=4", "m=2")
			if err := c.Restore(patient(t), record("e", "8"), record("aa", "6"), client.Record{Key: []byte("b"), Delete: true},
				record("a", "1"), record("d", "7"), client.Record{Key: []byte("f"), Delete: true}); err != nil {
				t.Fatal(err)
			}
			holds(t, c, "a=1", "aa=6", "d=7", "e=8", "m=2")
			batchOf(t, c, record("d", "5"))
			if r != nil {
				if h, err := c.Health(patient(t)); err != nil || !h.OK || h.Notice != "" {
					t.Errorf("health: %+v, %v", h, err)
				}
				r.end(t)
				c = serveDir(t, dir, plenty).c
				if left, _ := filepath.Glob(filepath.Join(dir, "re*")); len(left) != 1 { // the reserve
					t.Errorf("left behind: %v", left)
				}
			}
			holds(t, c, "a=1", "aa=6", "d=5", "e=8", "m=2")
		})
	}
}

// A power cut at each step of a restore leaves all of one or all of the other.
func TestARestoreThatIsCutShortIsDoneOrNot(t *testing.T) {
	dir := t.TempDir()
	r := serveDir(t, dir, plenty)
	batchOf(t, r.c, record("a", "1"))
	r.end(t)
	if err := writeFile(filepath.Join(dir, rebuildingName), ""); err != nil { // before the snapshot has its name
		t.Fatal(err)
	}
	r = serveDir(t, dir, plenty)
	holds(t, r.c, "a=1")
	batchOf(t, r.c, record("b", "2"))
	_, err := r.d.makeGeneration(context.Background(), nil, func(w io.Writer) (SnapshotInfo, error) {
		to := newSnapshotWriter(w, r.d.last+1, r.d.now())
		if err := to.add([]byte("z"), []byte("9")); err != nil {
			return SnapshotInfo{}, err
		}
		return to.end()
	})
	if err != nil {
		t.Fatal(err)
	}
	r.d.snapshot.Store(r.d.last) // no further one at the end
	r.end(t)
	if err := writeFile(filepath.Join(dir, rebuildingName), ""); err != nil { // after it
		t.Fatal(err)
	}
	r = serveDir(t, dir, plenty)
	holds(t, r.c, "z=9")
	if _, err := os.Stat(filepath.Join(dir, rebuildingName)); err == nil {
		t.Error("the marker is still there")
	}
}

// holds compares everything in the store.
func holds(t testing.TB, c *client.Client, want ...string) {
	t.Helper()
	page, more, err := c.Scan(patient(t), nil, nil, 0)
	var got []string
	for _, r := range page {
		got = append(got, string(r.Key)+"="+string(r.Value))
	}
	if err != nil || more || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("it holds %q, want %q, %v", got, want, err)
	}
}

func FuzzReadSnapshot(f *testing.F) {
	whole := wholeBackup(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-4])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := ReadSnapshot(bytes.NewReader(b), drop)
		if err != nil && !errors.Is(err, ErrBadSnapshot) {
			t.Fatal(err)
		}
	})
}
