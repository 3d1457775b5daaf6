package ports

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespaceOf opens the network namespace that a TAP device is in; -1 when it
// is the calling thread's own, and on kernels before 5.6, which cannot say.
func namespaceOf(tap int) (int, error) {
	space, err := unix.IoctlRetInt(tap, unix.TUNGETDEVNETNS)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("TUNGETDEVNETNS: %w", err)
	}
	var its, ours unix.Stat_t
	err = unix.Fstat(space, &its)
	if err == nil {
		err = unix.Stat("/proc/thread-self/ns/net", &ours)
	}
	if err != nil || its.Ino == ours.Ino && its.Dev == ours.Dev {
		unix.Close(space)
		return -1, err
	}
	unix.CloseOnExec(space)
	return space, nil
}

// linkIn looks an interface up in a network namespace; -1 is the calling
// thread's.
func linkIn(space int, name string) (netlink.Link, error) {
	if space < 0 {
		return netlink.LinkByName(name)
	}
	type answer struct {
		link netlink.Link
		err  error
	}
	found := make(chan answer)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		if err := unix.Setns(space, unix.CLONE_NEWNET); err != nil {
			found <- answer{nil, fmt.Errorf("enter its network namespace: %w", err)}
			return
		}
		l, err := netlink.LinkByName(name)
		found <- answer{l, err}
	}()
	a := <-found
	return a.link, a.err
}
