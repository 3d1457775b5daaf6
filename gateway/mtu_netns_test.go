//go:build netns

package gateway_test

import (
	"strings"
	"testing"
)

// pings runs rows of ping on the client, which have to print a text.
func (l *lab) pings(rows [][2]string) {
	l.t.Helper()
	for _, row := range rows {
		said, _ := l.client.try("sh", "-c", "ping -i 0.1 -W 2 "+row[0]+" 2>&1") // 1 when one was lost
		if !strings.Contains(said, row[1]) {
			l.t.Errorf("ping %s: want %q: %s", row[0], row[1], said)
		}
	}
}

func TestFragmentsPassBothWays(t *testing.T) {
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	up, down := l.settle()
	l.pings([][2]string{
		{"-c 5 -s 4000 " + serverIP, " 5 received"},
		{"-c 3 -s 20000 " + serverIP, " 3 received"},
		{"-c 3 -s 1472 -M do " + serverIP, " 3 received"},
		{"-c 200 -i 0.002 -s 2000 " + serverIP, " 200 received"},
	})
	d.billed(v.ID, up, down)
	if drops := d.status().Drops; drops["stray_fragment"]+drops["fragments_full"] != 0 {
		t.Errorf("drops %v", drops)
	}
}

func TestASmallerWANIsFoundOut(t *testing.T) {
	for _, row := range []struct {
		name string
		on   bool
	}{{"with offloads", true}, {"without offloads", false}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.offloads(row.on)
			l.gateway.run("ip", "link", "set", "eth0", "mtu", "1400")
			l.server.run("ip", "link", "set", "eth0", "mtu", "1400")
			d := l.start()
			d.admit(anHour)
			l.pings([][2]string{
				{"-c 2 -s 1372 -M do " + serverIP, " 2 received"},
				{"-c 2 -s 1373 -M do " + serverIP, "mtu = 1400"},
				{"-c 3 -s 1373 -M dont " + serverIP, " 3 received"},
				{"-c 3 -s 4000 -M dont " + serverIP, " 3 received"},
			})
			l.client.run("ip", "route", "flush", "cache")
			if said := l.client.run("traceroute", "--mtu", "-n", "-q", "1", "-w", "2", "-m", "4", serverIP); !strings.Contains(said, "F=1400") {
				t.Errorf("traceroute --mtu: %s", said)
			}
			l.client.run("ip", "route", "flush", "cache")
			v := d.session(1)
			up, down := l.settle()
			l.curlWithChecksum(5e6)
			u, w := l.settle()
			now := d.session(1)
			if now.UpBytes-v.UpBytes != u.bytes-up.bytes || now.DownBytes-v.DownBytes != w.bytes-down.bytes {
				t.Errorf("billed %d up and %d down, arrived %d and %d", now.UpBytes-v.UpBytes, now.DownBytes-v.DownBytes, u.bytes-up.bytes, w.bytes-down.bytes)
			}
		})
	}
}
