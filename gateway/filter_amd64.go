package gateway

import "golang.org/x/sys/unix"

// What is called otherwise on other machines.
const filterArch = unix.AUDIT_ARCH_X86_64

var (
	archRuntime = []uint32{unix.SYS_ARCH_PRCTL}
	archMmap    = []uint32{unix.SYS_MMAP}
	archFcntl   = []uint32{unix.SYS_FCNTL}
	archPoll    = []uint32{unix.SYS_POLL, unix.SYS_EPOLL_WAIT}
	archFiles   = []uint32{unix.SYS_NEWFSTATAT, unix.SYS_FADVISE64}
)
