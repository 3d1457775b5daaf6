package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Openings that did not come to an end say that the database ends the process, unless
// it was the box that ended.
func TestOpeningsThatThePowerEndedAreNoDamage(t *testing.T) {
	for _, row := range []struct {
		name, opening string
		damage        bool
	}{
		{"of this boot", "this |||", true},
		{"of an earlier one", "that |||", false},
		{"of this boot, too few", "this ||", false},
		{"of nobody knows which", "|||", false},
		{"torn by the cut", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			r := serveDir(t, dir, plenty)
			batchOf(t, r.c, record("a", "1"))
			r.end(t)
			if err := os.WriteFile(filepath.Join(dir, attemptsName), []byte(row.opening), 0o600); err != nil {
				t.Fatal(err)
			}
			r = serveDir(t, dir, plenty)
			holds(t, r.c, "a=1")
			h, err := r.c.Health(patient(t))
			if err != nil || !h.OK || (h.Notice != "") != row.damage {
				t.Errorf("health: %+v, %v", h, err)
			}
			if _, err := os.Stat(filepath.Join(dir, attemptsName)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the count is still there: %v", err)
			}
		})
	}
}

// What a restore had taken in when the power went takes no room for ever.
func TestARestoreThatWasCutShortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, stagedName)
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	serveDir(t, dir, plenty)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
