//go:build netns

package gateway_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestABorrowedAddressGetsNothing(t *testing.T) {
	t.Parallel()
	const rogueMAC, rogueIP = "02:00:00:00:00:0d", "10.10.0.3"
	l := newLab(t)
	d := l.start()
	rogue := l.neighbour(rogueMAC, rogueIP)
	victim := d.admit(anHour)
	gateway := l.portMAC("eth1").String()
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP)
	_, _ = rogue.try("ping", "-c", "1", "-W", "1", serverIP) // the gateway comes to know it

	const flood = "nping -q -N -c 50 --rate 500 -e eth0 --dest-mac %s --source-mac "
	const world = " --udp -p 9 " + serverIP
	for _, row := range []struct {
		name    string
		drop    string // what becomes of the packets
		command string
	}{
		{"the victim's IP from another MAC", "spoofed", flood + rogueMAC + " -S " + clientIP + world},
		{"the victim's IP from an unknown MAC", "spoofed", flood + "02:00:00:00:00:ee -S " + clientIP + world},
		{"the victim's MAC with an address that its holder defends", "spoofed", flood + clientMAC + " -S " + rogueIP + world},
		{"the victim's MAC with an address outside the LAN", "bad_source", flood + clientMAC + " -S 192.0.2.9" + world},
		{"the gateway's own address", "bad_source", flood + clientMAC + " -S " + lanIP + world},
		{"an ARP claim of the victim's address", "", "arping -c 5 -w 2 -U -I eth0 -s " + clientIP + " " + clientIP + "; : %s"},
		{"the victim's IP by a client with a session", "spoofed", flood + rogueMAC + " -S " + clientIP + world},
	} {
		t.Run(row.name, func(t *testing.T) {
			if strings.HasSuffix(row.name, "with a session") {
				d.must("POST", "/devices/"+rogueMAC+"/sessions", anHour, nil)
				d.must("POST", "/devices/"+rogueMAC+"/connect", "", nil)
			}
			rogue.setting("ipv4/ip_nonlocal_bind", "1") // for arping
			up, _ := l.settle()
			before := d.session(victim.ID)
			eventually(t, 2*soon, "a flood is dropped for its reason", func() error { // the first of an unknown MAC are not known as spoofed
				dropped := d.status().Drops[row.drop]
				rogue.run("sh", "-c", fmt.Sprintf(row.command, gateway))
				if now, _ := l.settle(); now != up {
					t.Errorf("%d packets left", now.packets-up.packets)
				}
				if more := d.status().Drops[row.drop] - dropped; row.drop != "" && more < 40 {
					return fmt.Errorf("%d packets were dropped as %s, want 50: %v", more, row.drop, d.status().Drops)
				}
				return nil
			})
			if after := d.session(victim.ID); after.UpBytes != before.UpBytes || after.DownBytes != before.DownBytes {
				t.Errorf("the victim was billed %d bytes", after.UpBytes+after.DownBytes-before.UpBytes-before.DownBytes)
			}
			if v := d.device(clientMAC); v.IP != clientIP || !v.Connected {
				t.Errorf("the victim became %+v", v)
			}
			l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP)
		})
	}
	if v := d.device("3"); v.Connected { // the unknown MAC became a device
		t.Errorf("%+v", v)
	}
	rogue.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP) // with its own address it passes
}

func TestNothingUnaskedComesIn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP)
	here := l.client.listenUDP(clientIP + ":0")
	there := l.server.listenUDP(serverIP + ":0")
	_, err := here.WriteTo([]byte("a mapping"), there.LocalAddr())
	check(t, err)
	check(t, there.SetReadDeadline(time.Now().Add(soon)))
	_, mapped, err := there.ReadFrom(make([]byte, 64))
	check(t, err)
	asked := mapped.(*net.UDPAddr).Port // what the mapping is on the WAN

	_, down := l.settle()
	before := d.session(v.ID)
	gateway := l.portMAC("eth0").String()
	var sending sync.WaitGroup
	send := func(source, kind string) {
		sending.Go(func() {
			if _, err := l.server.try("sh", "-c", fmt.Sprintf("nping -q -N -c 3 --rate 1000 -e eth0 --dest-mac %s --source-mac 02:00:00:00:00:01 -S %s %s %s",
				gateway, source, kind, wanIP)); err != nil {
				t.Error(err)
			}
		})
	}
	strangers := []string{"192.0.2.9", routerIP, clientIP, lanIP, wanIP, "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "169.254.1.1"}
	for _, source := range strangers {
		send(source, fmt.Sprintf("--udp -p %d -g 9", asked)) // the mapping is there, but not for them
	}
	for _, source := range append(strangers, serverIP) {
		for _, kind := range []string{"--udp -p 1-20 -g 9", "--tcp -p 1-20 --flags syn", "--icmp --icmp-type 0", "--icmp --icmp-type 8", "--icmp --icmp-type 3 --icmp-code 1"} {
			send(source, kind)
		}
	}
	sending.Wait()
	if _, now := l.settle(); now != down {
		t.Errorf("%d packets reached the client: %v", now.packets-down.packets, d.status().Drops)
	}
	if after := d.session(v.ID); after.DownBytes != before.DownBytes {
		t.Errorf("billed %d bytes", after.DownBytes-before.DownBytes)
	}
	l.server.run("nping", "-q", "-c", "3", "--rate", "1000", "-S", serverIP, "--udp", "-g", "9", "-p", fmt.Sprint(asked), wanIP)
	if _, now := l.settle(); now == down { // so that the silence before means something
		t.Errorf("nothing of whom the client spoke to reached it: %v", d.status().Drops)
	}
}
