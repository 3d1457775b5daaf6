//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"testing"
)

// In bridge mode the far side is a neighbour of the clients, and their router:
//
//	client                    gateway                    server
//	eth0 ──────────────────── eth1      eth0 ─────────── eth0
//	10.10.0.2/16              10.10.0.1 (the box)        10.10.0.254/16
//	2001:db8::c/64                                       2001:db8::fe/64
const (
	nextRouter  = "10.10.0.254"
	nextRouter6 = "2001:db8::fe"
	clientIP6   = "2001:db8::c"
)

// newBridge is newLab with a bridge in the middle.
func newBridge(t *testing.T, config ...string) *lab {
	t.Helper()
	l := newLab(t, append([]string{"mode: bridge", "wan: {interface: eth0}"}, config...)...)
	l.router = nextRouter
	l.client.run("ip", "route", "replace", "default", "via", l.router)
	l.server.run("ip", "addr", "add", nextRouter+"/16", "dev", "eth0")
	l.server.run("ip", "addr", "add", nextRouter6+"/64", "dev", "eth0", "nodad")
	l.client.run("ip", "addr", "add", clientIP6+"/64", "dev", "eth0", "nodad")
	return l
}

func TestABridgePassesBothFamilies(t *testing.T) {
	for i, row := range []struct {
		name   string
		config []string
	}{
		{"one worker", nil},
		{"three workers", []string{"workers: 3"}},
		{"without rings", []string{"kernel: {without: [ring, transmit_ring]}"}},
		{"without joining, by the classic drop", []string{"kernel: {without: [joining, tcx]}"}},
	} {
		for _, on := range []bool{true, false} {
			if on != (i%2 == 0) && !soaking() {
				continue
			}
			t.Run(fmt.Sprintf("%s, offloads %v", row.name, on), func(t *testing.T) {
				l := newBridge(t, row.config...)
				l.offloads(on)
				d := l.start()
				servers := l.iperfServers(serverIP, nextRouter6)
				for _, far := range []string{serverIP, nextRouter, nextRouter6} {
					if out, err := l.client.try("ping", "-c", "2", "-i", "0.1", "-W", "1", far); err == nil {
						t.Fatalf("without a session %s answers: %s", far, out)
					}
				}
				v := d.admit(anHour)
				up, down := l.settle()
				up6, down6 := l.wire6()
				for _, far := range []string{serverIP, nextRouter6} {
					l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "1000", far)
					for _, way := range []string{"-t1", "-t1 -R -P4", "-t1 -u -b50M -l 1000"} {
						servers.test(l.client, far, strings.Fields(way)...)
					}
				}
				got := d.billedBoth(v.ID, up, down, up6, down6, v)
				if n := l.txDropped(); n != 0 {
					t.Errorf("the ports dropped %d packets", n)
				}
				t.Logf("billed %d up, %d down; drops %v", got.UpBytes, got.DownBytes, d.status().Drops)
			})
		}
	}
}

func TestABridgeWhoseLANPortIsATAP(t *testing.T) {
	l := newBridge(t, lanTAP)
	l.gateway.run("ip", "link", "del", "eth1")
	d := l.start()
	l.takeTAP()
	l.client.run("ip", "route", "replace", "default", "via", nextRouter)
	l.client.setting("ipv6/conf/eth0/disable_ipv6", "1") // what is counted first is IPv4
	l.iperfServer()
	v := d.admit(anHour)
	l.passes()
	d.well()
	d.everyday(v, "-t1", "-t1 -R -P4", "-t1 -u -b50M -l 1000")
	l.client.setting("ipv6/conf/eth0/disable_ipv6", "0")
	l.client.run("ip", "addr", "add", clientIP6+"/64", "dev", "eth0", "nodad")
	servers := l.iperfServers(nextRouter6)
	up, down := l.settle()
	up6, down6 := l.wire6()
	before := d.session(v.ID)
	servers.test(l.client, nextRouter6, "-t1")
	servers.test(l.client, nextRouter6, "-t1", "-R")
	d.billedBoth(v.ID, up, down, up6, down6, before)
}

// wire6 is what has arrived over IPv6: of the client, for many, too; at it what was for it
// alone, since nobody pays for the rest.
func (l *lab) wire6() (up, down traffic) {
	one, many := l.atServer.read6()
	down, _ = l.atClient.read6()
	return traffic{one.packets + many.packets, one.bytes + many.bytes}, down
}

// billedBoth compares what a session was billed with what arrived over both families, each
// since before.
func (d *daemon) billedBoth(id int64, up, down, up6, down6 traffic, before session) session {
	d.t.Helper()
	upNow, downNow := d.l.settle()
	up6Now, down6Now := d.l.wire6()
	now := d.session(id)
	if got, want := now.UpBytes-before.UpBytes, upNow.bytes-up.bytes+up6Now.bytes-up6.bytes; got != want {
		d.t.Errorf("up: billed %d bytes, %d arrived: %+d", got, want, int64(got-want))
	}
	if got, want := now.DownBytes-before.DownBytes, downNow.bytes-down.bytes+down6Now.bytes-down6.bytes; got != want {
		d.t.Errorf("down: billed %d bytes, %d arrived: %+d", got, want, int64(got-want))
	}
	return now
}

// A frame in a VLAN passes with its tag, billed to its sender, both ways.
func TestABridgeKeepsTags(t *testing.T) {
	for name, config := range map[string][]string{"with rings": nil, "without": {"kernel: {without: [ring, transmit_ring]}"}} {
		t.Run(name, func(t *testing.T) {
			l := newBridge4(t, config...)
			d := l.start()
			v := d.admit(anHour)
			l.client.run("ping", "-c", "1", "-W", "5", nextRouter)
			before := d.session(v.ID)
			const nobodyIP = "10.10.0.77" // so that no kernel answers
			client, server := newRawPort(l.client), newRawPort(l.server)
			for _, tci := range []uint16{0x0007, 0xe00a, 0xe000} { // VLAN 7, VLAN 10 with priority 7, priority alone
				client.sends(server, clientIP, nobodyIP, tci)
				server.sends(client, nextRouter, nobodyIP, tci)
			}
			after := d.session(v.ID)
			if up, down := after.UpBytes-before.UpBytes, after.DownBytes-before.DownBytes; up != 3*128 || down != 3*128 {
				t.Errorf("billed %d bytes up, %d down, want 384 each", up, down)
			}
		})
	}
}
