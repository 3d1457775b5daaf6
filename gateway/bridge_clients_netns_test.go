//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dhcpServer serves addresses on the WAN, as args say, by DHCP or router advertisements.
func (l *lab) dhcpServer(args ...string) {
	l.t.Helper()
	l.server.start("dnsmasq", append([]string{"--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces", "--leasefile-ro",
		"--pid-file=", "--log-dhcp"}, args...)...)
}

// DHCP clients of others, and the kernel, have their addresses from the WAN before they
// have a session.
func TestHostsAreConfiguredThroughABridge(t *testing.T) {
	for name, program := range map[string][]string{
		"udhcpc":   {"udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "20", "-T", "1", "-s", "/bin/true"},
		"dhclient": {"dhclient", "-4", "-1", "-v", "-sf", "/bin/true", "-cf", "/dev/null", "-lf", "LEASES", "-pf", "PID", "eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newBridge(t)
			d := l.start()
			l.dhcpServer("--dhcp-range=10.10.5.5,10.10.5.5,255.255.0.0,1h", "--dhcp-option=3,"+nextRouter)
			l.client.run("ip", "addr", "flush", "dev", "eth0", "scope", "global")
			args := strings.Fields(strings.NewReplacer("LEASES", filepath.Join(l.dir, "leases"), "PID", filepath.Join(l.dir, "dhclient.pid")).Replace(strings.Join(program[1:], " ")))
			said := l.client.start(program[0], args...)
			t.Cleanup(func() { l.endBackground(filepath.Join(l.dir, "dhclient.pid")) })
			said.says("10.10.5.5")
			eventually(t, soon, "its address is known", func() error {
				if v := d.device(clientMAC); v.IP != "10.10.5.5" {
					return fmt.Errorf("it is %+v", v)
				}
				return nil
			})
		})
	}
	t.Run("router advertisements", func(t *testing.T) {
		l := newBridge(t)
		d := l.start()
		l.dhcpServer("--enable-ra", "--dhcp-range=2001:db8::,ra-only", "--ra-param=eth0,4,0")
		l.client.run("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
		l.client.setting("ipv6/conf/eth0/accept_ra", "2")
		l.client.run("ip", "link", "set", "eth0", "down")
		l.client.run("ip", "link", "set", "eth0", "up")
		eventually(t, 2*soon, "the client makes itself an address", func() error {
			if said := l.client.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"); !strings.Contains(said, "2001:db8::ff:fe00:c/64") || strings.Contains(said, "tentative") {
				return errors.New(said)
			}
			return nil
		})
		d.admit(anHour)
		l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "5", "-I", "2001:db8::ff:fe00:c", nextRouter6)
	})
}

// endBackground ends the program whose id a file has, if there is one.
func (l *lab) endBackground(path string) {
	if id, err := os.ReadFile(path); err == nil {
		_, _ = l.client.try("kill", strings.TrimSpace(string(id)))
	}
}

// A client that serves addresses, or says to be a router, is heard by nobody on the WAN.
func TestRogueServersBehindABridge(t *testing.T) {
	l := newBridge(t)
	d := l.start()
	d.admit(anHour)
	l.server.setting("ipv6/conf/eth0/accept_ra", "2")
	const ether = "Ether(src='" + clientMAC + "',dst='ff:ff:ff:ff:ff:ff')/"
	for reason, frame := range map[string]string{
		"rogue_server": ether + "IP(src='" + clientIP + "',dst='255.255.255.255')/UDP(sport=67,dport=68)/BOOTP(op=2,yiaddr='10.10.6.6',chaddr=bytes(6))/DHCP(options=[('message-type','offer'),'end'])",
		"rogue_router": "Ether(src='" + clientMAC + "',dst='33:33:00:00:00:01')/IPv6(src='fe80::ff:fe00:c',dst='ff02::1',hlim=255)/ICMPv6ND_RA()/ICMPv6NDOptPrefixInfo(prefix='2001:db8:bad::',prefixlen=64)",
	} {
		before := d.status().Drops[reason]
		l.client.run("/usr/bin/python3", "-c", "from scapy.all import *; sendp("+frame+",iface='eth0',count=10,verbose=0)")
		eventually(t, soon, reason+" is counted", func() error {
			if n := d.status().Drops[reason] - before; n < 10 {
				return fmt.Errorf("%d: %v", n, d.status().Drops)
			}
			return nil
		})
	}
	if said := l.server.run("ip", "-6", "addr", "show", "dev", "eth0"); strings.Contains(said, "2001:db8:bad") {
		t.Errorf("the server has made itself an address of it: %s", said)
	}
}

// What is broken, or of protocols nobody knows, is dropped for its reason, and the
// forwarder outlives it; each row is sent from both sides.
func TestOddFramesOnABridge(t *testing.T) {
	l := newBridge(t)
	l.client.run("ip", "link", "set", "eth0", "mtu", "9000")
	l.server.run("ip", "link", "set", "eth0", "mtu", "9000")
	d := l.start()
	d.admit(anHour)
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", nextRouter)
	forwarder := d.process("forward")
	const each = 10
	frames, want := "", map[string]uint64{}
	for _, row := range [][2]string{ // reason and frame
		{"unknown_protocol", "Ether(src=A,dst=B,type=0x88f9)/Raw(b'x'*100)"},                                          // nobody's EtherType
		{"unknown_protocol", "Dot3(src=A,dst=B)/LLC(dsap=0xaa,ssap=0xaa,ctrl=3)/Raw(b'x'*60)"},                        // LLC
		{"link_local_group", "Dot3(src=A,dst='01:80:c2:00:00:00')/LLC(dsap=0x42,ssap=0x42,ctrl=3)/STP()"},             // spanning tree
		{"tagged", "Ether(src=A,dst=B,type=0x88a8)/Dot1Q(vlan=7)/Dot1Q(vlan=8)/IP(src=C,dst=D)/UDP()/Raw(b'x'*40)"},   // two tags
		{"malformed", "Ether(src=A,dst=B,type=0x800)/Raw(bytes(IP(src=C,dst=D)/UDP())[:15])"},                         // IPv4's header cut short
		{"malformed", "Ether(src=A,dst=B,type=0x86dd)/Raw(bytes(IPv6(src=E,dst=F)/UDP())[:30])"},                      // IPv6's
		{"malformed", "Ether(src=A,dst=B)/IPv6(src=E,dst=F,hlim=255)/ICMPv6ND_NS(tgt=F)/Raw(b'\\x01\\x00'+bytes(6))"}, // an option of discovery without length
		{"malformed", "Ether(src=A,dst=B)/IPv6(src=E,dst=F,hlim=64)/ICMPv6ND_NS(tgt=F)"},                              // discovery that a router has passed on
		{"bad_source", "Ether(src='03:00:00:00:00:01',dst=B)/IP(src=C,dst=D)/UDP()"},                                  // a group as the source
	} {
		frames += row[1] + ","
		want[row[0]] += each
	}
	client, server := newRawPort(l.client), newRawPort(l.server)
	for _, side := range []struct {
		name string
		ns   *namespace
		ends []any // A and B are MACs, C and D, E and F addresses
	}{
		{"LAN", l.client, []any{client.mac, server.mac, clientIP, nextRouter, clientIP6, nextRouter6}},
		{"WAN", l.server, []any{server.mac, client.mac, nextRouter, clientIP, nextRouter6, clientIP6}},
	} {
		before := d.status().Drops
		side.ns.run("/usr/bin/python3", "-c", fmt.Sprintf("from scapy.all import *; A,B,C,D,E,F='%s','%s','%s','%s','%s','%s'; ", side.ends...)+
			fmt.Sprintf("sendp([%s],iface='eth0',count=%d,verbose=0)", frames, each))
		eventually(t, soon, "all from the "+side.name+" is counted", func() error {
			now := d.status().Drops
			for reason, n := range want {
				if got := now[reason] - before[reason]; got < n {
					return fmt.Errorf("%d as %s, want %d: %v", got, reason, n, now)
				}
			}
			return nil
		})
	}
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", nextRouter)
	if now := d.process("forward"); now != forwarder {
		t.Errorf("the forwarder %d was replaced by %d", forwarder, now)
	}
}
