package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What compaction takes is not counted for each change, and never long out of date.
func TestTheRoomForTablesIsAskedSeldom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var r tablesRoom
	is := func(want int64, when string) {
		t.Helper()
		if got, err := r.room(dir); err != nil || got != want {
			t.Errorf("%s it takes %d bytes, %v, want %d", when, got, err, want)
		}
	}
	table("000001.sst")
	is(1000, "at first")
	table("000002.sst")
	r.at = time.Now().Add(time.Minute) // just asked, however slow this machine is
	is(1000, "a moment later")
	r.forget()
	is(2000, "when the database was opened again")
	table("000003.sst")
	eventually(t, "it is asked again", func() bool { n, err := r.room(dir); return err == nil && n == 3000 })
}
