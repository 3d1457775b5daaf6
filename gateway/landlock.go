package gateway

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNoLandlock is the answer of a kernel that has no Landlock, or has it
// switched off.
var errNoLandlock = errors.New("this kernel has no Landlock")

// leastABI is the first version that lets files be moved between directories.
const leastABI = 2

// fileRights are the rights of landlock(7) that each version of its ABI added,
// from version 1 on.
var fileRights = []uint64{
	unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM,
	unix.LANDLOCK_ACCESS_FS_REFER,
	unix.LANDLOCK_ACCESS_FS_TRUNCATE,
	0, // version 4: TCP
	unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
	0, // version 6: scopes
}

// Of them, what the store does in its directory, and what starting it takes.
const (
	storeRights = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	startRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE
)

// landlockABI is the version that the kernel speaks; 0: none.
func landlockABI() int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// limitFiles lets the calling thread, and what it starts, touch files below dir only,
// apart from running program and reading the time zone, connect to
// nothing, and signal nobody else (landlock(7)), as far as this kernel knows how.
func limitFiles(dir *os.File, program string) error {
	abi := landlockABI()
	if abi < leastABI {
		return errNoLandlock
	}
	var rules unix.LandlockRulesetAttr
	for _, rights := range fileRights[:min(abi, len(fileRights))] {
		rules.Handled_access_fs |= rights
	}
	size := unsafe.Offsetof(rules.Handled_access_net)
	if abi >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size = unsafe.Offsetof(rules.Scoped)
	}
	if abi >= 6 {
		rules.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Offsetof(rules.Quiet_access_fs)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if errno != 0 {
		return fmt.Errorf("make Landlock rules: %w", errno)
	}
	defer unix.Close(int(fd))
	if err := allowBelow(int(fd), int(dir.Fd()), storeRights&rules.Handled_access_fs); err != nil {
		return fmt.Errorf("allow %s by Landlock: %w", dir.Name(), err)
	}
	readable := map[string]uint64{program: startRights, "/etc/localtime": unix.LANDLOCK_ACCESS_FS_READ_FILE}
	if linked(program) {
		readable = map[string]uint64{"/": startRights} // its libraries are anywhere
	}
	for path, rights := range readable {
		f, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // nothing to allow
		}
		err = allowBelow(int(fd), f, rights)
		unix.Close(f)
		if err != nil && !errors.Is(err, unix.EBADFD) { // a file in memory has no place, and is not Landlock's
			return fmt.Errorf("allow %s by Landlock: %w", path, err)
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("limit files by Landlock: %w", errno)
	}
	return nil
}

// linked says whether a program, an embedding one, needs libraries to start.
func linked(program string) bool {
	f, err := elf.Open(program)
	if err != nil {
		return true
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

func allowBelow(rules, fd int, rights uint64) error {
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
