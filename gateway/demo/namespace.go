package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// names is where ip(8) looks for the names of namespaces.
const names = "/run/netns"

// prefix begins the name of everything that a demo makes.
const prefix = "gwdemo-"

// namespace is a network namespace that lives as long as this process holds it.
type namespace struct {
	name   string
	handle netns.NsHandle
	links  *netlink.Handle
}

// newNamespace makes one with its loopback up. Its name is a symbolic link to
// this process's descriptor: nothing holds the namespace once the process is
// gone.
func newNamespace(role string) (*namespace, error) {
	n := &namespace{name: fmt.Sprintf("%s%d-%s", prefix, os.Getpid(), role), handle: netns.None()}
	err := onThread(func() (err error) {
		n.handle, err = netns.New()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", n.name, err)
	}
	if n.links, err = netlink.NewHandleAt(n.handle, unix.NETLINK_ROUTE); err != nil {
		n.close()
		return nil, fmt.Errorf("open netlink in %s: %w", n.name, err)
	}
	if err := n.up("lo"); err != nil {
		n.close()
		return nil, err
	}
	if err := os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.handle)), filepath.Join(names, n.name)); err != nil {
		n.close()
		return nil, fmt.Errorf("name network namespace %s: %w", n.name, err)
	}
	return n, nil
}

// sweepNames removes the names that killed demos left; their namespaces are
// gone.
func sweepNames() {
	left, _ := filepath.Glob(filepath.Join(names, prefix+"*"))
	for _, name := range left {
		if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, "/proc/") {
			if _, err := os.Stat(name); os.IsNotExist(err) {
				os.Remove(name)
			}
		}
	}
}

func (n *namespace) close() {
	os.Remove(filepath.Join(names, n.name))
	if n.links != nil {
		n.links.Close()
	}
	n.handle.Close()
}

// do runs f on a thread in the namespace. Sockets that f opens stay there.
func (n *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", n.name, err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own that ends with it. That is never the
// process's first one, which does not end, and whose namespace /proc tells as
// the process's.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // elsewhere, as this one is taken
			runtime.UnlockOSThread()
			return
		}
		done <- f() // never unlocked: the thread ends here
	}()
	return <-done
}

func (n *namespace) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

func (n *namespace) listenPacket(network, address string) (c net.PacketConn, err error) {
	err = n.do(func() (err error) {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

func (n *namespace) listen(address string) (l net.Listener, err error) {
	err = n.do(func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	return l, err
}

// cable joins an interface here to one in far, both down.
func (n *namespace) cable(here string, far *namespace, there string) error {
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: here, MTU: 1500, TxQLen: 1000},
		PeerName:  there, PeerNamespace: netlink.NsFd(int(far.handle)),
	}
	if err := n.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("join %s of %s to %s of %s: %w", here, n.name, there, far.name, err)
	}
	return nil
}

// address gives an interface an address and sets it up.
func (n *namespace) address(link, prefix string) error {
	l, err := n.links.LinkByName(link)
	if err != nil {
		return fmt.Errorf("find %s in %s: %w", link, n.name, err)
	}
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	if err := n.links.AddrAdd(l, a); err != nil {
		return fmt.Errorf("give %s in %s the address %s: %w", link, n.name, prefix, err)
	}
	return n.up(link)
}

func (n *namespace) up(link string) error {
	l, err := n.links.LinkByName(link)
	if err == nil {
		err = n.links.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("set %s in %s up: %w", link, n.name, err)
	}
	return nil
}

// route sends all that is not local to via.
func (n *namespace) route(via string) error {
	if err := n.links.RouteAdd(&netlink.Route{Gw: net.ParseIP(via)}); err != nil {
		return fmt.Errorf("route %s over %s: %w", n.name, via, err)
	}
	return nil
}
