//go:build netns

package gateway_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// lanTAP is the config of a lab whose LAN port is a TAP.
const lanTAP = "lan: {tap: gwlan0, address: " + lanIP + "/16}"

// wanTAP is the same of the WAN side.
const wanTAP = "wan: {tap: gwwan0, address: " + wanIP + "/24, gateway: " + routerIP + "}"

// well waits until status has nothing to complain of.
func (d *daemon) well() {
	d.t.Helper()
	eventually(d.t, 3*soon, "status says that all is well", func() error {
		if s := d.status(); !s.Ready || len(s.Degraded) > 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// passes waits until the client passes.
func (l *lab) passes() {
	l.t.Helper()
	eventually(l.t, 3*soon, "the client passes", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP)
		return err
	})
}

// takeTAP moves the kernel's end of the LAN TAP into the client.
func (l *lab) takeTAP() {
	l.t.Helper()
	l.gateway.give("gwlan0", l.client)
	l.client.run("ip", "link", "set", "gwlan0", "name", "eth0")
	l.client.run("ip", "link", "set", "eth0", "address", clientMAC, "up")
	l.client.run("ip", "addr", "add", clientIP+"/16", "dev", "eth0")
	l.client.run("ip", "route", "add", "default", "via", lanIP)
	l.client.run("nft", "flush", "ruleset") // the counter of the last eth0
	l.atClient = newCounter(l.client)
}

// everyday is what clients do, billed to the byte.
func (d *daemon) everyday(v session, ways ...string) {
	d.t.Helper()
	l := d.l
	up, down := l.settle()
	before := d.session(v.ID)
	for _, way := range ways {
		if l.iperf(strings.Fields(way)...) < 1e5 {
			d.t.Errorf("iperf3 %s: next to nothing", way)
		}
	}
	l.curlWithChecksum(5e6)
	l.client.run("ping", "-c", "20", "-i", "0.01", "-s", "3000", serverIP)
	u, w := l.settle()
	now := d.session(v.ID)
	if got, want := now.UpBytes-before.UpBytes, u.bytes-up.bytes; got != want {
		d.t.Errorf("up: billed %d bytes, %d arrived: %+d", got, want, int64(got-want))
	}
	if got, want := now.DownBytes-before.DownBytes, w.bytes-down.bytes; got != want {
		d.t.Errorf("down: billed %d bytes, %d arrived: %+d", got, want, int64(got-want))
	}
	d.t.Logf("billed %d up, %d down", now.UpBytes-before.UpBytes, now.DownBytes-before.DownBytes)
}

func TestATAPAsLANPortInAClientsNamespace(t *testing.T) {
	t.Parallel()
	l := newLab(t, lanTAP)
	l.gateway.run("ip", "link", "del", "eth1")
	if code, _, said := l.command("check", "--config", l.writeConfig()); code != 0 {
		t.Fatalf("check: %s", said)
	}
	d := l.start()
	l.takeTAP()
	l.iperfServer()
	v := d.admit(anHour)
	l.passes()
	d.well()
	d.everyday(v, "-t1", "-t1 -R -P4", "-t1 -u -b20M -l 60")

	mac := d.portMAC("gwlan0")
	if mac == clientMAC || mac == "" {
		t.Errorf("the gateway's own MAC is %q", mac)
	}
	pid := d.kill("forward")
	d.replaced("forward", pid)
	l.passes()
	if now := d.portMAC("gwlan0"); now != mac {
		t.Errorf("the gateway's MAC was %s and is %s", mac, now)
	}

	l.client.run("ip", "link", "set", "eth0", "mtu", "1400")
	d.is("gwlan0", func(p port) bool { return p.MTU == 1400 })
	l.passes()
	d.well()
	l.pings([][2]string{{"-c 3 -s 4000 -M dont " + serverIP, " 3 received"}, {"-c 2 -s 1372 -M do " + serverIP, " 2 received"}})

	l.client.run("ip", "link", "set", "eth0", "down")
	eventually(t, 3*soon, "status says that the TAP is down", func() error {
		if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, "port gwlan0 is down in the network namespace") {
			return fmt.Errorf("%q", said)
		}
		return nil
	})
	l.client.run("ip", "link", "set", "eth0", "up")
	l.client.run("ip", "route", "add", "default", "via", lanIP)
	l.passes()
	d.well()

	// What the next run could not find does not stay.
	d.stop()
	if said, err := l.client.try("ip", "link", "show", "dev", "eth0"); err == nil {
		t.Errorf("the TAP is left with the client: %s", said)
	}
	d = l.start()
	l.takeTAP()
	l.passes()
	l.client.run("ip", "link", "del", "eth0")
	eventually(t, 3*soon, "the TAP is made anew", func() error {
		_, err := l.gateway.try("ip", "link", "show", "dev", "gwlan0")
		return err
	})
	l.takeTAP()
	l.passes()
	d.well()
}

// is waits until a port is as wanted.
func (d *daemon) is(name string, wanted func(port) bool) {
	d.t.Helper()
	eventually(d.t, 3*soon, name+" is as wanted", func() error {
		s := d.status()
		for _, p := range s.Ports {
			if p.Name == name && p.Up && wanted(p) {
				return nil
			}
		}
		return fmt.Errorf("%+v", s)
	})
}

func TestATAPAsLANPortInABridge(t *testing.T) {
	t.Parallel()
	l := newLab(t, lanTAP)
	l.gateway.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	l.gateway.run("ip", "link", "set", "br0", "up")
	l.gateway.run("ip", "link", "set", "eth1", "master", "br0")
	d := l.start()
	l.gateway.run("ip", "link", "set", "gwlan0", "master", "br0")
	refuses := func(when, says, mend string) {
		t.Helper()
		eventually(t, 3*soon, when+" stops admission", func() error {
			if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, "admission is stopped") || !strings.Contains(said, says) || !strings.Contains(said, mend) {
				return fmt.Errorf("%q, want %q", said, mend)
			}
			return nil
		})
		l.gateway.run("sh", "-c", mend)
		d.well()
	}
	macs := func() string {
		said, _ := l.client.try("arping", "-c", "3", "-w", "3", "-I", "eth0", lanIP)
		var all []string
		for _, m := range []string{d.portMAC("gwlan0"), l.portMAC("br0").String()} {
			if strings.Contains(strings.ToLower(said), m) {
				all = append(all, m)
			}
		}
		return strings.Join(all, " ")
	}
	eventually(t, 3*soon, "the bridge answers for the gateway, or the test shows nothing", func() error {
		if got := macs(); !strings.Contains(got, l.portMAC("br0").String()) {
			return fmt.Errorf("answers: %s", got)
		}
		return nil
	})
	refuses("a bridge that answers for the gateway", "answers ARP", "sysctl -w net.ipv4.conf.br0.arp_ignore=1")
	if got := macs(); got != d.portMAC("gwlan0") {
		t.Errorf("for the gateway answers %s", got)
	}
	v := d.admit(anHour)
	l.client.run("ip", "neigh", "flush", "all")
	l.passes()
	l.iperfServer()
	d.everyday(v, "-t1 --bidir")

	l.gateway.run("ip", "addr", "add", "10.10.0.9/16", "dev", "br0") // the other end's own affair
	l.gateway.run("sysctl", "-w", "net.ipv4.conf.br0.forwarding=1")
	refuses("a bridge that forwards", "the bridge br0", "sysctl -w net.ipv4.conf.br0.forwarding=0")
	l.gateway.run("ip", "addr", "add", lanIP+"/16", "dev", "br0")
	refuses("a bridge with the gateway's address", "gatewayd's own address", "ip addr del "+lanIP+"/16 dev br0")
	l.gateway.run("ip", "link", "set", "gwlan0", "down")
	eventually(t, 3*soon, "status says that the TAP is down", func() error {
		if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, "run: ip link set gwlan0 up") {
			return fmt.Errorf("%q", said)
		}
		return nil
	})
	l.gateway.run("ip", "link", "set", "gwlan0", "up")
	l.passes()
	d.well()

	mac := d.portMAC("gwlan0")
	for _, end := range []func(){func() { d.stop() }, func() {
		d.expected = true
		children := d.children()
		check(t, syscall.Kill(d.cmd.Process.Pid, syscall.SIGKILL))
		gone(t, children)
	}, func() {
		d.stop()
		l.gateway.start("python3", "-c", `import fcntl, struct, time
tap = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"gwlan0", 0x5002)) # TUNSETIFF: IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
time.sleep(1)`)
		eventually(t, soon, "the queue is taken, as by a thread of a former instance that still ends", func() error {
			if said := l.gateway.run("ip", "link", "show", "gwlan0"); !strings.Contains(said, "LOWER_UP") {
				return fmt.Errorf("no carrier: %s", said)
			}
			return nil
		})
	}} {
		end()
		if said := l.gateway.run("ip", "link", "show", "master", "br0"); !strings.Contains(said, "gwlan0") {
			t.Fatalf("the TAP has left its bridge: %s", said)
		}
		d = l.start()
		l.passes()
		d.well()
		if now := d.portMAC("gwlan0"); now != mac {
			t.Errorf("the gateway's MAC was %s and is %s", mac, now)
		}
	}
}

// The kernel may be the next router, for instance to an uplink that is no
// Ethernet port:
//
//	client ── eth1 gatewayd gwwan0 ── kernel, 203.0.113.1 ── eth0 ── server
func TestATAPAsWANPortWithTheKernelAsRouter(t *testing.T) {
	t.Parallel()
	l := newLab(t, wanTAP)
	l.gateway.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
	l.gateway.run("sysctl", "-w", "net.ipv4.conf.eth0.forwarding=1")
	l.gateway.run("ip", "route", "add", serverIP, "via", "192.0.2.2")
	l.server.run("ip", "addr", "del", routerIP+"/24", "dev", "eth0")
	l.server.run("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
	l.server.run("ip", "route", "add", "default", "via", "192.0.2.1")
	d := l.start()
	l.gateway.run("ip", "addr", "add", routerIP+"/24", "dev", "gwwan0")
	l.gateway.run("sysctl", "-w", "net.ipv4.conf.gwwan0.forwarding=1")
	v := d.admit(anHour)
	l.passes()
	d.well()
	l.iperfServer()
	d.everyday(v, "-t1 --bidir", "-t1 -u -b20M -l 60 -R")

	l.gateway.run("ip", "addr", "add", wanIP+"/24", "dev", "gwwan0")
	eventually(t, 3*soon, "gatewayd's address in the kernel stops admission", func() error {
		if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, "ip addr del "+wanIP+"/24 dev gwwan0") {
			return fmt.Errorf("%q", said)
		}
		return nil
	})
	l.gateway.run("ip", "addr", "del", wanIP+"/24", "dev", "gwwan0")
	l.passes()
	d.well()
	d.stop() // the kernel's end keeps its address
	d = l.start()
	l.passes()
	d.well()
}

func TestATAPThatCannotBeMadeIsRefused(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil string
		check bool // check sees it too
		says  string
	}{
		{"an interface of that name", "ip link add gwlan0 type bridge", true, "make TAP gwlan0: there is a bridge of this name"},
		{"a TUN of that name", "ip tuntap add dev gwlan0 mode tun", true, "make TAP gwlan0: there is a tun of this name"},
		{"one with several queues", "ip tuntap add dev gwlan0 mode tap multi_queue", false, "it may have several queues; run: ip link del gwlan0"},
		{"one that somebody uses", "ip tuntap add dev gwlan0 mode tap", false, "another program has its queue"},
		{"one with the gateway's own address", "ip tuntap add dev gwlan0 mode tap && ip addr add " + lanIP + "/16 dev gwlan0", true, "ip addr del " + lanIP + "/16 dev gwlan0"},
		{"one on which the kernel forwards", "ip tuntap add dev gwlan0 mode tap && sysctl -w net.ipv4.conf.gwlan0.forwarding=1", true, "sysctl -w net.ipv4.conf.gwlan0.forwarding=0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, lanTAP)
			l.gateway.run("sh", "-c", row.spoil)
			if strings.HasSuffix(row.name, "uses") {
				check(t, l.gateway.do(func() error {
					queue, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
					if err != nil {
						return err
					}
					t.Cleanup(func() { queue.Close() })
					ifr, err := unix.NewIfreq("gwlan0")
					if err != nil {
						return err
					}
					ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
					return unix.IoctlIfreq(int(queue.Fd()), unix.TUNSETIFF, ifr)
				}))
			}
			code, _, said := l.command("check", "--config", l.writeConfig())
			if want := map[bool]int{true: 1, false: 0}[row.check]; code != want || row.check && !strings.Contains(said, row.says) {
				t.Errorf("check: exit %d: %s", code, said)
			}
			if said := l.refused(); !strings.Contains(said, row.says) {
				t.Errorf("run: %s", said)
			}
			if now := l.gateway.run("ip", "link", "show", "dev", "gwlan0"); now == "" {
				t.Error("what was there is gone")
			}
		})
	}
}
