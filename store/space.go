package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	reserveName = "reserve"

	// openSlack is what opening writes beside what the logs hold: the heads of new
	// files, the manifest, directory blocks.
	openSlack = 256 << 10
)

// freeSpace is what this process may still write to dir's file system, in bytes.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return int64(st.Bavail) * int64(st.Bsize), nil
		}
		if err != unix.EINTR {
			return 0, fmt.Errorf("free space of %s: %w", dir, err)
		}
	}
}

// roomToOpen is the free space that opening the database in dir takes: what is in
// the logs of a former process goes to tables before the logs are deleted.
func roomToOpen(dir string) (int64, error) {
	logs, err := logs(dir)
	if err != nil {
		return 0, err
	}
	need := int64(openSlack)
	for _, name := range logs {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil {
			return 0, fmt.Errorf("size of %s: %w", name, err)
		}
		need += int64(st.Blocks) * 512
	}
	return need, nil
}

// roomToCompact is the free space that compaction takes, at most: all that is in the
// tables is written again before any of them is deleted.
func roomToCompact(dir string) (int64, error) {
	tables, err := named(dir, ".sst")
	if err != nil {
		return 0, err
	}
	need := int64(0)
	for _, name := range tables {
		switch st, err := os.Stat(filepath.Join(dir, name)); {
		case err == nil:
			need += st.Size()
		case !errors.Is(err, fs.ErrNotExist): // compacted meanwhile
			return 0, err
		}
	}
	return need, nil
}

// tablesRoom is what roomToCompact said last. A large database has hundreds of tables,
// and each group of changes asks: for a million sessions that took half of what a group
// takes beside its syncs.
type tablesRoom struct {
	mu   sync.Mutex
	at   time.Time // when it was asked; zero: it was not
	need int64
}

// tablesAge is how old an answer may be: what can be written to tables meanwhile is much
// less than the guard.
const tablesAge = 100 * time.Millisecond

func (r *tablesRoom) room(dir string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < tablesAge {
		return r.need, nil
	}
	need, err := roomToCompact(dir)
	if err == nil {
		r.at, r.need = time.Now(), need
	}
	return need, err
}

// forget has it asked anew: the tables are others.
func (r *tablesRoom) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = time.Time{}
}

// logs names Badger's logs in dir, sorted.
func logs(dir string) ([]string, error) { return named(dir, ".mem") }

// named names the files in dir that end with suffix, sorted.
func named(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func hasReserve(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, reserveName))
	return err == nil
}

// makeReserve makes the reserve: size bytes that are allocated, not sparse.
func makeReserve(dir string, size int64) (err error) {
	path := filepath.Join(dir, reserveName)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make the reserve: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(path)
			err = fmt.Errorf("make the reserve: %w", err)
		}
	}()
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = io.CopyN(f, zeros{}, size)
	}
	if err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// dropReserve gives the reserve's space back, as the file system counts it, before
// it returns. No reserve is no error.
func dropReserve(dir string) error {
	err := os.Remove(filepath.Join(dir, reserveName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("give up the reserve: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// megabytes is n as people read it.
func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }
