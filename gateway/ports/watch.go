package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"time"

	"golang.org/x/sys/unix"
)

// recheck is how often Watch looks without having been told of a change.
const recheck = time.Second

// State is what the kernel says about a port.
type State struct {
	Name      string
	Present   bool             // there is an Ethernet interface of this name
	Index     int              // of the interface; another one means another interface
	Up        bool             // it is set up
	Carrier   bool             // its link works
	MAC       net.HardwareAddr // nil when not present
	MTU       int              // largest IP packet in bytes
	Conflicts []Conflict       // what contradicts that it belongs to gatewayd
	Err       error            // why the state could not be read, or is not Present
}

// Inspect returns the state of a port now.
func Inspect(name string) State {
	l, err := findEthernet(name)
	if err != nil {
		return State{Name: name, Err: err}
	}
	a := l.Attrs()
	s := State{
		Name:    name,
		Present: true,
		Index:   a.Index,
		Up:      a.RawFlags&unix.IFF_UP != 0,
		Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0,
		MAC:     a.HardwareAddr,
		MTU:     a.MTU,
	}
	s.Conflicts, s.Err = conflictsOf(l)
	return s
}

// Watch calls on with the state of each named port, and again whenever it
// changes: an address appears, forwarding is switched on, the link comes, goes
// or is replaced. It blocks until ctx ends and then returns nil; an error means
// that the kernel cannot be watched. A change is reported as soon as the kernel
// tells of it and at the latest after a second. on is called by the goroutine
// that called Watch.
func Watch(ctx context.Context, names []string, on func(State)) error {
	events, err := subscribe()
	if err != nil {
		return fmt.Errorf("watch ports: %w", err)
	}
	defer unix.Close(events)
	ended, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("watch ports: eventfd: %w", err)
	}
	defer unix.Close(ended)
	signalled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(signalled)
		_, _ = unix.Write(ended, []byte{1, 1, 1, 1, 1, 1, 1, 1})
	})
	defer func() {
		if !stop() {
			<-signalled // it still writes to ended
		}
	}()

	last := make(map[string]State, len(names))
	for ctx.Err() == nil {
		for _, name := range names {
			now := Inspect(name)
			if before, seen := last[name]; !seen || !same(before, now) {
				last[name] = now
				on(now)
			}
		}
		poll := []unix.PollFd{{Fd: int32(events), Events: unix.POLLIN}, {Fd: int32(ended), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, int(recheck.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watch ports: poll: %w", err)
		}
		drain(events)
	}
	return nil
}

// subscribe opens a netlink socket that becomes readable when links, addresses
// or the forwarding sysctl change.
func subscribe() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("netlink socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, group := range []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_NETCONF,
	} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("subscribe to netlink: %w", err)
	}
	return fd, nil
}

// drain reads off what waits. What it says does not matter, nor does a message
// lost: the state is read anew either way.
func drain(fd int) {
	var buf [8192]byte
	for {
		if _, err := unix.Read(fd, buf[:]); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func same(a, b State) bool {
	if fmt.Sprint(a.Err) != fmt.Sprint(b.Err) {
		return false
	}
	a.Err, b.Err = nil, nil
	return reflect.DeepEqual(a, b)
}
