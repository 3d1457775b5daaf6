//go:build netns

package ports

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gatewayd/forwarder/link"
)

func TestKernelNeitherAnswersNorRoutesWhatAPortReceives(t *testing.T) {
	for _, row := range []struct {
		name    string
		classic bool
	}{
		{"with TCX", false},
		{"with clsact and cls_bpf", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t)
			// An address elsewhere in the namespace: the kernel answers for it
			// on every interface.
			l.addAddress("lo", "10.9.0.1/32")
			must(t, netlink.LinkSetUp(l.link(l.port)))
			l.settle()
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.link(l.port).Attrs().Index,
				Dst: ipNet(netip.MustParsePrefix("10.9.0.0/24"))}))
			listener, err := net.Listen("tcp4", "10.9.0.1:80")
			must(t, err)
			defer listener.Close()

			if !l.answersARP() || !l.answersTCP() || !l.answersPing() {
				t.Fatal("the kernel does not answer before Open: the test shows nothing")
			}
			p := l.open(Options{ClassicDrop: row.classic})
			if l.answersARP() {
				t.Error("the kernel answers ARP")
			}
			if l.answersTCP() {
				t.Error("the kernel answers TCP")
			}
			if l.answersPing() {
				t.Error("the kernel answers ping")
			}
			seen := frames(t, p)
			for what, etherType := range map[string]uint16{"ARP": 0x0806, "IPv4": 0x0800} {
				if seen[etherType] == 0 {
					t.Errorf("our socket has not seen %s", what)
				}
			}
			must(t, p.Close())
			if !l.answersARP() || !l.answersTCP() {
				t.Error("the kernel does not answer after Close")
			}
		})
	}
}

// answersARP has the peer ask for 10.9.0.1.
func (l *lab) answersARP() (answered bool) {
	l.inFar(func() {
		peer := l.link("peer")
		entry := &netlink.Neigh{LinkIndex: peer.Attrs().Index, Family: unix.AF_INET, IP: net.IPv4(10, 9, 0, 1)}
		_ = netlink.NeighDel(entry)
		c, err := net.Dial("udp4", "10.9.0.1:9")
		must(l.t, err)
		defer c.Close()
		_, _ = c.Write([]byte("who has"))
		for range 30 {
			time.Sleep(10 * time.Millisecond)
			known, err := netlink.NeighList(peer.Attrs().Index, unix.AF_INET)
			must(l.t, err)
			for _, n := range known {
				answered = answered || n.IP.Equal(entry.IP) && len(n.HardwareAddr) == 6
			}
		}
	})
	return answered
}

// answersTCP has the peer, which knows the port's MAC, connect to 10.9.0.1.
func (l *lab) answersTCP() (answered bool) {
	l.inFar(func() {
		l.knowPort()
		c, err := net.DialTimeout("tcp4", "10.9.0.1:80", 300*time.Millisecond)
		if answered = err == nil; answered {
			c.Close()
		}
	})
	return answered
}

// answersPing has the peer, which knows the port's MAC, ping 10.9.0.1.
func (l *lab) answersPing() (answered bool) {
	l.inFar(func() {
		l.knowPort()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		must(l.t, err)
		defer unix.Close(fd)
		must(l.t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300000}))
		echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // with its checksum
		must(l.t, unix.Sendto(fd, echo, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 9, 0, 1}}))
		reply := make([]byte, 128)
		n, err := unix.Read(fd, reply)
		answered = err == nil && n >= 28 && reply[20] == 0
	})
	return answered
}

func (l *lab) knowPort() {
	must(l.t, netlink.NeighSet(&netlink.Neigh{LinkIndex: l.link("peer").Attrs().Index, Family: unix.AF_INET,
		State: netlink.NUD_PERMANENT, IP: net.IPv4(10, 9, 0, 1), HardwareAddr: portMAC}))
}

// frames reads what waits at the port and counts it by EtherType.
func frames(t *testing.T, p *Port) map[uint16]int {
	t.Helper()
	seen := map[uint16]int{}
	buf := make([]byte, 70000)
	for {
		n, _, err := unix.Recvfrom(int(p.Files()[0].Fd()), buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return seen
		}
		must(t, err)
		if n >= 24 {
			seen[binary.BigEndian.Uint16(buf[10+12:])]++
		}
	}
}

func TestSuperPacketsArriveAndLeaveWhole(t *testing.T) {
	l := newLab(t)
	near := l.open(Options{})
	var far *Port
	l.inFar(func() {
		must(t, netlink.AddrDel(l.link("peer"), mustAddr(t, "10.9.0.2/24")))
		var err error
		far, err = Open(Side{Name: "peer"}, Options{StateDir: t.TempDir()})
		must(t, err)
	})
	l.settle()
	frames(t, near) // the peer's first words
	defer l.inFar(func() { far.Close() })

	sent := superPacket(65226)
	from, to := packetLink(t, far), packetLink(t, near)
	taken := make([]bool, 1)
	must(t, from.Send([][]byte{sent}, taken))
	if !taken[0] {
		t.Fatalf("the kernel refused a super-packet: %+v", from.Stats())
	}
	got, err := to.Receive()
	must(t, err)
	if len(got) != 1 || !bytes.Equal(got[0][link.HeaderLen:], sent[link.HeaderLen:]) {
		t.Fatalf("received %d frames, want the one sent, whole", len(got))
	}
	if got[0][0]&1 == 0 || got[0][1] != sent[1] || !bytes.Equal(got[0][4:10], sent[4:10]) {
		t.Errorf("its header is % x, sent was % x", got[0][:10], sent[:10])
	}
}

// superPacket is a TCP super-packet in IPv4 of n bytes with its virtio_net_hdr,
// from the peer to the port, the checksum left to the device.
func superPacket(n int) []byte {
	f := make([]byte, n)
	f[0], f[1] = 1, 1 // NEEDS_CSUM, TCPv4
	le := binary.LittleEndian
	le.PutUint16(f[2:], 14+20+20)
	le.PutUint16(f[4:], 1448)
	le.PutUint16(f[6:], 14+20)
	le.PutUint16(f[8:], 16)
	eth := f[link.HeaderLen:]
	copy(eth, portMAC)
	copy(eth[6:], peerMAC)
	eth[12] = 8
	ip := eth[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], []byte{10, 9, 0, 2, 10, 9, 0, 1})
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum&0xffff+sum>>16))
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	tcp[12], tcp[13] = 5<<4, 0x10
	for i := 20; i < len(tcp); i++ {
		tcp[i] = byte(i)
	}
	return f
}

// packetLink makes a link of a duplicate of the port's socket, as a child
// process would get it.
func packetLink(t *testing.T, p *Port) *link.Packet {
	t.Helper()
	fd, err := unix.Dup(int(p.Files()[0].Fd()))
	must(t, err)
	k, err := link.NewPacket(fd, false)
	must(t, err)
	t.Cleanup(func() { k.Close() })
	return k
}

func TestIPv6IsOffWhileThePortIsOpen(t *testing.T) {
	for _, before := range []string{"0", "1"} {
		t.Run("and is put back to "+before, func(t *testing.T) {
			l := newLab(t)
			l.sysctl("ipv6", "disable_ipv6", before)
			p := l.open(Options{})
			l.wantSysctl("ipv6", "disable_ipv6", "1")
			must(t, p.Reopen())
			l.wantSysctl("ipv6", "disable_ipv6", "1")
			must(t, p.Close())
			l.wantSysctl("ipv6", "disable_ipv6", before)
			if left, _ := filepath.Glob(filepath.Join(l.stateDir, "*")); len(left) > 0 {
				t.Errorf("Close leaves %v behind", left)
			}
		})
	}
}

// A new IPv6 of the kernel's is on, however soon the MTU is what it was.
func TestIPv6ThatTheKernelMakesAnewIsTurnedOff(t *testing.T) {
	l := newLab(t)
	p := l.open(Options{})
	for _, between := range []int{1279, 68} {
		must(t, netlink.LinkSetMTU(l.link(l.port), between))
		must(t, netlink.LinkSetMTU(l.link(l.port), 1500))
		l.wantSysctl("ipv6", "disable_ipv6", "0")
		if s := p.State(); s.Err != nil || s.Lost {
			t.Errorf("%+v", s)
		}
		l.wantSysctl("ipv6", "disable_ipv6", "1")
	}
	must(t, p.Close())
	l.wantSysctl("ipv6", "disable_ipv6", "0")
}

// What somebody turns on is theirs: an address on it is a conflict, and stays to be seen.
func TestIPv6ThatSomebodyTurnsOnIsAConflict(t *testing.T) {
	l := newLab(t)
	p := l.open(Options{})
	l.sysctl("ipv6", "disable_ipv6", "0")
	if s := p.State(); s.Err != nil || len(s.Conflicts) > 0 {
		t.Errorf("%+v", s)
	}
	l.wantSysctl("ipv6", "disable_ipv6", "0")
	address, err := netlink.ParseAddr("2001:db8::1/64")
	must(t, err)
	must(t, netlink.AddrAdd(l.link(l.port), address))
	for range 2 {
		if s := p.State(); s.Err != nil || len(s.Conflicts) != 1 {
			t.Errorf("%+v", s)
		}
	}
}

// TestMain is also the process that TestKilledRunIsPutBackByTheNext kills.
func TestMain(m *testing.M) {
	if name := os.Getenv("PORT_TO_OPEN"); name != "" {
		openAndWait(name)
	}
	os.Exit(m.Run())
}

func openAndWait(name string) {
	if _, err := Open(Side{Name: name}, Options{StateDir: os.Getenv("PORT_STATE"), ClassicDrop: os.Getenv("PORT_CLASSIC") != ""}); err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString("open\n")
	select {}
}

func TestKilledRunIsPutBackByTheNext(t *testing.T) {
	for _, classic := range []string{"", "1"} {
		t.Run(map[string]string{"": "with TCX", "1": "with clsact and cls_bpf"}[classic], func(t *testing.T) {
			l := newLab(t)
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "PORT_TO_OPEN="+l.port, "PORT_STATE="+l.stateDir, "PORT_CLASSIC="+classic)
			out, err := child.StdoutPipe()
			must(t, err)
			must(t, child.Start())
			var said []byte
			for buf := make([]byte, 256); !bytes.Contains(said, []byte("open\n")); {
				n, err := out.Read(buf)
				if said = append(said, buf[:n]...); err != nil {
					t.Fatalf("the child ends early: %s", said)
				}
			}
			must(t, child.Process.Kill())
			_ = child.Wait()
			l.wantSysctl("ipv6", "disable_ipv6", "1")

			p := l.open(Options{ClassicDrop: classic != ""})
			l.wantSysctl("ipv6", "disable_ipv6", "1")
			must(t, p.Close())
			l.wantSysctl("ipv6", "disable_ipv6", "0")
			qdiscs, err := netlink.QdiscList(l.link(l.port))
			must(t, err)
			for _, q := range qdiscs {
				if q.Type() == "clsact" {
					t.Error("clsact is left behind")
				}
			}
		})
	}
}

func TestForeignFiltersSurvive(t *testing.T) {
	l := newLab(t)
	dev := l.link(l.port)
	must(t, netlink.QdiscAdd(clsact(dev)))
	p := l.open(Options{ClassicDrop: true})
	must(t, p.Close())
	if err := netlink.QdiscDel(clsact(dev)); err != nil {
		t.Errorf("the operator's clsact is gone: %v", err)
	}
}

func TestAFileOfAnotherInterfaceOfTheSameNameIsIgnored(t *testing.T) {
	l := newLab(t)
	m, err := recall(l.stateDir, l.port, l.link(l.port).Attrs().Index+1)
	must(t, err)
	m.DisableIPv6 = "1"
	must(t, m.keep())
	must(t, l.open(Options{}).Close())
	l.wantSysctl("ipv6", "disable_ipv6", "0")
}

func TestConflictsAreFoundAndTheirCommandsMendThem(t *testing.T) {
	for _, row := range []struct {
		name  string
		make  func(l *lab)
		what  string
		mends string
	}{
		{"an IPv4 address", func(l *lab) { l.addAddress(l.port, "10.0.0.1/24") },
			"10.0.0.1/24", "ip addr del 10.0.0.1/24 dev PORT"},
		{"a global IPv6 address", func(l *lab) { l.addAddress(l.port, "2001:db8::1/64") },
			"2001:db8::1/64", "ip -6 addr del 2001:db8::1/64 dev PORT"},
		{"forwarding", func(l *lab) { l.sysctl("ipv4", "forwarding", "1") },
			"forwards", "sysctl -w net.ipv4.conf.PORT.forwarding=0"},
		{"a bridge", func(l *lab) {
			br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
			must(l.t, netlink.LinkAdd(br))
			must(l.t, netlink.LinkSetMaster(l.link(l.port), br))
		}, "bridge br0", "ip link set dev PORT nomaster"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t)
			if found, err := Conflicts(l.side()); err != nil || len(found) != 0 {
				t.Fatalf("a bare interface has conflicts %v, %v", found, err)
			}
			row.make(l)
			found, err := Conflicts(l.side())
			must(t, err)
			mend := strings.ReplaceAll(row.mends, "PORT", l.port)
			if len(found) != 1 || !strings.Contains(found[0].What, row.what) || found[0].Mend != mend {
				t.Fatalf("found %+v, want one about %q with %q", found, row.what, mend)
			}
			_, err = Open(l.side(), Options{StateDir: l.stateDir})
			if conflict := (*ConflictError)(nil); !errors.As(err, &conflict) {
				t.Fatalf("Open: %v, want a ConflictError", err)
			}
			l.wantSysctl("ipv6", "disable_ipv6", "0")
			if out, err := exec.Command("sh", "-c", found[0].Mend).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", found[0].Mend, err, out)
			}
			if found, err := Conflicts(l.side()); err != nil || len(found) != 0 {
				t.Errorf("after the command: %+v, %v", found, err)
			}
		})
	}
}

func TestWhatIsNoPortIsRefused(t *testing.T) {
	l := newLab(t)
	for _, row := range []struct {
		name, port string
		want       error
		says       string
	}{
		{"an interface that is not there", "nix0", ErrMissing, "there are " + l.port},
		{"the loopback", "lo", ErrNotEthernet, "loopback"},
		{"a name that is too long", "abcdefghijklmnop", nil, "1 to 15 characters"},
		{"a path", "../eth0", nil, "not an interface name"},
	} {
		t.Run(row.name, func(t *testing.T) {
			must(t, enter(l))
			for _, err := range []error{second(Conflicts(Side{Name: row.port})), second(Open(Side{Name: row.port}, Options{StateDir: l.stateDir}))} {
				if err == nil || row.want != nil && !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) {
					t.Errorf("error %v, want %v saying %q", err, row.want, row.says)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestReopenGivesAnEmptySocket(t *testing.T) {
	l := newLab(t)
	p := l.open(Options{})
	l.inFar(func() {
		c, err := net.Dial("udp4", "10.9.0.9:9")
		must(t, err)
		defer c.Close()
		_, _ = c.Write([]byte("arp, please"))
	})
	old := p.Files()[0]
	must(t, p.Reopen())
	if seen := frames(t, p); len(seen) != 0 {
		t.Errorf("frames wait in the fresh socket: %v", seen)
	}
	p.closing.Wait() // it is closed beside the fresh one's work
	if _, err := old.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the old socket is not closed: %v", err)
	}
}

func TestReopenTakesANewInterfaceOfTheSameName(t *testing.T) {
	l := newLab(t)
	p := l.open(Options{})
	must(t, netlink.LinkDel(l.link(l.port)))
	if err := p.Reopen(); !errors.Is(err, ErrMissing) {
		t.Fatalf("Reopen without an interface: %v", err)
	}
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: l.port}, PeerName: "other"}))
	must(t, p.Reopen())
	l.wantSysctl("ipv6", "disable_ipv6", "1")
	if p.MAC().String() == portMAC.String() {
		t.Error("the MAC is still the old one's")
	}
	must(t, p.Close())
	l.wantSysctl("ipv6", "disable_ipv6", "0")
}

func TestAnInterfaceThatComesBackIsTakenWhenItIsSeen(t *testing.T) {
	for _, classic := range []bool{false, true} {
		t.Run(map[bool]string{false: "with TCX", true: "with clsact and cls_bpf"}[classic], func(t *testing.T) {
			comesBack(t, Options{ClassicDrop: classic})
		})
	}
}

func comesBack(t *testing.T, opt Options) {
	l := newLab(t)
	p := l.open(opt)
	if s := p.State(); s.Lost || !s.Works() {
		t.Errorf("open: %+v", s)
	}
	for _, row := range []struct {
		name string
		come func()
	}{
		{"another interface", func() {
			must(t, netlink.LinkDel(l.link(l.port)))
			if s := p.State(); s.Lost || s.Present {
				t.Errorf("removed: %+v", s)
			}
			must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: l.port}, PeerName: "other"}))
		}},
		{"the same, from another namespace", func() {
			must(t, netlink.LinkSetNsFd(l.link(l.port), int(l.far)))
			l.inFar(func() { must(t, netlink.LinkSetNsFd(l.link(l.port), int(l.near))) })
		}},
	} {
		row.come()
		l.wantSysctl("ipv6", "disable_ipv6", "0")
		if s := p.State(); !s.Lost {
			t.Errorf("%s: %+v", row.name, s)
		}
		l.wantSysctl("ipv6", "disable_ipv6", "1")
		if opt.ClassicDrop {
			filters, err := netlink.FilterList(l.link(l.port), netlink.HANDLE_MIN_INGRESS)
			if must(t, err); len(filters) != 1 {
				t.Errorf("%s: %d filters, want the drop", row.name, len(filters))
			}
		}
		must(t, p.Reopen())
		if s := p.State(); s.Lost {
			t.Errorf("%s, opened again: %+v", row.name, s)
		}
	}
}
