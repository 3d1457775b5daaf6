//go:build netns

// These tests need root. Each makes its own network namespaces, which have no
// name and vanish with the thread and the descriptors that hold them, however
// the test ends:
//
//	far: peer (10.9.0.2/24) ───── veth ───── near: port
package ports

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lab is the pair of namespaces. The test's goroutine is locked to its thread
// and in near.
type lab struct {
	t         *testing.T
	near, far netns.NsHandle
	port      string // name of the near end; its MAC is portMAC
	stateDir  string
}

var (
	portMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	peerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

func newLab(t *testing.T) *lab {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	l := &lab{t: t, port: fmt.Sprintf("gw-%d", os.Getpid()%100000), stateDir: t.TempDir()}
	l.far = newNamespace(t)
	l.near = newNamespace(t)
	t.Cleanup(func() { l.near.Close(); l.far.Close() })

	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: l.port, HardwareAddr: portMAC, MTU: 1500, TxQLen: 1000},
		PeerName:         "peer",
		PeerHardwareAddr: peerMAC,
		PeerNamespace:    netlink.NsFd(int(l.far)),
	}
	must(t, netlink.LinkAdd(veth))
	l.sysctl("ipv4", "forwarding", "0")
	l.inFar(func() {
		peer := l.link("peer")
		must(t, netlink.AddrAdd(peer, mustAddr(t, "10.9.0.2/24")))
		must(t, netlink.LinkSetUp(peer))
	})
	return l
}

func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	return ns
}

// inFar runs do in the far namespace.
func (l *lab) inFar(do func()) {
	l.t.Helper()
	must(l.t, netns.Set(l.far))
	defer func() { must(l.t, netns.Set(l.near)) }()
	do()
}

func (l *lab) link(name string) netlink.Link {
	l.t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		l.t.Fatalf("interface %s: %v", name, err)
	}
	return link
}

// settle waits until the port's link works. Until the kernel has noticed that it
// does, its queue takes frames and loses them.
func (l *lab) settle() {
	l.t.Helper()
	for range 200 {
		if l.link(l.port).Attrs().OperState == netlink.OperUp {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.t.Fatal("the link does not come up")
}

func (l *lab) addAddress(name, address string) {
	l.t.Helper()
	must(l.t, netlink.AddrAdd(l.link(name), mustAddr(l.t, address)))
}

func (l *lab) sysctl(family, key, value string) {
	l.t.Helper()
	must(l.t, writeSysctl(family, l.port, key, value))
}

func (l *lab) wantSysctl(family, key, want string) {
	l.t.Helper()
	got, err := readSysctl(family, l.port, key)
	if must(l.t, err); got != want {
		l.t.Errorf("net.%s.conf.%s.%s = %s, want %s", family, l.port, key, got, want)
	}
}

// side is the port as the config would name it.
func (l *lab) side() Side { return Side{Name: l.port} }

func (l *lab) open(opt Options) *Port {
	l.t.Helper()
	opt.StateDir = l.stateDir
	p, err := Open(l.side(), opt)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { p.Close() })
	l.settle()
	return p
}

func mustAddr(t *testing.T, s string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(s)
	must(t, err)
	a.Flags |= 0x02 // IFA_F_NODAD: usable at once
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enter brings the goroutine of a subtest into near.
func enter(l *lab) error {
	runtime.LockOSThread()
	return netns.Set(l.near)
}

// A service without CAP_SYS_ADMIN cannot enter another network namespace.
func TestALinkIsSeenInAnotherNamespaceWithoutEnteringIt(t *testing.T) {
	l := newLab(t)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	sets := [2]unix.CapUserData{{Effective: 1 << unix.CAP_NET_ADMIN, Permitted: 1 << unix.CAP_NET_ADMIN}}
	must(t, unix.Capset(&header, &sets[0])) // this thread's, which ends with the test
	if err := netns.Set(l.far); err == nil {
		t.Fatal("it can be entered: this shows nothing")
	}
	for range 2 { // the second time it has an id
		peer, err := linkIn(int(l.far), "peer")
		must(t, err)
		if a := peer.Attrs(); a.HardwareAddr.String() != peerMAC.String() || a.RawFlags&unix.IFF_UP == 0 {
			t.Errorf("peer is %+v", a)
		}
	}
	if _, err := linkIn(int(l.far), "nobody"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a link that is not there: %v", err)
	}
}
