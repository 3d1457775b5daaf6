package gateway

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestMain makes this program a child of a gateway that a test or example has
// made, one that a filter shuts in, or one that embeds a gateway, if it is
// started so. Who may not make a gateway runs no examples.
func TestMain(m *testing.M) {
	Child()
	if word := os.Getenv("GATEWAYD_TEST_SHUT"); word != "" {
		beShut(word)
		os.Exit(0)
	}
	if path := os.Getenv("GATEWAYD_TEST_EMBED"); path != "" {
		beEmbedder(path)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else each child takes a second to end
	flag.Parse()
	if mayNot() != nil && flag.Lookup("test.skip").Value.String() == "" {
		flag.Set("test.skip", "^Example")
	}
	os.Exit(m.Run())
}

// filters are all there are, by the child.
func filters() map[string][]call {
	return map[string][]call{wordForward: forwardCalls(), wordControl: controlCalls(), wordStore: storeCalls()}
}

// asked runs a filter for one system call, as the kernel would.
func asked(t *testing.T, calls []call, arch, number uint32, args ...uint32) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(filterProgram(calls))
	if err != nil {
		t.Fatal(err)
	}
	// The kernel reads words of this machine, the package's own reads network order.
	data := make([]byte, dataArgs+8*6)
	binary.BigEndian.PutUint32(data[dataNumber:], number)
	binary.BigEndian.PutUint32(data[dataArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[dataArgs+8*i:], a)
	}
	answer, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(answer)
}

func TestFiltersLetThroughWhatTheyList(t *testing.T) {
	for word, calls := range filters() {
		if _, err := bpf.Assemble(filterProgram(calls)); err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		if n := len(filterProgram(calls)); n > 4096 { // BPF_MAXINSNS
			t.Errorf("%s: %d instructions", word, n)
		}
		seen := map[uint32]bool{}
		for _, c := range calls {
			if seen[c.number] {
				t.Errorf("%s lists call %d twice: the second is never asked", word, c.number)
			}
			seen[c.number] = true
			if !c.tested {
				if got := asked(t, calls, filterArch, c.number); got != allowCall {
					t.Errorf("%s: call %d is answered %#x", word, c.number, got)
				}
				continue
			}
			for _, v := range c.values {
				args := make([]uint32, 6)
				args[c.arg] = v | ^c.mask
				if got := asked(t, calls, filterArch, c.number, args...); got != allowCall {
					t.Errorf("%s: call %d with %#x is answered %#x", word, c.number, args, got)
				}
				args[c.arg] = ^v
				if got := asked(t, calls, filterArch, c.number, args...); got != refuseCall {
					t.Errorf("%s: call %d with %#x is answered %#x", word, c.number, args, got)
				}
			}
		}
	}
}

func TestFiltersRefuseTheRest(t *testing.T) {
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	everywhere := []string{wordForward, wordControl, wordStore}
	bodiless := []string{wordForward, wordControl}
	for _, row := range []struct {
		name   string
		who    []string
		number uint32
		args   []uint32
		want   uint32
	}{
		{"a program", everywhere, unix.SYS_EXECVE, nil, endProcess},
		{"a program by descriptor", everywhere, unix.SYS_EXECVEAT, nil, endProcess},
		{"a socket", everywhere, unix.SYS_SOCKET, nil, refuseCall},
		{"a connection", everywhere, unix.SYS_CONNECT, nil, refuseCall},
		{"tracing", everywhere, unix.SYS_PTRACE, nil, refuseCall},
		{"a signal to others", everywhere, unix.SYS_TGKILL, []uint32{1, 1, 9}, refuseCall},
		{"any signal", everywhere, unix.SYS_KILL, []uint32{1, 9}, refuseCall},
		{"a process", everywhere, unix.SYS_CLONE, []uint32{uint32(unix.SIGCHLD)}, refuseCall},
		{"a thread", everywhere, unix.SYS_CLONE, []uint32{thread}, allowCall},
		{"whose flags cannot be seen", everywhere, unix.SYS_CLONE3, nil, absentCall},
		{"memory that is executable", everywhere, archMmap[0], []uint32{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, refuseCall},
		{"memory that is made executable", everywhere, unix.SYS_MPROTECT, []uint32{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, refuseCall},
		{"device control", everywhere, unix.SYS_IOCTL, nil, refuseCall},
		{"programs in the kernel", everywhere, unix.SYS_BPF, nil, refuseCall},
		{"another root", everywhere, unix.SYS_CHROOT, nil, refuseCall},
		{"a mount", everywhere, unix.SYS_MOUNT, nil, refuseCall},
		{"another user", everywhere, unix.SYS_SETUID, nil, refuseCall},
		{"an io_uring", everywhere, unix.SYS_IO_URING_SETUP, nil, refuseCall},
		{"a link", everywhere, unix.SYS_LINKAT, nil, refuseCall},
		{"a file", bodiless, unix.SYS_OPENAT, nil, refuseCall},
		{"no file any more", bodiless, unix.SYS_UNLINKAT, nil, refuseCall},
		{"a file of its own", []string{wordStore}, unix.SYS_OPENAT, nil, allowCall},
		{"a caller", []string{wordControl}, unix.SYS_ACCEPT4, nil, allowCall},
		{"a caller", []string{wordForward, wordStore}, unix.SYS_ACCEPT4, nil, refuseCall},
		{"a call that does not exist yet", everywhere, 1000, nil, refuseCall},
	} {
		for _, who := range row.who {
			if got := asked(t, filters()[who], filterArch, row.number, row.args...); got != row.want {
				t.Errorf("%s to %s: %#x, want %#x", row.name, who, got, row.want)
			}
		}
	}
	for who, calls := range filters() {
		if got := asked(t, calls, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != endProcess {
			t.Errorf("%s by another architecture's numbers: %#x", who, got)
		}
	}
}

// beShut does in a process of its own what a child does, and what it must not.
func beShut(word string) {
	directory := os.Getenv("GATEWAYD_TEST_DIR")
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		return
	}
	if open := shut(filters()[word]); open != "" {
		fmt.Println("open:", open)
		return
	}
	_, err := os.ReadFile("/etc/hostname")
	fmt.Println("read a file:", errors.Is(err, unix.EPERM))
	_, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fmt.Println("open a socket:", errors.Is(err, unix.EPERM))
	_, err = net.Dial("tcp", "127.0.0.1:1")
	fmt.Println("connect:", errors.Is(err, unix.EPERM))
	fmt.Println("write a file:", os.WriteFile(filepath.Join(directory, "file"), []byte("text"), 0o600) != nil)
	fmt.Println("signal the parent:", errors.Is(unix.Kill(unix.Getppid(), 0), unix.EPERM))
	busy() // with threads, timers, stacks and a collector
	fmt.Println("works on")
	path := []byte("/bin/true\x00")
	_, _, _ = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(&path[0])), 0, 0)
	fmt.Println("a program was only refused")
}

// busy keeps the runtime busy on more threads than there were.
func busy() {
	done := make(chan int)
	for range 16 {
		go func() {
			runtime.LockOSThread()
			kept := [][]byte{}
			for i := range 200 {
				kept = append(kept, make([]byte, 4096))
				if i%50 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			done <- len(kept)
		}()
	}
	for range 16 {
		<-done
	}
	runtime.GC()
}

func TestAShutProcessIsRefusedTheRestAndWorksOn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for word := range filters() {
		t.Run(word, func(t *testing.T) {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), "GATEWAYD_TEST_SHUT="+word, "GATEWAYD_TEST_DIR="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if errors.Is(err, unix.ENOEXEC) {
				t.Skip("this machine starts no program of this architecture")
			}
			said := string(out)
			if strings.Contains(said, errNoFilter.Error()) {
				t.Skip(said) // nor has this kernel, or what plays it
			}
			files := word == wordStore
			want := fmt.Sprintf("read a file: %v\nopen a socket: true\nconnect: true\nwrite a file: %v\nsignal the parent: true\nworks on\n", !files, !files)
			if said != want {
				t.Errorf("it said\n%swant\n%s", said, want)
			}
			var end *exec.ExitError
			if !errors.As(err, &end) || !strings.Contains(end.String(), "bad system call") {
				t.Errorf("starting a program ended it with %v, want the end by SIGSYS", err)
			}
		})
	}
}
