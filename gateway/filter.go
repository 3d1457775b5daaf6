package gateway

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is a system call that a filter lets through, always or by one of its
// arguments.
type call struct {
	number uint32
	tested bool
	arg    int      // which argument is tested, from 0; its low 32 bits
	mask   uint32   // the bits of it that matter
	values []uint32 // what they may be
}

// Where things are in what a filter reads (struct seccomp_data). All machines
// gatewayd is for are little-endian: the low half of an argument comes first.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// What a filter answers. A call that is not on the list is refused and the
// process lives on: a runtime that tries something new can do without. Starting a
// program is on nobody's way by accident and ends the process, as does a call by
// the numbers of another architecture.
const (
	allowCall  = unix.SECCOMP_RET_ALLOW
	refuseCall = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	absentCall = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	endProcess = unix.SECCOMP_RET_KILL_PROCESS
)

// filterProgram is a filter that lets only these calls through.
func filterProgram(calls []call) []bpf.Instruction {
	is := func(number uint32, answer uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipFalse: 1}, bpf.RetConstant{Val: answer}}
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: dataArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: filterArch, SkipTrue: 1},
		bpf.RetConstant{Val: endProcess},
		bpf.LoadAbsolute{Off: dataNumber, Size: 4},
	}
	for _, c := range calls {
		if !c.tested {
			program = append(program, is(c.number, allowCall)...)
			continue
		}
		n := uint8(len(c.values))
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.number, SkipFalse: n + 4},
			bpf.LoadAbsolute{Off: uint32(dataArgs + 8*c.arg), Size: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
		for i, v := range c.values {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: n - uint8(i)})
		}
		program = append(program, bpf.RetConstant{Val: refuseCall}, bpf.RetConstant{Val: allowCall})
	}
	program = append(program, is(unix.SYS_EXECVE, endProcess)...)
	program = append(program, is(unix.SYS_EXECVEAT, endProcess)...)
	program = append(program, is(unix.SYS_CLONE3, absentCall)...) // its flags cannot be seen; who hears this calls clone
	return append(program, bpf.RetConstant{Val: refuseCall})
}

// errNoFilter is the answer of a kernel, or a container, without filters of
// system calls.
var errNoFilter = errors.New("this kernel filters no system calls (CONFIG_SECCOMP_FILTER)")

// filterCalls lets this process, all of its threads, make these system calls
// only, from now on and for good (seccomp(2)). no_new_privs must be set.
func filterCalls(calls []call) error {
	raw, err := bpf.Assemble(filterProgram(calls))
	if err != nil {
		return fmt.Errorf("make the filter of system calls: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	switch {
	case errno == unix.ENOSYS || errno == unix.EINVAL:
		return errNoFilter
	case errno != 0:
		return fmt.Errorf("set the filter of system calls: %w", errno)
	case thread != 0:
		return fmt.Errorf("set the filter of system calls: thread %d has another one", thread)
	}
	return nil
}

// shut makes this process a child that can do its work and nothing else, and
// says what could not be shut. What the work reads once is read before.
func shut(calls []call) (open string) {
	_, _ = time.Now().Zone() // reads the time zone's file
	none := unix.Rlimit{}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &none); err != nil { // its memory is its customers'
		return fmt.Sprintf("forbid core dumps: %v", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil { // nor is it for others of its user
		return fmt.Sprintf("forbid tracing: %v", err)
	}
	if err := filterCalls(calls); err != nil {
		return err.Error()
	}
	return ""
}
