package gateway

import "golang.org/x/sys/unix"

// What is called otherwise on other machines.
const filterArch = unix.AUDIT_ARCH_AARCH64

var (
	archRuntime = []uint32{}
	archMmap    = []uint32{unix.SYS_MMAP}
	archFcntl   = []uint32{unix.SYS_FCNTL}
	archPoll    = []uint32{}
	archFiles   = []uint32{unix.SYS_FSTATAT, unix.SYS_FADVISE64}
)
