package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"gatewayd/store"
)

// storage is the store's directory, opened by who may.
type storage struct {
	dir *os.File
	id  identity // who can write it
	why string   // why that is not who it should be; empty if it is
}

// openStorage makes the directory if need be and gives it, and what the store
// keeps in it, to id, so that the store needs no privilege. A directory that is
// not the store's own, or whose file system knows no owners, stays as it is:
// then the store has to run as its owner.
func openStorage(path string, id identity) (_ *storage, err error) {
	err = os.MkdirAll(path, 0o700)
	if err == nil && errors.Is(unix.Access(path, unix.W_OK), unix.EROFS) {
		err = &os.PathError{Op: "write", Path: path, Err: unix.EROFS}
	}
	if errors.Is(err, unix.EROFS) {
		err = fmt.Errorf("%w: mount it writable; to a service it is read-only until allowed: "+
			"systemctl edit gatewayd, and there [Service] ReadWritePaths=%s", err, path)
	}
	if err != nil {
		return nil, fmt.Errorf("make the store's directory: %w", err)
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the store's directory: %w", err)
	}
	s := &storage{dir: dir, id: id}
	defer func() {
		if err != nil {
			dir.Close()
		}
	}()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read the store's directory: %w", err)
	}
	if !id.as {
		return s, nil
	}
	fd := int(dir.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	why := sharedBy(path)
	foreign := slices.IndexFunc(names, func(name string) bool { return !isStored(name) })
	switch {
	case st.Uid == id.uid:
	case why != "":
		s.why = why
	case foreign >= 0:
		s.why = fmt.Sprintf("%s holds %s too: give the store a directory of its own as store.path", path, names[foreign])
	default:
		err := unix.Fchown(fd, int(id.uid), int(id.gid))
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err != nil || st.Uid != id.uid {
			s.why = fmt.Sprintf("the file system of %s does not let its owner be changed", path)
		}
	}
	if s.why != "" {
		s.id = identity{uid: st.Uid, gid: st.Gid, as: true}
	}
	if st.Mode&0o700 != 0o700 {
		if err := unix.Fchmod(fd, st.Mode&0o7777|0o700); err != nil {
			return nil, fmt.Errorf("let its owner use %s: %w", path, err)
		}
	}
	for _, name := range names {
		if err := s.give(fd, name); err != nil {
			return nil, fmt.Errorf("give %s/%s to %v: %w", path, name, s.id, err)
		}
	}
	return s, nil
}

// give changes the owner of one of the store's files, or of its directory of
// damaged files and what is in that; of nothing that could be a file from elsewhere.
func (s *storage) give(dir int, name string) error {
	if !store.Keeps(name) {
		return nil
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		if err := s.giveAll(fd); err != nil {
			return err
		}
	case st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1:
		return nil
	}
	if st.Uid == s.id.uid {
		return nil
	}
	return unix.Fchownat(fd, "", int(s.id.uid), int(s.id.gid), unix.AT_EMPTY_PATH)
}

// giveAll gives what is in a directory.
func (s *storage) giveAll(fd int) error {
	inside, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(inside), "damaged")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.give(inside, name); err != nil {
			return err
		}
	}
	return nil
}

// everybodys are the directories of hier(7) that programs find and share by name.
var everybodys = []string{"/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv",
	"/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/backups", "/var/cache", "/var/lib", "/var/local", "/var/log", "/var/opt", "/var/spool", "/var/tmp"}

// sharedBy says why a directory is not the store's even when it is empty; empty:
// nothing is known.
func sharedBy(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || !slices.Contains(everybodys, real) {
		return ""
	}
	return fmt.Sprintf("%s is shared by all programs: set store.path to a directory below it, such as %s", path, filepath.Join(path, "gatewayd"))
}

// isStored says whether a name is one that the store gives, or one that a file
// system gives a directory in its root.
func isStored(name string) bool { return name == "lost+found" || store.Keeps(name) }

// prepareStore opens the directory for the store that is started next. A disk
// that does not answer keeps this waiting until ctx ends, and nobody else.
func (k *keeper) prepareStore(ctx context.Context) error {
	type answer struct {
		s   *storage
		err error
	}
	done := make(chan answer, 1)
	go func() {
		s, err := openStorage(k.cfg.Store.Path, k.id)
		done <- answer{s, err}
	}()
	for {
		select {
		case <-ctx.Done():
			go func() {
				if a := <-done; a.err == nil {
					a.s.dir.Close()
				}
			}()
			return ctx.Err()
		case <-k.store.pulse:
		case a := <-done:
			if a.err == nil {
				k.takeStorage(a.s)
			}
			return a.err
		}
	}
}

// takeStorage gives the store that is started next its directory.
func (k *keeper) takeStorage(s *storage) {
	k.mu.Lock()
	known := k.store.weak == s.why
	k.store.confined.id, k.store.confined.only = s.id, s.dir
	if k.id.as {
		k.store.weak = s.why
	}
	k.mu.Unlock()
	if !known && s.why != "" {
		k.log.Warn("the store runs as the owner of its directory", "owner", s.id, "because", s.why)
	}
}

// bootID is the kernel's name of this boot; empty: it has none.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // none without /proc
	return strings.TrimSpace(string(id))
}
