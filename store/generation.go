package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	generationPrefix  = "snapshot-"
	partialGeneration = "snapshot.partial"
	keptGenerations   = 2
)

// sequenced is a file whose name ends with a sequence: a snapshot holds everything up
// to it, a journal's segment what follows it.
type sequenced struct {
	path     string
	sequence uint64
}

func generationPath(dir string, sequence uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x", generationPrefix, sequence))
}

// filesOf lists the files in dir that are prefix and a sequence, the oldest first.
func filesOf(dir, prefix string) ([]sequenced, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []sequenced
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || len(digits) != 16 {
			continue
		}
		if n, err := strconv.ParseUint(digits, 16, 64); err == nil {
			files = append(files, sequenced{filepath.Join(dir, e.Name()), n})
		}
	}
	slices.SortFunc(files, func(a, b sequenced) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

// prune removes the snapshots that are older than the kept ones, and the segments
// that are not needed with the oldest of these.
func prune(dir string, keep int) error {
	snapshots, err := filesOf(dir, generationPrefix)
	if err != nil || len(snapshots) == 0 {
		return err
	}
	segments, err := filesOf(dir, segmentPrefix)
	if err != nil {
		return err
	}
	old := snapshots[:max(0, len(snapshots)-keep)]
	oldest := snapshots[len(old)].sequence
	for i, s := range segments {
		if i+1 < len(segments) && segments[i+1].sequence <= oldest {
			old = append(old, s)
		}
	}
	var failed error
	for _, s := range old {
		failed = errors.Join(failed, removeFile(s.path))
	}
	return failed
}

// removeFile removes a file that may be gone.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
