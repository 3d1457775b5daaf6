package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// owner is whose a file is.
func owner(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

func TestTheStoresDirectoryIsGivenToItsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("files are given away by root only")
	}
	id := identity{uid: 12345, gid: 12345, as: true}
	for _, row := range []struct {
		name  string
		make  func(dir string) error // the directory as it is found
		owner uint32                 // afterwards
		why   string                 // in part
	}{
		{"one that is not there yet", func(string) error { return nil }, 12345, ""},
		{"an earlier version's", func(dir string) error {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Join(dir, "damaged"), 0o700); err != nil {
				return err
			}
			for _, name := range []string{"MANIFEST", "journal-0000000000000000", "damaged/MANIFEST"} {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					return err
				}
			}
			return nil
		}, 12345, ""},
		{"an empty file system", func(dir string) error { return os.MkdirAll(filepath.Join(dir, "lost+found"), 0o755) }, 12345, ""},
		{"one that its owner may not enter", func(dir string) error { return os.MkdirAll(dir, 0) }, 12345, ""},
		{"one that holds more", func(dir string) error {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "letters.txt"), nil, 0o600)
		}, 0, "letters.txt"},
		{"the root of a tmpfs", func(dir string) error {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			return os.Chmod(dir, 0o777|os.ModeSticky)
		}, 12345, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "deep", "store")
			if err := row.make(dir); err != nil {
				t.Fatal(err)
			}
			for range 2 { // again as at every start
				s, err := openStorage(dir, id)
				if err != nil {
					t.Fatal(err)
				}
				s.dir.Close()
				if s.id.uid != row.owner || (s.why == "") != (row.why == "") || !strings.Contains(s.why, row.why) {
					t.Errorf("the store runs as %v because of %q", s.id, s.why)
				}
			}
			if got := owner(t, dir); got != row.owner {
				t.Errorf("the directory is %d's, want %d's", got, row.owner)
			}
			if st, err := os.Stat(dir); err != nil || st.Mode()&0o700 != 0o700 {
				t.Errorf("its mode is %v: %v", st.Mode(), err)
			}
			for _, name := range []string{"MANIFEST", "journal-0000000000000000", "damaged", "damaged/MANIFEST", "letters.txt"} {
				path := filepath.Join(dir, name)
				want := row.owner
				if name == "letters.txt" {
					want = 0
				}
				if _, err := os.Lstat(path); err == nil && owner(t, path) != want {
					t.Errorf("%s is %d's, want %d's", name, owner(t, path), want)
				}
			}
		})
	}
}

// An empty directory may be one that other programs use tomorrow.
func TestADirectoryOfAllProgramsIsNotGivenAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("files are given away by root only")
	}
	dir, id := t.TempDir(), identity{uid: 12345, gid: 12345, as: true}
	before := everybodys
	everybodys = append(everybodys, dir)
	t.Cleanup(func() { everybodys = before })
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dir + "/", link} {
		s, err := openStorage(path, id)
		if err != nil {
			t.Fatal(err)
		}
		s.dir.Close()
		if got := owner(t, dir); got != 0 || s.id.uid != 0 || !strings.Contains(s.why, "gatewayd") {
			t.Errorf("%s is %d's, and the store runs as %v because of %q", path, got, s.id, s.why)
		}
	}
}

// Who has taken over the store's process could leave names in its directory that
// lead elsewhere.
func TestNothingFromElsewhereIsGivenAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("files are given away by root only")
	}
	id := identity{uid: 12345, gid: 12345, as: true}
	parent := t.TempDir()
	dir, mine, hers := filepath.Join(parent, "store"), filepath.Join(parent, "mine"), filepath.Join(parent, "hers")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{mine, hers} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(mine, filepath.Join(dir, "1.sst")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(hers, filepath.Join(dir, "2.sst")); err != nil {
		t.Fatal(err)
	}
	s, err := openStorage(dir, id)
	if err != nil {
		t.Fatal(err)
	}
	s.dir.Close()
	for _, path := range []string{mine, hers, filepath.Join(dir, "2.sst")} {
		if got := owner(t, path); got != 0 {
			t.Errorf("%s was given to %d", path, got)
		}
	}
}

func TestAStoreBelowAFileSaysWhy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStorage(filepath.Join(file, "store"), identity{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v, want an error that names %s", err, file)
	}
}

func TestIdsOfAUserNamespace(t *testing.T) {
	for _, row := range []struct {
		text string
		id   uint32
		want bool
	}{
		{"         0          0 4294967295\n", 65530, true},
		{"         0       1000          1\n", 65530, false},
		{"         0       1000          1\n", 0, true},
		{"0 1000 1\n1 100000 65536\n", 65530, true},
		{"0 1000 1\n1 100000 65529\n", 65530, false},
	} {
		file := filepath.Join(t.TempDir(), "map")
		if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mapped(file, row.id); got != row.want {
			t.Errorf("%d in %q: %v", row.id, row.text, got)
		}
	}
}
