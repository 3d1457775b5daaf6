//go:build netns

package gateway_test

import (
	"fmt"
	"regexp"
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
		name    string
		on      bool
		without string // of the kernel
	}{{"with offloads", true, ""}, {"without offloads", false, ""}, {"with offloads, without a ring", true, "ring"}, {"without offloads and a ring", false, "ring"}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "kernel: {without: ["+row.without+"]}")
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

// times are what programs print of how long it took.
var times = regexp.MustCompile(` *[0-9.]+ ?ms\b|time [0-9]+ms|rtt .*`)

// TestThePathIsFoundAsThroughTheKernel: programs that look for the path and its
// MTU find through gatewayd what they find through the kernel's own NAT.
func TestThePathIsFoundAsThroughTheKernel(t *testing.T) {
	t.Parallel()
	ours, kernels := newLab(t), newLab(t)
	for _, l := range []*lab{ours, kernels} {
		l.gateway.run("ip", "link", "set", "eth0", "mtu", fmt.Sprint(wanMTU))
		l.server.run("ip", "link", "set", "eth0", "mtu", fmt.Sprint(wanMTU))
		l.server.setting("ipv4/icmp_ratelimit", "0")
	}
	ours.start().admit(anHour)
	kernels.kernelIsTheGateway()
	for _, row := range []struct{ command, says string }{
		{"tracepath -n -m 4 " + serverIP, "pmtu 1400 hops 2"},
		{"traceroute --mtu -n -q 1 -w 5 -m 4 " + serverIP, "F=1400"},
		{"traceroute -I -n -q 1 -w 5 -m 4 " + serverIP, " 2  " + serverIP},
		{"traceroute -U -n -q 1 -w 5 -m 4 " + serverIP, " 2  " + serverIP},
		{"traceroute -T -n -q 1 -w 5 -m 4 " + serverIP, " 2  " + serverIP},
		{"ping -n -c 1 -W 5 -M do -s 1372 " + serverIP, " 1 received"},
		{"ping -n -c 1 -W 5 -M do -s 1373 " + serverIP, "mtu = 1400"},
		{"ping -n -c 1 -W 5 -t 1 " + serverIP, "Time to live exceeded"},
		{"ping -n -c 1 -W 5 -M dont -s 3000 " + serverIP, " 1 received"},
	} {
		eventually(t, 4*soon, row.command, func() error { // a program gives up on an answer after a second or two
			var said [2]string
			for i, l := range []*lab{ours, kernels} {
				l.client.run("ip", "route", "flush", "cache")
				said[i], _ = l.client.try("sh", "-c", row.command+" 2>&1") // ping ends with 1 when it was told of an error
				said[i] = times.ReplaceAllString(said[i], "")
			}
			if !strings.Contains(said[0], row.says) || said[0] != said[1] {
				return fmt.Errorf("want %q, by gatewayd:\n%s\nby the kernel:\n%s", row.says, said[0], said[1])
			}
			return nil
		})
	}
}
