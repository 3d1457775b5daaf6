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

// box is a machine to install things on: the gateway's network namespace with
// this machine's files, of which it sees changes of its own only. They are in
// memory and vanish with the last process in it.
type box struct {
	*lab
	holder *program // keeps it there
}

// furnish makes a root of an overlay in memory over this machine's files, with the
// directory $2 as /mnt/packages and what was changed below /mnt/changed.
const furnish = `set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/changed" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/changed,workdir=$1/work" overlay "$1/root"
root=$1/root
mount --rbind /proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/mnt"
mkdir "$root/mnt/packages" "$root/mnt/changed" "$root/mnt/machine"
mount --bind "$2" "$root/mnt/packages"
mount --bind "$1/changed" "$root/mnt/changed"
cd "$root"
pivot_root . mnt/machine
umount -l mnt/machine
echo furnished
exec sleep infinity`

// newBox makes a box of the lab's gateway.
func newBox(t *testing.T, packages string) *box {
	t.Helper()
	b := &box{lab: newLab(t)}
	b.holder = b.gateway.start("unshare", "--mount", "sh", "-c", furnish, "furnish", b.dir, packages)
	b.holder.says("furnished")
	t.Cleanup(b.sweep)
	return b
}

// inside is the command line of a program that runs in the box.
func (b *box) inside(command ...string) []string {
	return append([]string{"--target", strconv.Itoa(b.holder.cmd.Process.Pid), "--mount", "--wd=/", "--"}, command...)
}

// do runs a program in the box to its good end and returns what it printed.
func (b *box) do(command ...string) string {
	b.t.Helper()
	return b.gateway.run("nsenter", b.inside(command...)...)
}

// fails runs a program in the box to its bad end and returns what it said.
func (b *box) fails(command ...string) string {
	b.t.Helper()
	_, err := b.gateway.try("nsenter", b.inside(command...)...)
	if err == nil {
		b.t.Fatalf("%v was not refused", command)
	}
	return err.Error()
}

// processes are the pids of who lives in the box, but for its holder.
func (b *box) processes() (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	ours, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", b.holder.cmd.Process.Pid))
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		its, _ := os.Readlink(dir + "/ns/mnt")
		if its != "" && its == ours && pid != b.holder.cmd.Process.Pid {
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
