package gateway

import "golang.org/x/sys/unix"

// What is called otherwise on other machines. Here times, sizes and offsets of
// 64 bits have calls of their own.
const filterArch = unix.AUDIT_ARCH_ARM

var (
	archRuntime = []uint32{unix.SYS_FUTEX_TIME64, unix.SYS_CLOCK_GETTIME64, unix.SYS_CLOCK_NANOSLEEP_TIME64, unix.SYS_TIMER_SETTIME64, unix.SYS_FSTAT64}
	archMmap    = []uint32{unix.SYS_MMAP2}
	archFcntl   = []uint32{unix.SYS_FCNTL, unix.SYS_FCNTL64}
	archPoll    = []uint32{unix.SYS_POLL, unix.SYS_EPOLL_WAIT, unix.SYS_PPOLL_TIME64}
	archFiles   = []uint32{unix.SYS_FSTATAT64, unix.SYS_STAT64, unix.SYS_LSTAT64, unix.SYS_FTRUNCATE64, unix.SYS_STATFS64, unix.SYS_FSTATFS64,
		unix.SYS__LLSEEK, unix.SYS_ARM_FADVISE64_64}
)
