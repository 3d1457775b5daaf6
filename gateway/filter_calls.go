package gateway

import (
	"slices"

	"golang.org/x/sys/unix"
)

// numbers lets calls through whatever their arguments.
func numbers(list ...uint32) []call {
	var calls []call
	for _, n := range list {
		calls = append(calls, call{number: n})
	}
	return calls
}

// tested lets a call through when the masked argument is one of values.
func tested(number uint32, arg int, mask uint32, values ...uint32) call {
	return call{number: number, tested: true, arg: arg, mask: mask, values: values}
}

// runtimeCalls is what Go's runtime needs, and C's where an embedding program is
// linked with it: memory that is not executable, threads but no processes,
// signals to itself.
func runtimeCalls() []call {
	const anything = 0xffffffff
	calls := numbers(
		unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_NANOSLEEP, unix.SYS_MADVISE,
		unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_SCHED_YIELD, unix.SYS_GETPID, unix.SYS_GETTID,
		unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
		unix.SYS_MUNMAP, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_PREAD64, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_UNAME,
		unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER,
		unix.SYS_GETRANDOM, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
		unix.SYS_EXIT, unix.SYS_EXIT_GROUP)
	calls = append(calls, numbers(archRuntime...)...)
	for _, n := range archMmap {
		calls = append(calls, tested(n, 2, unix.PROT_EXEC, 0))
	}
	for _, n := range archFcntl {
		calls = append(calls, tested(n, 1, anything, unix.F_GETFL, unix.F_SETFL, unix.F_GETFD, unix.F_SETFD, unix.F_DUPFD_CLOEXEC))
	}
	return append(calls,
		tested(unix.SYS_MPROTECT, 2, unix.PROT_EXEC, 0),
		tested(unix.SYS_CLONE, 0, unix.CLONE_THREAD, unix.CLONE_THREAD),
		tested(unix.SYS_TGKILL, 0, anything, uint32(unix.Getpid())),
		tested(unix.SYS_PRCTL, 0, anything, unix.PR_SET_VMA, unix.PR_SET_NAME))
}

// wireCalls are for talking on sockets that are there, or are handed over.
var wireCalls = []uint32{
	unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_GETSOCKOPT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SHUTDOWN,
	unix.SYS_READV, unix.SYS_WRITEV,
}

// forwardCalls are the forwarder's, once it has taken over its ports: it moves
// frames, can give up a ring, and can open nothing.
func forwardCalls() []call {
	first := numbers(unix.SYS_SENDMMSG, unix.SYS_RECVMMSG, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL)
	return slices.Concat(first, numbers(archPoll...), runtimeCalls(), numbers(wireCalls...),
		[]call{tested(unix.SYS_SETSOCKOPT, 1, 0xffffffff, unix.SOL_PACKET)})
}

// controlCalls are control's: it answers who calls, and can open nothing.
func controlCalls() []call {
	return slices.Concat(runtimeCalls(), numbers(wireCalls...), numbers(unix.SYS_ACCEPT4),
		[]call{tested(unix.SYS_SETSOCKOPT, 1, 0xffffffff, unix.SOL_SOCKET, unix.IPPROTO_TCP)})
}

// storeCalls are the store's: files, but no new socket.
func storeCalls() []call {
	return slices.Concat(runtimeCalls(), numbers(wireCalls...), numbers(archFiles...), numbers(
		unix.SYS_OPENAT, unix.SYS_GETDENTS64, unix.SYS_LSEEK, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE,
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_MSYNC, unix.SYS_MREMAP, unix.SYS_FLOCK, unix.SYS_UNLINKAT,
		unix.SYS_RENAMEAT, unix.SYS_MKDIRAT, unix.SYS_FCHMOD, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_GETCWD))
}
