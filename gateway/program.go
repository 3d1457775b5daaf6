package gateway

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ownProgram is this binary, also when its file was replaced since or the way to
// it is closed to the children's user.
const ownProgram = "/proc/self/exe"

// programFor is the path by which id can start this binary again. A file that is
// not its to execute is copied to memory, which hold keeps.
func programFor(id identity) (path string, hold *os.File, err error) {
	var st unix.Stat_t
	if err := unix.Stat(ownProgram, &st); err != nil {
		return "", nil, fmt.Errorf("look at this program: %w", err)
	}
	execute := uint32(0o001)
	switch {
	case st.Uid == id.uid:
		execute = 0o100
	case st.Gid == id.gid:
		execute = 0o010
	}
	if uint32(st.Mode)&execute != 0 {
		return ownProgram, nil, nil
	}
	fd, err := unix.MemfdCreate("gatewayd", unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, fmt.Errorf("copy this program for %v: memfd: %w", id, err)
	}
	written := os.NewFile(uintptr(fd), "program")
	defer written.Close() // what is open for writing cannot be executed
	own, err := os.Open(ownProgram)
	if err != nil {
		return "", nil, fmt.Errorf("copy this program for %v: %w", id, err)
	}
	defer own.Close()
	if _, err := io.Copy(written, own); err != nil {
		return "", nil, fmt.Errorf("copy this program for %v: %w", id, err)
	}
	hold, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return "", nil, fmt.Errorf("copy this program for %v: %w", id, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", hold.Fd()), hold, nil
}
