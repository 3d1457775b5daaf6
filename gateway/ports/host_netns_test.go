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
	"strings"
	"testing"
	"time"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gatewayd/forwarder/link"
)

var hostOptions = HostOptions{
	Name:    "gw-host",
	MAC:     net.HardwareAddr{2, 0, 0, 0, 0, 0xaa},
	MTU:     1400,
	Address: netip.MustParsePrefix("10.10.0.1/16"),
}

func openHost(t *testing.T, opt HostOptions) *Host {
	t.Helper()
	h, err := OpenHost(opt)
	must(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

// tapLink makes a link of a duplicate of the descriptor, as a child process
// would get it.
func tapLink(t *testing.T, f *os.File) *link.TAP {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	must(t, err)
	k, err := link.NewTAP(fd)
	must(t, err)
	t.Cleanup(func() { k.Close() })
	return k
}

// A client connects to a kernel listener at the LAN address with frames written
// by hand, sends it a super-packet, and reads the super-packet it sends back.
func TestHostLinkServesTCPWithOffloads(t *testing.T) {
	newLab(t)
	h := openHost(t, hostOptions)
	tap := tapLink(t, h.File())
	listener, err := net.Listen("tcp4", "10.10.0.1:80")
	must(t, err)
	defer listener.Close()
	dev, err := netlink.LinkByName("gw-host")
	must(t, err)
	must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: dev.Attrs().Index, Family: unix.AF_INET,
		State: netlink.NUD_PERMANENT, IP: net.IPv4(10, 10, 0, 2), HardwareAddr: peerMAC}))

	c := &handClient{t: t, tap: tap, seq: 1000}
	const syn, ack = 0x02, 0x10
	c.send(syn, nil)
	answer := c.receive()
	if flags := answer[13]; flags != syn|ack {
		t.Fatalf("answer to the SYN has flags %#x", flags)
	}
	c.seq++
	c.ack = binary.BigEndian.Uint32(answer[4:]) + 1
	c.send(ack, nil)
	must(t, listener.(*net.TCPListener).SetDeadline(time.Now().Add(2*time.Second)))
	conn, err := listener.Accept()
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(2*time.Second)))

	want := bytes.Repeat([]byte("super-packet"), 5000)[:60000]
	c.send(ack, want)
	got := make([]byte, len(want))
	for n := 0; n < len(got); {
		m, err := conn.Read(got[n:])
		must(t, err)
		n += m
	}
	if !bytes.Equal(got, want) {
		t.Error("the listener did not read what the frame carried")
	}

	_, err = conn.Write(want)
	must(t, err)
	largest := 0
	for got := 0; got < 12000; { // the initial window at least
		tcp := c.receive()
		payload := len(tcp) - int(tcp[12]>>4)*4
		largest = max(largest, payload)
		got += payload
	}
	if largest <= 1360 {
		t.Errorf("the largest packet from the kernel carries %d bytes: no super-packets", largest)
	}
}

// handClient is a TCP client at 10.10.0.2:40000 without a kernel.
type handClient struct {
	t        *testing.T
	tap      *link.TAP
	seq, ack uint32
	waiting  [][]byte // received, TCP header and payload
}

func (c *handClient) send(flags byte, payload []byte) {
	c.t.Helper()
	options := 0
	if flags == 0x02 {
		options = 8 // MSS 1360, window scale 10
	}
	f := superPacket(link.HeaderLen + 14 + 20 + 20 + options + len(payload))
	if len(payload) == 0 {
		f[1] = 0
		copy(f[2:6], []byte{0, 0, 0, 0})
	}
	eth := f[link.HeaderLen:]
	copy(eth, hostOptions.MAC)
	ip := eth[14:]
	copy(ip[12:], []byte{10, 10, 0, 2, 10, 10, 0, 1})
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^fold(ip[:20]))
	tcp := ip[20:]
	binary.BigEndian.PutUint32(tcp[4:], c.seq)
	binary.BigEndian.PutUint32(tcp[8:], c.ack)
	tcp[12], tcp[13] = byte((20+options)/4)<<4, flags
	binary.BigEndian.PutUint16(tcp[14:], 65535)
	if options != 0 {
		copy(tcp[20:], []byte{2, 4, 1360 >> 8, 1360 & 0xff, 3, 3, 10, 0})
	}
	copy(tcp[20+options:], payload)
	pseudo := append(append([]byte{}, ip[12:20]...), 0, 6, byte(len(tcp)>>8), byte(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], fold(pseudo))
	taken := make([]bool, 1)
	must(c.t, c.tap.Send([][]byte{f}, taken))
	if !taken[0] {
		c.t.Fatalf("the host link refused a frame: %+v", c.tap.Stats())
	}
	c.seq += uint32(len(payload))
}

func fold(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	return uint16(sum&0xffff + sum>>16)
}

// receive returns the TCP header and payload of the next packet that is ours.
func (c *handClient) receive() []byte {
	c.t.Helper()
	for range 200 {
		frames, err := c.tap.Receive()
		must(c.t, err)
		for _, f := range frames {
			if eth := f[link.HeaderLen:]; eth[12] == 8 && eth[13] == 0 && eth[14+9] == 6 {
				c.waiting = append(c.waiting, append([]byte{}, eth[34:]...))
			}
		}
		if len(c.waiting) > 0 {
			first := c.waiting[0]
			c.waiting = c.waiting[1:]
			return first
		}
		poll := []unix.PollFd{{Fd: int32(c.tap.FD()), Events: unix.POLLIN}}
		_, _ = unix.Poll(poll, 10)
	}
	c.t.Fatal("no TCP packet from the kernel")
	return nil
}

func TestHostLinkIsConfiguredAsAsked(t *testing.T) {
	newLab(t)
	must(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	h := openHost(t, hostOptions)
	dev, err := netlink.LinkByName(h.Name())
	must(t, err)
	a := dev.Attrs()
	if a.HardwareAddr.String() != hostOptions.MAC.String() || a.MTU != 1400 || a.Flags&net.FlagUp == 0 {
		t.Errorf("MAC %v, MTU %d, flags %v", a.HardwareAddr, a.MTU, a.Flags)
	}
	addresses, err := addressesOf(dev)
	must(t, err)
	if len(addresses) != 1 || addresses[0].IPNet.String() != "10.10.0.1/16" {
		t.Errorf("addresses %v", addresses)
	}
	for _, row := range [][3]string{{"ipv4", "forwarding", "0"}, {"ipv4", "rp_filter", "2"}, {"ipv6", "disable_ipv6", "1"}} {
		if got, err := readSysctl(row[0], h.Name(), row[1]); err != nil || got != row[2] {
			t.Errorf("%s = %s, %v, want %s", row[1], got, err, row[2])
		}
	}
	if defaults, err := defaultRoutes(); err != nil || len(defaults) != 0 {
		t.Errorf("default routes nobody asked for: %v, %v", defaults, err)
	}
}

func TestDefaultRouteGoesThroughTheHostLink(t *testing.T) {
	l := newLab(t)
	must(t, netlink.LinkSetUp(l.link(l.port)))
	l.addAddress(l.port, "10.9.0.1/24")
	opt := hostOptions
	opt.DefaultRoute = true
	other := &netlink.Route{LinkIndex: l.link(l.port).Attrs().Index, Gw: net.IPv4(10, 9, 0, 2), Priority: 100}
	must(t, netlink.RouteAdd(other))

	h := openHost(t, opt)
	routes, err := netlink.RouteGet(net.IPv4(198, 51, 100, 1))
	must(t, err)
	if dev := l.link("gw-host"); routes[0].LinkIndex != dev.Attrs().Index || !routes[0].Src.Equal(net.IPv4(10, 10, 0, 1)) {
		t.Fatalf("the box goes %+v", routes[0])
	}
	tap := tapLink(t, h.File())
	c, err := net.Dial("udp4", "198.51.100.1:9")
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("hello"))
	must(t, err)
	frames, err := tap.Receive()
	must(t, err)
	if len(frames) != 1 || !bytes.Equal(frames[0][link.HeaderLen:][:6], opt.MAC) {
		t.Errorf("the kernel sends %d frames, want one to the gateway's MAC, without ARP: % x", len(frames), frames)
	}

	must(t, h.Close())
	routes, err = netlink.RouteGet(net.IPv4(198, 51, 100, 1))
	must(t, err)
	if routes[0].LinkIndex != other.LinkIndex {
		t.Errorf("after Close the box goes %+v", routes[0])
	}
}

func TestADefaultRouteThatWouldWinIsRefused(t *testing.T) {
	l := newLab(t)
	must(t, netlink.LinkSetUp(l.link(l.port)))
	l.addAddress(l.port, "10.9.0.1/24")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.link(l.port).Attrs().Index, Gw: net.IPv4(10, 9, 0, 2)}))
	opt := hostOptions
	opt.DefaultRoute = true
	_, err := OpenHost(opt)
	wins := (*RouteError)(nil)
	if !errors.As(err, &wins) {
		t.Fatalf("OpenHost: %v, want a RouteError", err)
	}
	if _, err := netlink.LinkByName("gw-host"); err == nil {
		t.Error("the device was made nevertheless")
	}
	if out, err := exec.Command("sh", "-c", wins.Mend).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", wins.Mend, err, out)
	}
	openHost(t, opt)
}

func TestHostLinkVanishesWithItsLastDescriptor(t *testing.T) {
	newLab(t)
	h, err := OpenHost(hostOptions)
	must(t, err)
	child, err := unix.Dup(int(h.File().Fd()))
	must(t, err)
	must(t, h.File().Close()) // as a killed keeper does
	if _, err := netlink.LinkByName("gw-host"); err != nil {
		t.Errorf("the device is gone while a forwarder has it: %v", err)
	}
	must(t, unix.Close(child))
	if _, err := netlink.LinkByName("gw-host"); err == nil {
		t.Error("the device is left behind")
	}
}

func TestTapNamesThatAreTaken(t *testing.T) {
	l := newLab(t)
	t.Run("by another kind of interface: refused", func(t *testing.T) {
		must(t, enter(l))
		if _, err := OpenTap(l.port, false); err == nil || !strings.Contains(err.Error(), "veth") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("by a TAP in use: refused, and it stays", func(t *testing.T) {
		must(t, enter(l))
		first, err := OpenTap("gw-tap", false)
		must(t, err)
		defer first.Close()
		if _, err := OpenTap("gw-tap", false); !errors.Is(err, unix.EBUSY) {
			t.Errorf("error %v", err)
		}
		if _, err := netlink.LinkByName("gw-tap"); err != nil {
			t.Errorf("the first one's device is gone: %v", err)
		}
	})
	t.Run("by a TAP that a killed run left: taken over", func(t *testing.T) {
		must(t, enter(l))
		config := water.Config{DeviceType: water.TAP}
		config.Name, config.Persist = "gw-left", true
		left, err := water.New(config)
		must(t, err)
		must(t, left.Close())
		tap, err := OpenTap("gw-left", false)
		must(t, err)
		must(t, tap.Close())
		if _, err := netlink.LinkByName("gw-left"); err == nil {
			t.Error("the device is left behind")
		}
	})
}
