//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A client's address changes with its ARP, not with what it sends: phones let packets of
// their other interface out.
func TestAPacketChangesNoAddressOnABridge(t *testing.T) {
	const next = "10.10.0.78"
	l := newBridge4(t)
	d := l.start()
	d.admit(anHour)
	l.client.run("ping", "-c", "1", "-W", "5", nextRouter)
	before := d.status().Drops["spoofed"]
	for _, from := range []string{"10.10.0.77", "198.51.100.77"} {
		l.client.scapy(fmt.Sprintf("Ether(src='%s',dst='%s')/IP(src='%s',dst='%s')/UDP()", clientMAC, newRawPort(l.server).mac, from, nextRouter), 10)
	}
	eventually(t, soon, "they are counted as spoofed", func() error {
		if n := d.status().Drops["spoofed"] - before; n != 20 {
			return fmt.Errorf("%d of 20", n)
		}
		return nil
	})
	l.client.run("ping", "-c", "3", "-i", "0.2", "-W", "2", nextRouter)
	if v := d.device(clientMAC); v.IP != clientIP || !v.Connected {
		t.Errorf("it is %+v", v)
	}

	l.client.run("ip", "addr", "flush", "dev", "eth0")
	l.client.run("ip", "neigh", "flush", "dev", "eth0")
	l.client.run("ip", "addr", "add", next+"/16", "dev", "eth0")
	eventually(t, soon, "its next address is its own", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", nextRouter)
		return err
	})
	if v := d.device(clientMAC); v.IP != next || !v.Connected {
		t.Errorf("it is %+v", v)
	}
}

// Conversations outlive a restart of all of gatewayd, though nobody may ask by ARP
// meanwhile.
func TestConversationsOutliveARestartOfABridge(t *testing.T) {
	for _, far := range []string{serverIP, nextRouter6} {
		t.Run(far, func(t *testing.T) {
			l := newBridge(t)
			d := l.start()
			d.admit(anHour)
			l.iperfServers(far)
			l.client.run("ping", "-c", "3", "-i", "0.2", "-W", "5", far)
			for _, n := range []*namespace{l.client, l.server} { // so that nobody has a reason to ask
				for _, entry := range strings.Split(strings.TrimSpace(n.run("ip", "neigh", "show", "dev", "eth0")), "\n") {
					if f := strings.Fields(entry); len(f) > 2 && f[1] == "lladdr" {
						n.run("ip", "neigh", "replace", f[0], "lladdr", f[2], "dev", "eth0", "nud", "permanent")
					}
				}
			}
			goesOn := l.client.start("iperf3", "-c", far, "-t", "8", "-b", "20M")
			time.Sleep(2 * time.Second) // in the midst of it
			d.stop()
			d = l.start()
			goesOn.wait(4 * soon)
			if !goesOn.cmd.ProcessState.Success() {
				t.Errorf("%s", goesOn.out.String())
			}
			if v := d.device(clientMAC); v.IP != clientIP || !v.Connected {
				t.Errorf("it is %+v", v)
			}
		})
	}
}

// scapy sends a frame some times from a namespace's eth0.
func (n *namespace) scapy(frame string, times int) {
	n.t.Helper()
	n.run("/usr/bin/python3", "-c", fmt.Sprintf("from scapy.all import *; sendp(%s,iface='eth0',count=%d,verbose=0)", frame, times))
}

// A router that advertises itself on the WAN is heard, though a client has taken its
// address before, and that one is not heard from it any more.
func TestARouterIsHeardThoughAClientHadItsAddress(t *testing.T) {
	const router = "fe80::77"
	l := newBridge(t)
	d := l.start()
	l.client.run("ping", "-c", "3", "-i", "0.2", "-W", "5", lanIP) // it is known
	l.client.setting("ipv6/conf/eth0/accept_ra", "2")
	asks := "Ether(src='" + clientMAC + "',dst='33:33:00:00:00:02')/IPv6(src='" + router + "',dst='ff02::2',hlim=255)/ICMPv6ND_RS()"
	before := d.status().Drops["spoofed"]
	l.client.scapy(asks, 5)
	l.server.scapy("Ether(src='"+newRawPort(l.server).mac.String()+"',dst='33:33:00:00:00:01')/IPv6(src='"+router+"',dst='ff02::1',hlim=255)/ICMPv6ND_RA()/ICMPv6NDOptPrefixInfo(prefix='2001:db8:77::',prefixlen=64)", 5)
	eventually(t, soon, "the client makes itself an address", func() error {
		if said := l.client.run("ip", "-6", "addr", "show", "dev", "eth0"); !strings.Contains(said, "2001:db8:77:") {
			return errors.New(said)
		}
		return nil
	})
	if n := d.status().Drops["spoofed"]; n != before {
		t.Errorf("%d are spoofed before the router is heard", n-before)
	}
	l.client.scapy(asks, 5)
	eventually(t, soon, "the client is not heard from it", func() error {
		if n := d.status().Drops["spoofed"] - before; n < 5 {
			return fmt.Errorf("%d of 5", n)
		}
		return nil
	})
}

// Nobody takes a client's IPv6 address in the moment in which the forwarder is replaced.
func TestAKilledForwarderLeavesAddressesTheirClients(t *testing.T) {
	const thiefMAC = "02:00:00:00:00:0e"
	l := newBridge(t)
	d := l.start()
	d.admit(anHour)
	thief := l.neighbour(thiefMAC, "10.10.0.14")
	l.client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", nextRouter6)
	d.replaced("forward", d.kill("forward"))
	before := d.status().Drops["spoofed"]
	thief.scapy("Ether(src='"+thiefMAC+"',dst='33:33:00:00:00:02')/IPv6(src='"+clientIP6+"',dst='ff02::2',hlim=255)/ICMPv6ND_RS()", 5)
	eventually(t, soon, "it is spoofed", func() error {
		if n := d.status().Drops["spoofed"] - before; n < 5 {
			return fmt.Errorf("%d of 5: %v", n, d.status().Drops)
		}
		return nil
	})
	l.client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", nextRouter6)
}

// What comes to a DHCP client's port from the WAN is as any packet, if that one has not
// asked: without a session it does not pass.
func TestDHCPThatNobodyAskedForEndsOnABridge(t *testing.T) {
	l := newBridge4(t)
	d := l.start()
	d.must("POST", "/devices", `{"mac":"`+clientMAC+`","ip":"`+clientIP+`"}`, nil)
	before, arrived := d.status().Drops["no_grant"], l.atClient.read()
	l.server.scapy("Ether(src='"+newRawPort(l.server).mac.String()+"',dst='"+clientMAC+"')/IP(src='"+nextRouter+"',dst='"+clientIP+"')/UDP(sport=67,dport=68)"+
		"/BOOTP(op=2,yiaddr='"+clientIP+"',chaddr=bytes.fromhex('"+strings.ReplaceAll(clientMAC, ":", "")+"'))/DHCP(options=[('message-type','ack'),'end'])", 10)
	eventually(t, soon, "they end for want of a session", func() error {
		if n := d.status().Drops["no_grant"] - before; n < 10 {
			return fmt.Errorf("%d of 10: %v", n, d.status().Drops)
		}
		return nil
	})
	if now := l.atClient.read(); now != arrived {
		t.Errorf("%d packets reached the client", now.packets-arrived.packets)
	}
}
