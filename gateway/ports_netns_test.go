//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestStartRefusesPortsThatTheKernelUses(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil []string // words of a command that makes the conflict
		mend  string   // what gatewayd proposes
	}{
		{"an IPv4 address on the LAN port", []string{"ip", "addr", "add", "192.0.2.1/24", "dev", "eth1"}, "ip addr del 192.0.2.1/24 dev eth1"},
		{"the WAN address on the WAN port", []string{"ip", "addr", "add", wanIP + "/24", "dev", "eth0"}, "ip addr del " + wanIP + "/24 dev eth0"},
		{"a global IPv6 address", []string{"ip", "-6", "addr", "add", "2001:db8::1/64", "dev", "eth1", "nodad"}, "ip -6 addr del 2001:db8::1/64 dev eth1"},
		{"forwarding on the LAN port", []string{"sysctl", "-w", "net.ipv4.conf.eth1.forwarding=1"}, "sysctl -w net.ipv4.conf.eth1.forwarding=0"},
		{"forwarding everywhere", []string{"sysctl", "-w", "net.ipv4.ip_forward=1"}, "sysctl -w net.ipv4.conf.eth0.forwarding=0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.gateway.run(row.spoil[0], row.spoil[1:]...)
			config := l.writeConfig()
			for _, command := range []string{"run", "check"} {
				code, _, said := l.command(command, "--config", config)
				if code != 1 || !strings.Contains(said, row.mend) {
					t.Errorf("%s: exit %d: %s\nwant exit 1 and %s", command, code, said, row.mend)
				}
			}
			for tries := 0; ; tries++ { // what it proposes mends it
				code, out, said := l.command("check", "--config", config)
				if code == 0 {
					break
				}
				if tries == 3 {
					t.Fatalf("not mended: %s%s", out, said)
				}
				_, command, _ := strings.Cut(said, "(run: ")
				command, _, _ = strings.Cut(command, ")")
				l.gateway.run("sh", "-c", command)
			}
			l.start()
		})
	}
}

func TestAConflictWhileRunningStopsAdmission(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	l.client.run("ping", "-c", "1", "-W", "2", serverIP)
	for _, row := range []struct {
		name, spoil, mend string
	}{
		{"an IPv4 address on the WAN port and forwarding", "ip addr add 203.0.113.9/24 dev eth0 && sysctl -w net.ipv4.ip_forward=1",
			"ip addr del 203.0.113.9/24 dev eth0 && sysctl -w net.ipv4.ip_forward=0"},
		{"forwarding on the LAN port", "sysctl -w net.ipv4.conf.eth1.forwarding=1", "sysctl -w net.ipv4.conf.eth1.forwarding=0"},
		{"forwarding everywhere", "sysctl -w net.ipv4.ip_forward=1", "sysctl -w net.ipv4.ip_forward=0"},
		{"a global IPv6 address", "sysctl -qw net.ipv6.conf.eth1.disable_ipv6=0 && ip -6 addr add 2001:db8::1/64 dev eth1 nodad",
			"ip -6 addr del 2001:db8::1/64 dev eth1 && sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1"},
	} {
		l.gateway.run("sh", "-c", row.spoil)
		eventually(t, soon, row.name+" stops admission and status says why", func() error {
			s := d.status()
			said := strings.Join(s.Degraded, "; ")
			first, _, _ := strings.Cut(row.mend, " &&")
			first = strings.Replace(first, "ip_forward", "conf.eth1.forwarding", 1)
			if s.Ready || !strings.Contains(said, "admission is stopped") || !strings.Contains(said, first) {
				return fmt.Errorf("ready %v, %s; want %s", s.Ready, said, first)
			}
			return nil
		})
		before, _ := l.settle()
		billed := d.session(v.ID)
		for _, to := range []string{serverIP, routerIP} { // the kernel may know a way to the second
			if said, err := l.client.try("ping", "-c", "3", "-i", "0.1", "-W", "1", to); err == nil {
				t.Errorf("%s: the client still passes: %s", row.name, said)
			}
		}
		if after, _ := l.settle(); after != before {
			t.Errorf("%s: %d packets of the client left", row.name, after.packets-before.packets)
		}
		if now := d.session(v.ID); now.UpBytes != billed.UpBytes || now.DownBytes != billed.DownBytes {
			t.Errorf("%s: billed %d bytes", row.name, now.UpBytes+now.DownBytes-billed.UpBytes-billed.DownBytes)
		}
		l.gateway.run("sh", "-c", row.mend)
		eventually(t, soon, row.name+" mended, the client passes", func() error {
			if s := d.status(); !s.Ready || len(s.Degraded) > 0 {
				return fmt.Errorf("%+v", s)
			}
			_, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP)
			return err
		})
	}
}

func TestTheKernelIsDeafAndDumbOnThePorts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for port, before := range map[string]string{"eth0": "0", "eth1": "0"} {
		l.gateway.setting("ipv6/conf/"+port+"/disable_ipv6", before)
	}
	d := l.start()
	d.admit(anHour)
	for _, port := range []string{"eth0", "eth1"} {
		if off := l.gateway.setting("ipv6/conf/" + port + "/disable_ipv6"); off != "1" {
			t.Errorf("disable_ipv6 of %s is %s while gatewayd runs", port, off)
		}
		if said := l.gateway.run("ip", "-6", "addr", "show", "dev", port); strings.TrimSpace(said) != "" {
			t.Errorf("%s has %s", port, said)
		}
	}
	// The gateway's namespace has an address that nobody but its kernel knows of.
	l.gateway.run("ip", "addr", "add", "192.0.2.77/32", "dev", "lo")
	for _, row := range []struct {
		from    *namespace
		name    string
		command string
		answers bool
	}{
		{l.client, "ARP for the gateway", "arping -c 2 -w 2 -I eth0 " + lanIP, true},
		{l.client, "ARP for another address of the LAN", "arping -c 2 -w 1 -I eth0 10.10.0.77", false},
		{l.client, "ARP for the WAN address from the LAN", "arping -c 2 -w 1 -I eth0 " + wanIP, false},
		{l.client, "ARP for an address of the kernel", "arping -c 2 -w 1 -I eth0 192.0.2.77", false},
		{l.server, "ARP for the WAN address", "arping -c 2 -w 2 -I eth0 " + wanIP, true},
		{l.server, "ARP for the LAN address from the WAN", "arping -c 2 -w 1 -I eth0 " + lanIP, false},
		{l.server, "ARP for an address of the kernel, from the WAN", "arping -c 2 -w 1 -I eth0 192.0.2.77", false},
		{l.server, "a ping of the WAN address", "ping -c 2 -i 0.1 -W 1 " + wanIP, false},
		{l.server, "a ping of an address of the kernel", "ip route add 192.0.2.77 via " + wanIP + " && ping -c 2 -i 0.1 -W 1 192.0.2.77", false},
		{l.server, "a ping of the client past the translation", "ip route add 10.10.0.0/16 via " + wanIP + " && ping -c 2 -i 0.1 -W 1 " + clientIP, false},
		{l.server, "a port of the WAN address that nobody asked for", "nping -q --tcp -c 2 --rate 20 -p 22 " + wanIP + " | grep 'Rcvd: [1-9]'", false},
	} {
		if said, err := row.from.try("sh", "-c", row.command); (err == nil) != row.answers {
			t.Errorf("%s: answered %v, want %v: %s", row.name, err == nil, row.answers, said)
		}
	}
	if said := l.gateway.run("ip", "-j", "neigh", "show", "dev", "eth1"); strings.Contains(said, "dst") {
		t.Errorf("the gateway's kernel has learned neighbours: %s", said)
	}
	d.stop()
	for _, port := range []string{"eth0", "eth1"} {
		if off := l.gateway.setting("ipv6/conf/" + port + "/disable_ipv6"); off != "0" {
			t.Errorf("disable_ipv6 of %s is %s after the end, was 0 before", port, off)
		}
	}
	if said, err := l.gateway.try("ip", "link", "show", "dev", "gw-host"); err == nil {
		t.Errorf("the host link is left: %s", said)
	}
}

func TestNoKernelFirewallIsUsed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	l.server.web(serverIP+":80", depot(1e6))
	d.admit(anHour)
	l.client.run("curl", "-sS", "-o", "/dev/null", "http://"+serverIP+"/")
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP)
	if said := l.gateway.tables(); said != "" {
		t.Errorf("nftables hold %s", said)
	}
	if said := strings.TrimSpace(l.gateway.run("conntrack", "-L")); said != "" {
		t.Errorf("the kernel tracks %s", said)
	}
	if n := l.gateway.setting("netfilter/nf_conntrack_count"); n != "0" {
		t.Errorf("the kernel tracks %s connections", n)
	}
	if said, err := l.client.try("conntrack", "-L"); err != nil { // so that an empty answer means something
		t.Error(errors.Join(err, errors.New(said)))
	}
}
