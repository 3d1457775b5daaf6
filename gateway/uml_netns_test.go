//go:build netns && amd64

package gateway_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// umlMemory is what a user-mode Linux may use at most.
const umlMemory = 768 << 20

// umlPatience bounds its whole run, which takes half a minute on an idle machine.
const umlPatience = 10 * time.Minute

// Debian 12's kernel as a program: Linux 6.1 has no TCX, tells no packet socket of UDP
// super-packets, and hands none to a TAP. GATEWAYD_UML names another one to try.
func TestOnLinux61(t *testing.T) {
	t.Parallel()
	linux, modules := os.Getenv("GATEWAYD_UML"), os.Getenv("GATEWAYD_UML_MODULES")
	if linux == "" {
		var err error
		if linux, err = exec.LookPath("linux.uml"); err != nil {
			t.Fatalf("%v: apt install user-mode-linux kmod", err)
		}
		modules = "/usr/lib/uml/modules"
	}
	program, err := os.Executable()
	check(t, err)
	where, err := os.Getwd()
	check(t, err)
	n := newNamespace(t) // without any way out
	p := n.start("unshare", "--pid", "--fork", "--kill-child", "env", "TMPDIR="+umlRoom(t), linux, fmt.Sprintf("mem=%dM", umlMemory>>20),
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "con=null", "con0=null,fd:1",
		"init="+filepath.Join(where, "testdata/uml.sh"), "GATEWAYD_BINARY="+gatewaydPath(t), "GATEWAYD_INSIDE=1",
		"PROGRAM="+program, "WHERE="+where, "MODULES="+modules, "RUN=^TestOnThisKernel$")
	eventually(t, umlPatience, "it ends", func() error {
		said := p.out.String()
		select {
		case <-p.ended:
			return nil
		default:
		}
		if strings.Contains(said, "Kernel panic") { // it stands still then
			return nil
		}
		return errors.New(said)
	})
	p.end()
	said := p.out.String()
	if strings.Contains(said, "ptrace set fp regs failed, errno = 14") {
		t.Skip("this processor has more registers (AMX) than such a kernel can carry as a program")
	}
	if !strings.Contains(said, "it ended with 0") || !strings.Contains(said, "--- PASS: TestOnThisKernel") {
		t.Errorf("%s", said)
	}
	for _, line := range strings.Split(said, "\n") {
		if strings.Contains(line, "this is Linux") || strings.Contains(line, "billed") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if os.Getenv("GATEWAYD_UML") == "" && !strings.Contains(said, "this is Linux 6.1.") {
		t.Errorf("it is not Linux 6.1: %s", said)
	}
}

// umlRoom is where a user-mode Linux can keep its memory: in this machine's, if that
// is let.
func umlRoom(t *testing.T) string {
	t.Helper()
	var room unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &room); err == nil && room.Bavail*uint64(room.Bsize) > umlMemory {
		return "/dev/shm"
	}
	return t.TempDir()
}

// older says whether this kernel came before a version.
func older(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	check(t, unix.Uname(&name))
	var is, point int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &is, &point)
	check(t, err)
	return is < major || is == major && point < minor
}

// superDatagram has the client send ten datagrams as one packet.
func (l *lab) superDatagram() {
	l.t.Helper()
	check(l.t, l.client.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 500); err != nil {
			return err
		}
		return unix.Sendto(fd, make([]byte, 5000), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{198, 51, 100, 1}})
	}))
}

// A short day of the gateway on whatever kernel this is.
func TestOnThisKernel(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	filters := 0
	if older(t, 6, 6) {
		filters = 2
	}
	if got := l.drops(); got != filters {
		t.Errorf("%d ports have the drop as a filter, want %d", got, filters)
	}
	if got, want := l.cutsUDP(), older(t, 6, 2); got != want {
		t.Errorf("UDP super-packets are cut for the host link: %v, want %v", got, want)
	}
	if got := d.rings(); got != 4 {
		t.Errorf("%d rings, want 4", got)
	}
	l.gateway.run("ip", "addr", "add", "10.10.9.9/32", "dev", "lo")
	if said, err := l.client.try("arping", "-I", "eth0", "-f", "-w", "2", "10.10.9.9"); err == nil {
		t.Errorf("the kernel answers behind the gateway's back: %s", said)
	}

	l.iperfServer()
	v := d.admit(anHour)
	up, down := l.settle()
	for _, way := range []string{"-n 2M", "-R -P4 -n 2M", "-u -b2M -l 60 -n 60K", "-u -b10M -l 8000 -n 500K"} {
		l.iperf(strings.Fields(way)...)
	}
	l.client.run("ping", "-c", "10", "-i", "0.05", "-s", "3000", serverIP)
	d.replaced("forward", d.kill("forward"))
	l.iperf("-n", "2M")
	d.billed(v.ID, up, down)

	for range 3 {
		l.superDatagram()
		l.passes()
	}
	want, lost := 4, false
	if older(t, 6, 2) && !older(t, 5, 11) { // before, a veth gives none
		want, lost = 3, true // the LAN's is given up
	}
	l.iperf("-n", "2M")
	d.billed(v.ID, up, down)
	if got, s := d.rings(), d.status(); got != want || lost && s.Ports["lan"].Overflow == 0 {
		t.Errorf("%d rings after a UDP super-packet, want %d: %+v", got, want, s.Ports["lan"])
	}
	if lost {
		eventually(t, soon, "status says what to do about it", func() error {
			l.superDatagram()
			if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, "tx-udp-segmentation off") {
				return fmt.Errorf("%q", said)
			}
			return nil
		})
	}
	d.stop()
}
