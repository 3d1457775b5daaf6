package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Beside requests a snapshot is synced in steps, so that no request's sync waits for all
// of it; alone only at its end. A pipe in its place cannot be synced, and says when that
// was tried.
func TestASnapshotIsSyncedInStepsBesideRequests(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		pace  *pace
		tried []int // after how many bytes
	}{
		{"beside requests", &pace{ctx: context.Background(), hurry: hurried(true)}, []int{syncStep, 2 * syncStep, 3 * syncStep}},
		{"alone", nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := &disk{dir: t.TempDir()}
			pipe := filepath.Join(d.dir, partialGeneration)
			if err := unix.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			// Without waiting for the writer, which then finds a reader.
			r, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan error)
			var tried []int
			_, err = d.makeGeneration(context.Background(), row.pace, func(to io.Writer) (SnapshotInfo, error) {
				go func() {
					_, err := io.Copy(io.Discard, r)
					read <- err
				}()
				part := make([]byte, syncStep/8)
				for n := len(part); n < 4*syncStep; n += len(part) {
					switch _, err := to.Write(part); {
					case errors.Is(err, unix.EINVAL):
						tried = append(tried, n)
					case err != nil:
						return SnapshotInfo{}, err
					}
				}
				return SnapshotInfo{}, nil
			})
			if !errors.Is(err, unix.EINVAL) {
				t.Errorf("at its end: %v, want that it was synced", err)
			}
			if !slices.Equal(tried, row.tried) {
				t.Errorf("synced after %v bytes, want %v", tried, row.tried)
			}
			if err := <-read; err != nil {
				t.Error(err)
			}
			r.Close()
		})
	}
}
