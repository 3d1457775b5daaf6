//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// knock tries everything that a client can try to get out.
func (l *lab) knock() {
	l.t.Helper()
	next := l.nextMAC()
	l.client.run("ip", "-6", "addr", "replace", "fd00::2/64", "dev", "eth0", "nodad")
	l.client.run("ip", "-6", "neigh", "replace", "fd00::1", "lladdr", next, "dev", "eth0")
	l.client.run("ip", "-6", "route", "replace", "default", "via", "fd00::1")
	var knocking sync.WaitGroup
	for _, try := range []string{
		"curl -s -m 1 http://" + serverIP + "/",
		"curl -s -m 1 http://" + routerIP + "/",
		"nping -q --udp -c 5 --rate 100 -p 53,4000 " + serverIP,
		"nping -q --tcp -c 5 --rate 100 --flags ack -p 80 " + serverIP,
		"nping -q --icmp -c 5 --rate 100 " + serverIP,
		"nping -q --icmp --icmp-type 13 -c 2 --rate 100 " + serverIP,
		"ping -c 3 -i 0.1 -W 1 " + serverIP,
		"ping -c 2 -i 0.1 -W 1 -s 4000 " + serverIP,
		"ping -c 2 -i 0.1 -W 1 " + wanIP,
		"ping -6 -c 3 -i 0.1 -W 1 2001:db8::1",
		"ping -6 -c 2 -i 0.1 -W 1 ff02::1%eth0",
		"nping -6 -q --udp -c 3 --rate 100 -p 53 2001:db8::1",
		"dig +time=1 +tries=2 @" + serverIP + " name.example.test",
		"dig +tcp +time=1 +tries=1 @" + serverIP + " name.example.test",
	} {
		words := strings.Fields(try)
		knocking.Go(func() { _, _ = l.client.try(words[0], words[1:]...) }) // that it fails is what is hoped for
	}
	knocking.Wait()
}

// got is the packets of a client that arrived at the server, by kind, since
// before, in words.
func (l *lab) got(before map[string]traffic) (said string, now map[string]traffic) {
	l.t.Helper()
	now = map[string]traffic{}
	for _, kind := range []string{"ip", "ip6", "tcp", "udp", "icmp"} {
		if now[kind] = l.atServer.nft(kind); kind == "ip6" && l.bridges() {
			now[kind], _ = l.wire6() // neighbour discovery passes
		}
		if more := now[kind].packets - before[kind].packets; more != 0 {
			said += fmt.Sprintf(" %d %s", more, kind)
		}
	}
	return said, now
}

func TestNothingPassesBeforeConnect(t *testing.T) {
	t.Parallel()
	t.Run("route", func(t *testing.T) { nothingPassesBeforeConnect(t, newLab) })
	t.Run("bridge", func(t *testing.T) { nothingPassesBeforeConnect(t, newBridge) })
}

func nothingPassesBeforeConnect(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	l.server.start("dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--no-resolv", "--no-hosts", "--pid-file=",
		"--listen-address="+serverIP, "--bind-interfaces", "--address=/name.example.test/192.0.2.7")
	_, before := l.got(nil)
	arrives := func(when string) {
		t.Helper()
		said, now := l.got(before)
		if before = now; said != "" {
			t.Errorf("%s there arrived at the server%s", when, said)
		}
	}

	// Without ARP the first that the gateway hears of the client is a packet.
	l.client.run("ip", "neigh", "replace", l.router, "lladdr", l.nextMAC(), "dev", "eth0")
	l.knock()
	arrives("from an unknown client")
	seen := d.device(clientMAC)
	if seen.IP != clientIP || seen.Connected || seen.Session != nil {
		t.Errorf("an unknown MAC became %+v, want %s, not connected, without session", seen, clientIP)
	}
	if drops := d.status().Drops; drops["no_grant"] == 0 || !l.bridges() && (drops["unknown_client"] == 0 || drops["ipv6"] == 0) {
		t.Errorf("drops %v: want some as no_grant, and on the route, where IPv6 does not tell of the client before, as unknown_client and ipv6", drops)
	}

	d.sell(anHour)
	l.knock()
	arrives("from a client with a session that is not connected")

	d.connect()
	l.client.run("ping", "-c", "2", "-i", "0.2", "-W", "2", serverIP)
	if said, now := l.got(before); said == "" {
		t.Error("nothing is counted at the server of a ping that was answered")
	} else {
		before = now
	}
	answer := l.client.run("dig", "+short", "@"+serverIP, "name.example.test")
	if strings.TrimSpace(answer) != "192.0.2.7" {
		t.Errorf("dig: %q", answer)
	}
	_, before = l.got(before)
	l.client.run("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
	if n := l.atServer.nft("ip6").packets - before["ip6"].packets; n != 0 && !l.bridges() {
		t.Errorf("%d IPv6 packets of a connected client arrived", n)
	}

	d.disconnect()
	l.settle()
	_, before = l.got(before)
	l.knock()
	arrives("after disconnect")
	if said := l.gateway.tables(); said != "" {
		t.Errorf("the gateway's nftables hold %s", said)
	}
}
