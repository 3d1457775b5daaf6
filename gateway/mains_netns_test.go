//go:build netns

package gateway_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mains is the power of a gateway and of the card that its store is on:
//
//	test ──▶ a process that holds the mounts ◀── nsenter ── gatewayd
//	  │                  │
//	  └── cuts ──▶ ext4 or XFS on a loop device
//
// The card is mounted where only gatewayd sees it, and what a cut kept in it is
// what the next start finds.
type mains struct {
	l      *lab
	system string
	holder *program // of the mounts
	image  string
}

// Requests of ioctl(2), from linux/ext4.h and xfs_fs.h.
const (
	goingDown    = 0x8004587d
	withoutFlush = 2 // neither data nor the file system's journal is written
)

// newMains has gatewayd's store on a card of its own, of that file system.
func (l *lab) newMains(system string) *mains {
	l.t.Helper()
	m := &mains{l: l, system: system, image: l.dir + "/image"}
	m.holder = l.gateway.start("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo held; exec sleep infinity")
	m.holder.says("held")
	l.within = []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", m.holder.cmd.Process.Pid), "--"}
	check(l.t, os.Mkdir(l.dir+"/card", 0o700))
	l.config["store"] = fmt.Sprintf("{path: %s/card/store, checkpoint: %v}", l.dir, checkpointTime)
	m.format()
	m.insert()
	check(l.t, m.inside("mount", "--bind", l.dir+"/boot_id", "/proc/sys/kernel/random/boot_id"))
	return m
}

// format makes the card empty.
func (m *mains) format() {
	m.l.t.Helper()
	const size = 300 << 20 // the least of mkfs.xfs
	check(m.l.t, os.WriteFile(m.image, nil, 0o600))
	check(m.l.t, os.Truncate(m.image, size))
	m.l.gateway.run("mkfs."+m.system, "-q", m.image)
}

// card is a path on the card, as the test reaches it.
func (m *mains) card(name ...string) string {
	return filepath.Join(append([]string{fmt.Sprintf("/proc/%d/root", m.holder.cmd.Process.Pid), m.l.dir, "card"}, name...)...)
}

// inside runs a program where the card is mounted.
func (m *mains) inside(name string, args ...string) error {
	line := append(m.l.within[1:len(m.l.within):len(m.l.within)], append([]string{name}, args...)...)
	_, err := m.l.gateway.try(m.l.within[0], line...)
	return err
}

// insert mounts the card, whose file system makes good what a cut tore, and has the
// kernel say that it was booted anew.
func (m *mains) insert() {
	m.l.t.Helper()
	check(m.l.t, os.WriteFile(m.l.dir+"/boot_id", fmt.Appendf(nil, "%016x-%016x\n", rand.Uint64(), rand.Uint64()), 0o644))
	check(m.l.t, m.inside("mount", "-o", "loop", m.image, m.l.dir+"/card"))
}

// remove unmounts the card as soon as nothing uses it.
func (m *mains) remove() {
	m.l.t.Helper()
	eventually(m.l.t, 2*soon, "nothing uses the card", func() error { return m.inside("umount", m.l.dir+"/card") })
}

// cut takes the power from d and from the card, at once, and returns when. What the
// file system still had to write is gone.
func (m *mains) cut(d *daemon) (at time.Time) {
	t := m.l.t
	t.Helper()
	d.expected = true
	unsynced := m.card(fmt.Sprintf("unsynced-%x", rand.Uint64())) // a new one: ext4 syncs what takes the place of another
	check(t, os.WriteFile(unsynced, bytes.Repeat([]byte("x"), 4096), 0o600))
	dir, err := os.Open(m.card())
	check(t, err)
	at = time.Now()
	err = unix.IoctlSetPointerInt(int(dir.Fd()), goingDown, withoutFlush)
	children := d.children()
	_ = syscall.Kill(d.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	check(t, errors.Join(err, dir.Close()))
	<-d.ended
	gone(t, children)
	m.remove()
	m.insert()
	if left, err := os.ReadFile(unsynced); err == nil && len(bytes.Trim(left, "\x00")) > 0 {
		t.Errorf("a cut kept %d bytes that nobody synced: it is none", len(left))
	}
	return at
}

// watcher hears of names that are made, moved or removed in the store's directory.
type watcher struct {
	m     *mains
	fd    int
	heard []string
}

// watch hears from now on.
func (m *mains) watch() *watcher {
	m.l.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	check(m.l.t, err)
	_, err = unix.InotifyAddWatch(fd, m.card("store"), unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_TO)
	check(m.l.t, err)
	return &watcher{m: m, fd: fd}
}

// until waits for n changes of names that begin so, and gives up after patience.
func (w *watcher) until(prefix string, n int, patience time.Duration) (came bool) {
	buf := make([]byte, 1<<16)
	for end := time.Now().Add(patience); n > 0; {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(left/time.Millisecond)+1)
		size, _ := unix.Read(w.fd, buf) // nothing, when the time is up
		for rest := buf[:max(size, 0)]; len(rest) > 0 && n > 0; {
			length := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(rest[12:]))
			name := strings.TrimRight(string(rest[unix.SizeofInotifyEvent:length]), "\x00")
			if rest = rest[length:]; strings.HasPrefix(name, prefix) {
				n--
				w.heard = append(w.heard, name)
			}
		}
	}
	return true
}

func (w *watcher) close() { unix.Close(w.fd) }
