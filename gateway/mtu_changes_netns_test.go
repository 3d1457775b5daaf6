//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// resize changes MTUs under traffic: a far end takes at any time what the gateway's
// kernel lets out.
func (d *daemon) resize(from, to widths) {
	d.t.Helper()
	set := func(n *namespace, port string, mtu int) { n.run("ip", "link", "set", port, "mtu", fmt.Sprint(mtu)) }
	set(d.l.client, "eth0", max(from.lan, to.lan))
	set(d.l.server, "eth0", max(from.wan, to.wan))
	set(d.l.gateway, "eth1", to.lan)
	set(d.l.gateway, "eth0", to.wan)
	d.isWide(to)
	set(d.l.client, "eth0", to.lan)
	set(d.l.server, "eth0", to.wan)
	d.l.forgetPaths()
}

// A port's MTU is what it is at the moment: whoever changes it ends no conversation and
// loses no packet that fits.
func TestMTUsAreFollowedWhilePacketsPass(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, fmt.Sprint("workers: ", workers), "metrics: {listen: 127.0.0.1:9464}")
			l.server.setting("ipv4/icmp_ratelimit", "0")
			l.offloads(true)
			d := l.start()
			d.admit(anHour)
			l.iperfServer()
			up, down := l.settle()
			pids := d.children()
			s := l.stream(2*time.Millisecond, 1000)
			load := l.client.start("iperf3", "-c", serverIP, "-t", "3600", "--bidir", "-b", "20M")
			goesOn := func(when string) {
				t.Helper()
				before := [2]uint64{l.atServer.read().bytes, l.atClient.read().bytes}
				eventually(t, 2*soon, when+": the conversations go on", func() error {
					for i, now := range []uint64{l.atServer.read().bytes, l.atClient.read().bytes} {
						if now < before[i]+1e6 {
							return fmt.Errorf("%d and %d bytes: %s", before[i], now, load.out.String())
						}
					}
					return nil
				})
			}
			goesOn("at first")
			before := widths{1500, 1500}
			for _, w := range []widths{{1500, 1280}, {1500, 9000}, {9000, 9000}, {9000, 1500}, {1200, 1500}, {1400, 1200}, {65535, 65535}, {1500, 1500}} {
				d.resize(before, w)
				l.pings([][2]string{{fmt.Sprintf("-n -c 2 -M do -s %d %s", w.edge()-28, serverIP), " 2 received"}})
				if w.wan < w.lan {
					l.pings([][2]string{{fmt.Sprintf("-n -c 2 -M do -s %d %s", w.edge()-27, serverIP), " 0 received"}})
				}
				goesOn(fmt.Sprintf("%+v", w))
				for port, mtu := range map[string]int{"eth1": w.lan, "eth0": w.wan, d.status().Ports["host"].Name: w.lan} {
					if mtu >= 1280 && l.gateway.setting("ipv6/conf/"+port+"/disable_ipv6") != "1" { // under it the kernel has none there
						t.Errorf("%+v: the kernel speaks IPv6 on %s", w, port)
					}
				}
				before = w
			}
			if said := d.out.String(); !strings.Contains(said, "clients may send packets of 9000 bytes, and port eth0 carries 1500") {
				t.Errorf("nobody is told what a larger LAN means: %s", said)
			}
			load.end()
			if sent, arrived := s.end(); sent != arrived {
				t.Errorf("of %d datagrams %d arrived: drops %v", sent, arrived, d.status().Drops)
			}
			if now := d.children(); now["forward"] != pids["forward"] || now["control"] != pids["control"] {
				t.Errorf("processes were %v and are %v", pids, now)
			}
			eventually(t, 2*soon, "it balances", func() error { // what iperf3 still sends in its end is on its way
				return l.scraped().balance()
			})
			d.balanced(up, down)
		})
	}
}

// What is longer than a port's own MTU is taken in, as far as the link brings it.
func TestAPacketOverItsPortsOwnMTU(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.widen(widths{1500, 9000})
	l.client.run("ip", "link", "set", "eth0", "mtu", "1504") // a cable's other end takes a VLAN tag more
	l.start().admit(anHour)
	l.pings([][2]string{
		{"-n -c 2 -M do -s 1476 " + serverIP, " 2 received"},
		{"-n -c 2 -M do -s 1472 " + serverIP, " 2 received"},
	})
}

func TestAnMTUTooSmallForIPv4IsSaid(t *testing.T) {
	t.Parallel()
	l := newLab(t, "lan: {interface: narrow0, address: "+lanIP+"/16}")
	l.gateway.run("ip", "link", "add", "narrow0", "mtu", "60", "type", "ifb")
	if said := l.refused(); !strings.Contains(said, "its MTU is 60 bytes, and IPv4 needs 68") || !strings.Contains(said, "ip link set dev narrow0 mtu 1500") {
		t.Errorf("it says %s", said)
	}
	l.gateway.run("ip", "link", "set", "narrow0", "mtu", "600")
	d := l.start()
	d.isWide(widths{600, 1500})
	if said := d.out.String(); !strings.Contains(said, "port narrow0 carries packets of 600 bytes: QUIC needs 1228") {
		t.Errorf("it says %s", said)
	}
	l.gateway.run("ip", "link", "set", "narrow0", "mtu", "60")
	d.degradedBy("admission is stopped: port narrow0", "its MTU is 60 bytes")
	l.gateway.run("ip", "link", "set", "narrow0", "mtu", "1500")
	d.sound()
}
