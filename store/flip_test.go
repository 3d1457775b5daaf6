package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewayd/store/client"
)

// tries is how often a test that takes long tries: all of it with GATEWAYD_SOAK=1, a
// tenth otherwise.
func tries(all int) int {
	if os.Getenv("GATEWAYD_SOAK") == "1" {
		return all
	}
	return all / 10
}

// used is a store directory as a process left it, and what was acknowledged.
type used struct {
	dir   string
	want  map[string]string
	doubt string // a key whose batch was answered with an error: it may be there
}

// use fills a directory with tables, logs, snapshots and a journal. The process is
// killed, or ended.
func newUsed(t *testing.T, end func(*testing.T, *exec.Cmd, *client.Client)) used {
	u := used{dir: t.TempDir(), want: map[string]string{}}
	c := client.New()
	defer c.Close()
	child := startChild(t, c, u.dir)
	random := rand.New(rand.NewPCG(7, 7))
	for n := range 300 {
		records := []client.Record{{Key: fmt.Appendf(nil, "ledger/%06d", n), Value: noise(2000+random.IntN(16000), uint64(n))},
			record("last", fmt.Sprint(n)), record(fmt.Sprintf("session/%02d", random.IntN(50)), fmt.Sprint("state ", n))}
		if n%7 == 6 {
			records = append(records, client.Record{Key: fmt.Appendf(nil, "ledger/%06d", n-3), Delete: true})
		}
		batchOf(t, c, records...)
		for _, r := range records {
			if delete(u.want, string(r.Key)); !r.Delete {
				u.want[string(r.Key)] = string(r.Value)
			}
		}
	}
	end(t, child, c)
	return u
}

// opened starts the store for dir, again while it ends by itself.
func opened(t *testing.T, c *client.Client, dir string) *exec.Cmd {
	t.Helper()
	for range 2 * mostAttempts {
		child := startChild(t, c, dir)
		if _, err := c.Health(patient(t)); err == nil {
			return child
		}
		kill(t, child)
	}
	t.Fatal("the store does not open")
	return nil
}

// lacks compares what the store holds with what was acknowledged.
func (u *used) lacks(t *testing.T, c *client.Client) (why string) {
	t.Helper()
	left := len(u.want)
	var after []byte
	for {
		page, more, err := c.Scan(patient(t), nil, after, 0)
		if err != nil {
			return err.Error()
		}
		for _, r := range page {
			if after = r.Key; string(r.Key) == u.doubt {
				continue
			}
			if v, ok := u.want[string(r.Key)]; !ok || v != string(r.Value) {
				return fmt.Sprintf("%s is %.20q, want %.20q", r.Key, r.Value, v)
			}
			left--
		}
		if !more {
			break
		}
	}
	if left > 0 {
		return fmt.Sprintf("%d records are missing", left)
	}
	return ""
}

// Any one bit of any file of the store, at rest: everything that was acknowledged is
// there all the same, and the store goes on by itself. A damaged database is said.
func TestOneFlippedBitLosesNothing(t *testing.T) {
	t.Parallel()
	killed := newUsed(t, func(t *testing.T, child *exec.Cmd, _ *client.Client) { kill(t, child) })
	ended := newUsed(t, func(t *testing.T, child *exec.Cmd, c *client.Client) {
		end(t, child)
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	said, mended := map[string]int{}, map[string]int{}
	flips := tries(500)
	if testing.Short() {
		flips = 10 // one of each kind of file
	}
	for n := range flips {
		u := killed
		if n%4 == 3 {
			u = ended
		}
		dir := filepath.Join(t.TempDir(), "store")
		if err := os.CopyFS(dir, os.DirFS(u.dir)); err != nil {
			t.Fatal(err)
		}
		name, at, bit := flipOne(t, random, dir, n)
		c := client.New()
		child := opened(t, c, dir)
		why := u.lacks(t, c)
		h, err := c.Health(patient(t))
		kind := kindOf(name)
		switch {
		case err != nil || !h.OK:
			t.Errorf("bit %d of byte %d of %s: health %+v, %v", bit, at, name, h, err)
		case why != "":
			t.Errorf("bit %d of byte %d of %s: %s; it says %q", bit, at, name, why, h.Notice)
		case h.Notice != "":
			said[kind]++
			if strings.Contains(h.Notice, "LOST") {
				t.Errorf("bit %d of byte %d of %s: %s", bit, at, name, h.Notice)
			}
			if _, err := os.Stat(filepath.Join(dir, damagedName, noticeName)); err != nil {
				t.Error(err)
			}
		default:
			mended[kind]++
		}
		batchOf(t, c, record("after", "1"))
		kill(t, child)
		c.Close()
		os.RemoveAll(filepath.Dir(dir))
	}
	t.Logf("restored and said: %v; nothing to be said: %v", said, mended)
}

// end ends a store cleanly.
func end(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	child.Wait()
}

// A table goes bad under a store that runs: it does not get into a snapshot, and the
// next start mends it.
func TestATableThatGoesBadWhileItRunsLosesNothing(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		then func(t *testing.T, u *used, child *exec.Cmd, c *client.Client)
	}{
		{"and the store ends cleanly", func(t *testing.T, _ *used, child *exec.Cmd, _ *client.Client) { end(t, child) }},
		{"and more is written", func(t *testing.T, u *used, child *exec.Cmd, c *client.Client) {
			for n := range 200 {
				r := record(fmt.Sprintf("more/%03d", n), string(noise(40_000, uint64(n))))
				if c.Batch(patient(t), []client.Record{r}) != nil {
					u.doubt = string(r.Key)
					break
				}
				u.want[string(r.Key)] = string(r.Value)
			}
			kill(t, child)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := newUsed(t, func(t *testing.T, child *exec.Cmd, _ *client.Client) { end(t, child) })
			c := client.New()
			defer c.Close()
			child := opened(t, c, u.dir)
			tables, err := filepath.Glob(filepath.Join(u.dir, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatalf("no tables: %v", err)
			}
			f, err := os.OpenFile(tables[len(tables)/2], os.O_RDWR, 0) // the page that the store has mapped
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, 20_000); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 16
			if _, err := f.WriteAt(b, 20_000); err != nil {
				t.Fatal(err)
			}
			row.then(t, &u, child, c)
			child = opened(t, c, u.dir)
			if why := u.lacks(t, c); why != "" {
				t.Error(why)
			}
			h, err := c.Health(patient(t))
			if err != nil || !h.OK || !strings.Contains(h.Notice, "nothing is lost") {
				t.Errorf("health: %+v, %v", h, err)
			}
			kill(t, child)
		})
	}
}

func kindOf(name string) string {
	if i := strings.IndexByte(name, '-'); i > 0 && name != "MANIFEST" {
		return name[:i]
	}
	return strings.TrimPrefix(filepath.Ext("x"+name), ".") + strings.TrimLeft(name[:len(name)-len(filepath.Ext(name))], "0123456789")
}

// flipOne flips a bit of a file, of another kind each time, where there is something.
func flipOne(t *testing.T, random *rand.Rand, dir string, n int) (name string, at, bit int) {
	t.Helper()
	kinds := []string{"*.mem", "*.sst", "MANIFEST", "*.mem", "*.sst", "journal-*", "snapshot-*", "*.vlog", "KEYREGISTRY", "DISCARD"}
	files, err := filepath.Glob(filepath.Join(dir, kinds[n%len(kinds)]))
	if err != nil || len(files) == 0 {
		files, _ = filepath.Glob(filepath.Join(dir, "*.sst")) // a clean end leaves no logs
	}
	path := files[random.IntN(len(files))]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(b, "\x00"))
	if used == 0 {
		used = len(b)
	}
	at, bit = random.IntN(used), random.IntN(8)
	b[at] ^= 1 << bit
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b[at:at+1], int64(at)); err != nil {
		t.Fatal(err)
	}
	return filepath.Base(path), at, bit
}

// Database and journal damaged at once, and the newest snapshot as well: what is lost
// is said with its sequences, and what is left is a snapshot and all later batches that
// are whole.
func TestTwoFaultsAreSaid(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		harm func(t *testing.T, dir string)
		lost []string // of a .. e, each written by a batch of its own after the snapshot
		says string
	}{
		{"the database alone", func(*testing.T, string) {}, nil, "nothing is lost"},
		{"and a batch of the journal", func(t *testing.T, dir string) { spoilJournal(t, dir, "value of c") }, []string{"c"}, ", batch 4 LOST"},
		{"and the newest snapshot", func(t *testing.T, dir string) { spoil(t, newestOf(t, dir, generationPrefix), 30) }, nil, "nothing is lost"},
		{"and all snapshots", func(t *testing.T, dir string) {
			for _, s := range generationsIn(t, dir) {
				spoil(t, s.path, 30)
			}
		}, nil, "restored from 6 batches of the journal: nothing is lost"},
		{"and all snapshots and the journal's beginning", func(t *testing.T, dir string) {
			for _, s := range generationsIn(t, dir) {
				spoil(t, s.path, 30)
			}
			spoilJournal(t, dir, "base")
		}, []string{"base"}, "batch 1 LOST"},
		{"and all there is", func(t *testing.T, dir string) {
			for _, s := range generationsIn(t, dir) {
				spoil(t, s.path, 30)
			}
			os.Remove(newestOf(t, dir, segmentPrefix))
		}, []string{"base", "a", "b", "c", "d", "e"}, "everything is LOST"},
		{"and all of the journal", func(t *testing.T, dir string) {
			if err := os.Remove(newestOf(t, dir, segmentPrefix)); err != nil {
				t.Fatal(err)
			}
		}, []string{"a", "b", "c", "d", "e"}, "what followed batch 1 is LOST"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			r := serveDir(t, dir, plenty)
			batchOf(t, r.c, record("base", "0"))
			r.end(t) // the second generation, with base
			r = serveDir(t, dir, plenty)
			all := []string{"base"}
			for _, k := range []string{"a", "b", "c", "d", "e"} {
				batchOf(t, r.c, record(k, "value of "+k))
				all = append(all, k)
			}
			r.d.snapshot.Store(r.d.last) // none at the end
			r.end(t)
			if n := len(generationsIn(t, dir)); n != 2 {
				t.Fatalf("%d generations", n)
			}
			spoil(t, filepath.Join(dir, "MANIFEST"), 3)
			row.harm(t, dir)
			r = serveDir(t, dir, plenty)
			for range 2 { // also after another start
				h, err := r.c.Health(patient(t))
				if err != nil || !h.OK || !strings.Contains(h.Notice, row.says) {
					t.Fatalf("health: %+v, %v, want %q", h, err, row.says)
				}
				for _, k := range all {
					_, found, err := r.c.Get(patient(t), []byte(k))
					if err != nil || found == slices.Contains(row.lost, k) {
						t.Errorf("%s: found %v, %v", k, found, err)
					}
				}
				r.end(t)
				r = serveDir(t, dir, plenty)
			}
			if err := os.RemoveAll(filepath.Join(dir, damagedName)); err != nil {
				t.Fatal(err)
			}
			if h, _ := r.c.Health(patient(t)); h.Notice != "" {
				t.Errorf("the files are gone, and it says %q", h.Notice)
			}
		})
	}
}

func newestOf(t *testing.T, dir, prefix string) string {
	t.Helper()
	files, err := filesOf(dir, prefix)
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", prefix, err)
	}
	return files[len(files)-1].path
}

// spoil changes the byte at `at` of a file.
func spoil(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		b[at] ^= 4
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// spoilJournal changes a byte of the entry that has text.
func spoilJournal(t *testing.T, dir, text string) {
	t.Helper()
	path := newestOf(t, dir, segmentPrefix)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, path, bytes.Index(b, []byte(text)))
}

// A group that a power cut tore, in the journal and in the database, was not
// acknowledged: it is no damage, and later batches take its sequences.
func TestATornTailIsNoDamage(t *testing.T) {
	t.Parallel()
	group := []batch{one("x", "1"), one("y", "2"), one("z", "3")}
	for _, row := range []struct {
		name string
		tear func(b []byte, at, end int) // what of the last group is on the disk
		want []string
	}{
		{"none of it", func(b []byte, at, end int) { clear(b[at:end]) }, []string{"a=0"}},
		{"its end is missing", func(b []byte, at, end int) { clear(b[end-9 : end]) }, []string{"a=0", "x=1", "y=2"}},
		{"its middle is missing", func(b []byte, at, end int) { clear(b[at+60 : at+70]) }, []string{"a=0", "x=1"}},
		{"its beginning is missing", func(b []byte, at, end int) { clear(b[at : at+9]) }, []string{"a=0"}},
		{"all of it, and the database has not", func([]byte, int, int) {}, []string{"a=0", "x=1", "y=2", "z=3"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			r := serveDir(t, dir, plenty)
			batchOf(t, r.c, record("a", "0"))
			r.d.snapshot.Store(r.d.last)
			r.end(t)
			path := newestOf(t, dir, segmentPrefix)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at, _ := parseSegment(b, func(entry) {})
			var torn []byte
			for i, one := range group {
				torn = appendEntry(torn, 2, uint64(2+i), one.records)
			}
			copy(b[at:], torn)
			row.tear(b, at, at+len(torn))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			want := row.want
			for i := range 3 {
				r = serveDir(t, dir, plenty)
				h, err := r.c.Health(patient(t))
				if err != nil || !h.OK || h.Notice != "" {
					t.Errorf("health: %+v, %v", h, err)
				}
				holds(t, r.c, want...)
				batchOf(t, r.c, record(fmt.Sprint("~", i), "later"))
				want = append(slices.Clone(want), fmt.Sprintf("~%d=later", i))
				r.d.snapshot.Store(r.d.last)
				r.end(t)
			}
		})
	}
}

// A commit that fails halfway is answered as an error, and the store opens itself
// again: what was acknowledged is there, and the next change is accepted.
func TestACommitThatFailsHalfwayIsMended(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		fail func(r *room) error
	}{
		{"in the journal", func(r *room) error { return r.d.journal.f.Close() }},
		{"in the database", func(r *room) error { return r.d.db.Close() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := serveDir(t, t.TempDir(), plenty)
			batchOf(t, r.c, record("a", "1"))
			if err := row.fail(r); err != nil {
				t.Fatal(err)
			}
			if err := r.c.Batch(patient(t), []client.Record{record("a", "2")}); err == nil {
				t.Fatal("acknowledged")
			}
			var err error
			eventually(t, "a change is accepted", func() bool {
				err = r.c.Batch(patient(t), []client.Record{record("b", "3")})
				return err == nil
			})
			page, _, err := r.c.Scan(patient(t), nil, nil, 0)
			if err != nil || len(page) != 2 || string(page[1].Value) != "3" {
				t.Errorf("it holds %v, %v", page, err)
			}
			if h, err := r.c.Health(patient(t)); err != nil || !h.OK || h.Notice != "" {
				t.Errorf("health: %+v, %v", h, err)
			}
		})
	}
}
