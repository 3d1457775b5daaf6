//go:build netns

package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// box is a machine to install things on, in the gateway's place: this machine's
// files, of which it sees changes of its own only. testdata/box.sh makes it.
type box struct {
	*lab
	first int      // pid of a process that lives as long as the box
	enter []string // what nsenter enters
}

// newBox makes a box on which no service manager runs.
func newBox(t *testing.T, packages string) *box {
	t.Helper()
	b := &box{lab: newLab(t), enter: []string{"--mount"}}
	holder := b.gateway.start("sh", "testdata/box.sh", b.dir, packages, "bare")
	holder.says("furnished")
	b.first = holder.cmd.Process.Pid
	t.Cleanup(b.sweep)
	return b
}

// newBootedBox makes a box on which systemd runs, and nothing else yet.
func newBootedBox(t *testing.T, packages string) *box {
	t.Helper()
	b := &box{lab: newLab(t), enter: []string{"--mount", "--pid"}}
	t.Cleanup(b.removeGroup)
	holder := b.gateway.start("sh", "testdata/box.sh", b.dir, packages, "booted")
	t.Cleanup(func() {
		if t.Failed() {
			state, _ := b.try("systemctl", "status", "--full", "gatewayd")
			log, _ := b.try("tail", "-n", "40", "/run/log")
			t.Logf("boot: %s\nsystemd: %s\nservices: %s", holder.out.String(), state, log)
		}
		_ = holder.cmd.Process.Kill() // systemd, and all below it, with it
		<-holder.ended
	})
	eventually(t, 4*soon, "systemd answers", func() error {
		select {
		case <-holder.ended:
			t.Fatalf("systemd has ended: %s", holder.out.String())
		default:
		}
		for _, pid := range childrenOf(holder.cmd.Process.Pid) {
			b.first = pid
			_, err := b.try("sh", "-c", "test -e /run/box && systemctl is-active multi-user.target") // not this machine's
			return err
		}
		return errNotYet
	})
	return b
}

// inside is the line that runs a program in the box, as nsenter's arguments.
func (b *box) inside(command ...string) []string {
	line := append([]string{"--target", strconv.Itoa(b.first)}, b.enter...)
	return append(append(line, "--wd=/", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER="), command...)
}

// try runs a program in the box to its end.
func (b *box) try(command ...string) (string, error) {
	return b.gateway.try("nsenter", b.inside(command...)...)
}

// do runs a program in the box to its good end and returns what it printed.
func (b *box) do(command ...string) string {
	b.t.Helper()
	out, err := b.try(command...)
	check(b.t, err)
	return out
}

// fails runs a program in the box to its bad end and returns what it said.
func (b *box) fails(command ...string) string {
	b.t.Helper()
	_, err := b.try(command...)
	if err == nil {
		b.t.Fatalf("%v did not fail", command)
	}
	return err.Error()
}

// processes are the pids of who lives in the box, but for its first.
func (b *box) processes() (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	ours, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", b.first))
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		its, _ := os.Readlink(dir + "/ns/mnt")
		if its != "" && its == ours && pid != b.first {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sweep kills what a broken package leaves running.
func (b *box) sweep() {
	for _, pid := range b.processes() {
		if alive(pid) && syscall.Kill(pid, syscall.SIGKILL) == nil {
			b.t.Errorf("process %d is left in the box", pid)
		}
	}
}
