package gateway

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// confinement is what a child is started with: nothing of the keeper's
// privileges, and the user it is.
type confinement struct {
	id      identity
	program string   // the path of this binary
	only    *os.File // the directory below which it may touch files; nil: its filter says that
	loose   bool     // Landlock is not to hold it there
}

// onBareThread runs f on a thread of its own that ends afterwards, so that what f
// takes from the thread is taken from nobody else.
func onBareThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		err := onBareThread(f) // the process's first thread never ends
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// drop takes from the calling thread what no child needs, and what no exec gives
// back: all capabilities that an exec could pass on or gain (capabilities(7)), and the
// gain of privileges by files. The thread keeps what it needs to become
// another user. Landlock's limits are nil where the kernel has none.
func (c confinement) drop() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if c.only != nil && !c.loose {
		if err := limitFiles(c.only, c.program); err != nil && !errors.Is(err, errNoLandlock) {
			return err
		}
	}
	for last := uintptr(0); ; last++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, last, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // there are no more
		}
		if err == nil && has == 1 {
			err = unix.Prctl(unix.PR_CAPBSET_DROP, last, 0, 0, 0)
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w: gatewayd run needs CAP_SETPCAP, CAP_SETUID and CAP_SETGID", last, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for i := range sets {
		sets[i].Inheritable = 0
	}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("clear inheritable capabilities: %w", err)
	}
	return nil
}

// checkBare refuses to be a child that has any privilege.
func checkBare() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for _, s := range sets {
		if s.Permitted|s.Effective|s.Inheritable != 0 {
			return errors.New("it was started with privileges that it must not have")
		}
	}
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || on != 1 {
		return errors.New("it was started without no_new_privs")
	}
	return nil
}
