//go:build netns

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confined names, in the environment, the program that a process of this test
// binary becomes once it cannot use the kernel's firewalls any more.
const confined = "GATEWAYD_TEST_CONFINED"

func TestMain(m *testing.M) {
	if program := os.Getenv(confined); program != "" {
		os.Unsetenv(confined)
		err := confine()
		if err == nil {
			err = syscall.Exec(program, os.Args, os.Environ())
		}
		fmt.Fprintln(os.Stderr, "confine the demo:", err)
		os.Exit(exitMisuse)
	}
	os.Exit(m.Run())
}

// Where the system call's number, its architecture and the low halves of its
// arguments are in what a seccomp filter reads (struct seccomp_data).
const (
	callNumber = 0
	callArch   = 4
	callArg0   = 16
	callArg1   = 24
	callArg2   = 32
)

// confine has the kernel refuse, to this process and all its descendants, the
// two doors of its firewalls: sockets of the family NETLINK_NETFILTER (nft,
// iptables-nft, conntrack), and the socket options by which iptables-legacy
// reads and replaces its tables, 64 and 65 at the level of IP and of IPv6. It
// returns an error unless it sees both shut.
func confine() error {
	arch := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "arm": unix.AUDIT_ARCH_ARM}[runtime.GOARCH]
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// is skips so many of the next instructions if what was loaded is equal, or not.
	is := func(value uint32, equal, other uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: equal, Jf: other}
	}
	end := func(with uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with} }
	filter := []unix.SockFilter{
		load(callArch), is(arch, 0, 16), // another has other numbers
		load(callNumber), is(unix.SYS_SOCKET, 0, 4),
		load(callArg0), is(unix.AF_NETLINK, 0, 10),
		load(callArg2), is(unix.NETLINK_NETFILTER, 9, 8),
		is(unix.SYS_SETSOCKOPT, 1, 0), is(unix.SYS_GETSOCKOPT, 0, 6),
		load(callArg1), is(unix.SOL_IPV6, 1, 0), is(unix.SOL_IP, 0, 3),
		load(callArg2), is(64, 2, 0), is(65, 1, 0),
		end(unix.SECCOMP_RET_ALLOW),
		end(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)),
		end(unix.SECCOMP_RET_KILL_PROCESS),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("set the filter of system calls: %w", errno)
	}
	if _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER); !errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("nf_tables can still be reached: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.GetsockoptInt(fd, unix.SOL_IP, 64); !errors.Is(err, unix.EPROTONOSUPPORT) { // IPT_SO_GET_INFO
		return fmt.Errorf("iptables can still be reached: %v", err)
	}
	return nil
}
