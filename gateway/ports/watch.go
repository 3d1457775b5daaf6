package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// recheck is how often Watch looks without having been told of a change.
const recheck = time.Second

// State is what the kernel says about a port.
type State struct {
	Name      string
	TAP       bool             // it is a TAP device
	Away      bool             // whose other end is in another network namespace
	Present   bool             // there is an Ethernet interface of this name
	Index     int              // of the interface; another one means another interface
	Up        bool             // it is set up
	Carrier   bool             // its link works
	MAC       net.HardwareAddr // gatewayd's there; nil when not present
	MTU       int              // largest IP packet in bytes
	Conflicts []Conflict       // what contradicts that it belongs to gatewayd
	Err       error            // why the state could not be read, or is not Present
	Lost      bool             // what is open does not serve, or is another than this: Reopen
}

// fill takes in what the kernel says of a link.
func (s *State) fill(a *netlink.LinkAttrs) {
	s.Present, s.Index = true, a.Index
	s.Up = a.RawFlags&unix.IFF_UP != 0
	// Between the one and the other the kernel takes frames and loses them.
	s.Carrier = a.RawFlags&unix.IFF_LOWER_UP != 0 && a.RawFlags&unix.IFF_RUNNING != 0
	s.MAC, s.MTU = a.HardwareAddr, a.MTU
}

// Works says whether frames can leave.
func (s State) Works() bool { return s.Present && s.Up && s.Carrier }

// State returns the state of the port now. An interface that has come in the
// place of the one that was open is taken at once, so that the kernel neither
// answers nor forwards on it until it is opened.
func (p *Port) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := p.attached()
	var s State
	switch {
	case !p.side.TAP:
		s = p.inspectInterface(same)
	case same:
		s = inspectTAP(p.files[0], p.side)
	default:
		return State{Name: p.side.Name, TAP: true, Lost: true, Err: fmt.Errorf("TAP %s: %w: it was removed", p.side.Name, ErrMissing)}
	}
	s.Lost = s.Present && !(same && s.MAC.String() == p.mac.String() && (p.side.TAP || s.Index == p.index))
	if s.Present && same {
		p.mtu = s.MTU // another one takes nothing from what is open
		if !p.side.TAP && p.memory.newIPv6() {
			s.Err = errors.Join(s.Err, p.memory.silenceIPv6(p.side.Name))
		}
	}
	return s
}

// inspectInterface returns the state of an interface; same says that it is the
// one that is open.
func (p *Port) inspectInterface(same bool) State {
	s := State{Name: p.side.Name}
	l, err := findEthernet(p.side.Name)
	if err != nil {
		s.Err = err
		return s
	}
	s.fill(l.Attrs())
	var taking error
	if !same && p.index != 0 {
		taking = p.take(l, false)
	}
	s.Conflicts, s.Err = conflictsOf(l)
	s.Err = errors.Join(taking, s.Err)
	return s
}

// attached says whether our descriptor still belongs to an interface. The kernel
// takes it from the interface for good when that is removed or moves to another
// network namespace, even if one just like it comes after.
func (p *Port) attached() bool {
	if len(p.files) == 0 {
		return false
	}
	if p.side.TAP {
		_, err := tapName(p.files[0])
		return err == nil
	}
	bound, err := unix.Getsockname(int(p.files[0].Fd()))
	if err != nil {
		return false
	}
	to, ok := bound.(*unix.SockaddrLinklayer)
	return ok && to.Ifindex == p.index
}

// Watch calls on with the state of each port, and again whenever it changes: an
// address appears, forwarding is switched on, the link comes, goes or is
// replaced; and as long as it is Lost. It blocks until ctx ends and then returns
// nil; an error means that the kernel cannot be watched. A change is reported as
// soon as the kernel tells of it and at the latest after a second. on is called
// by the goroutine that called Watch, as is looked after each look at all ports.
func Watch(ctx context.Context, ports []*Port, on func(State), looked func()) error {
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

	last := make(map[*Port]State, len(ports))
	for ctx.Err() == nil {
		for _, p := range ports {
			now := p.State()
			if before, seen := last[p]; !seen || now.Lost || !same(before, now) {
				last[p] = now
				on(now)
			}
		}
		looked()
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
