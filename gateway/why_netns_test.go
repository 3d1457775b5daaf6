//go:build netns

package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// why is what the API says of a device.
type why struct {
	Verdict string `json:"verdict"`
	Online  bool   `json:"online"`
	Do      string `json:"do"`
	Steps   []struct {
		Step  string `json:"step"`
		State string `json:"state"`
		Seen  string `json:"seen"`
		Drops []struct {
			Reason  string `json:"reason"`
			Packets uint64 `json:"packets"`
		} `json:"drops"`
	} `json:"steps"`
}

// dropped is how many packets a device lost for a reason.
func (w *why) dropped(reason string) uint64 {
	for _, s := range w.Steps {
		for _, drop := range s.Drops {
			if drop.Reason == reason {
				return drop.Packets
			}
		}
	}
	return 0
}

// saysOf waits until a device's verdict has all parts and what to do has do, and
// the step that decides is the one named.
func (d *daemon) saysOf(key, step, do string, parts ...string) (w why) {
	d.t.Helper()
	eventually(d.t, 3*soon, fmt.Sprintf("why %s says %q", key, parts), func() error {
		w = why{}
		if _, err := d.ask("GET", "/devices/"+key+"/why", "", &w); err != nil {
			return err
		}
		decides := ""
		for _, s := range w.Steps {
			if decides == "" && (s.State == "stops" || w.Online && s.State == "holds") {
				decides = s.Step
			}
		}
		for _, part := range parts {
			if !strings.Contains(w.Verdict, part) {
				return fmt.Errorf("%+v", w)
			}
		}
		if decides != step || !strings.Contains(w.Do, do) || w.Online == strings.Contains(w.Verdict, "NOT online") {
			return fmt.Errorf("%q decides: %+v", decides, w)
		}
		return nil
	})
	return w
}

// Each cause is made for real, and told from all others.
func TestWhySaysWhatHoldsADeviceBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, "limits: {flows_per_client: 64, ports_per_client: 64}")
	d := l.start()
	gateway := l.portMAC("eth1").String()
	knocks := func() { _, _ = l.client.try("ping", "-c", "2", "-i", "0.2", "-W", "1", serverIP) }
	passes := func() { l.client.run("ping", "-c", "2", "-i", "0.2", "-W", "10", serverIP) }

	d.saysOf("02:00:00:00:00:77", "client", "default route "+lanIP, "MAC 02:00:00:00:00:77 is NOT online", "no packet of this MAC has come")
	d.saysOf("10.10.77.77", "client", "gatewayd devices list", "NOT online", "no packet from this address has come")
	d.saysOf("999", "client", "gatewayd devices list", "device 999 is NOT online", "no device has this id")
	if code, err := d.ask("GET", "/devices/kitchen/why", "", nil); code != 404 {
		t.Errorf("why kitchen: %d %v, want 404", code, err)
	}

	knocks()
	w := d.saysOf(clientMAC, "admit", "gatewayd sessions create --device", clientMAC+", "+clientIP, "it has bought no session")
	if w.dropped("no_grant") == 0 {
		t.Errorf("nothing is said to be dropped for want of a session: %+v", w)
	}
	v := d.sell(fmt.Sprintf(megabyte, 0.05))
	d.saysOf(clientMAC, "admit", "gatewayd connect ", fmt.Sprintf("it has session %d (0.05 MB) and was never connected", v.ID))
	d.connect()
	passes()
	d.saysOf(clientMAC, "", "", "is online")
	d.must("POST", "/devices/"+clientMAC+"/pause", "", nil)
	knocks()
	d.saysOf(clientMAC, "admit", "gatewayd resume ", fmt.Sprintf("session %d is paused (asked), with 0.04", v.ID))
	d.disconnect()
	knocks()
	d.saysOf(clientMAC, "admit", "gatewayd connect ", fmt.Sprintf("it is disconnected; session %d has 0.04", v.ID))
	d.connect()
	l.client.run("nping", "-q", "--udp", "-c", "60", "--rate", "200", "--data-length", "1000", "-p", "9", serverIP)
	d.becomes(v.ID, "consumed")
	w = d.saysOf(clientMAC, "admit", "gatewayd sessions create", fmt.Sprintf("session %d is used up: its 0.05 MB have passed", v.ID))
	if w.dropped("data_used_up") != 1 {
		t.Errorf("%d packets are said to have ended it, want 1", w.dropped("data_used_up"))
	}
	short := d.sell(`{"type":"time","time_secs":8,"exp_days":0,"use_global_speed":true}`)
	d.connect()
	d.disconnect()
	d.saysOf(clientMAC, "admit", "gatewayd sessions create", fmt.Sprintf("session %d has expired with ", short.ID))

	slow := d.sell(`{"type":"time","time_secs":3600,"down_mbits":5,"up_mbits":3}`)
	d.connect()
	flood := l.client.start("nping", "-q", "--udp", "-c", "1000000", "--rate", "2000", "--data-length", "1300", "-g", "9000", "-p", "9", serverIP)
	w = d.saysOf(clientMAC, "limit", fmt.Sprintf("gatewayd sessions set %d", slow.ID), "is online, but held back",
		"its plan's speed holds it on the way up", "5 Mbit/s down and 3 Mbit/s up, its session's own", "packets over it dropped")
	flood.end()
	if w.dropped("over_rate") == 0 {
		t.Errorf("nothing is said to be dropped over the rate: %+v", w)
	}
	d.saysOf(clientMAC, "", "", "is online")

	const greedyMAC, greedyIP = "02:00:00:00:00:0e", "10.10.0.14"
	greedy := l.neighbour(greedyMAC, greedyIP)
	d.sellTo(greedyMAC, greedyIP, anHour)
	d.must("POST", "/devices/"+greedyMAC+"/connect", "", nil)
	many := greedy.start("nping", "-q", "--udp", "-c", "10000", "--rate", "300", "-g", "9100", "-p", "2000-2200", serverIP)
	w = d.saysOf(greedyMAC, "nat", "raise these limits", "is online, but held back", "limits.flows_per_client (64)")
	many.end()
	if w.dropped("client_cap") == 0 {
		t.Errorf("no conversation is said to be refused: %+v", w)
	}

	l.server.run("ip", "link", "set", "eth0", "down")
	d.saysOf(clientMAC, "route", "check the cable", "NOT online", "the WAN port eth0 has no link")
	l.server.run("ip", "link", "set", "eth0", "arp", "off", "up")
	d.saysOf(clientMAC, "route", "wan.gateway", "NOT online", "the next router "+routerIP+" does not answer ARP on eth0")
	l.server.run("ip", "link", "set", "eth0", "arp", "on")
	d.sound()
	passes()

	thief := l.neighbour("02:00:00:00:00:0d", clientIP)
	_, _ = thief.try("ping", "-c", "2", "-i", "0.2", "-W", "1", serverIP)
	d.saysOf("02:00:00:00:00:0d", "address", "gatewayd devices show "+clientMAC, "NOT online", "it asked for "+clientIP+", which "+clientMAC+" holds")
	thief.run("ip", "link", "del", "eth0")
	passes()

	foreign := []string{"-q", "-c", "3", "--rate", "20", "-e", "eth0", "--dest-mac", gateway, "--source-mac", clientMAC, "-S", "192.168.7.7", "--udp", "-p", "9", serverIP}
	l.client.run("nping", foreign...)
	w = d.saysOf(clientMAC, "address", lanIP, "NOT online", "it sends from 192.168.7.7, which is no client's address in 10.10.0.0/16")
	if w.dropped("bad_source") != 3 {
		t.Errorf("%d packets are said to have a bad source, want 3", w.dropped("bad_source"))
	}
	passes()
	d.saysOf(clientMAC, "", "", "is online")

	l.client.run("ip", "link", "set", "eth0", "down")
	d.saysOf(clientMAC, "link", "ip link show eth1", "NOT online", "the LAN port eth1 has no link")
	l.client.run("ip", "link", "set", "eth0", "up")
	l.client.run("ip", "route", "replace", "default", "via", lanIP)
	d.sound()
	goOn := d.halt("forward")
	d.saysOf(clientMAC, "link", "gatewayd status", "NOT online", "the forwarder does not run or hangs")
	goOn()
	d.sound()
	passes()
	d.saysOf(clientMAC, "", "", "is online")
	l.whyOnAScreen()
}

// Two clients exchange their addresses. As soon as packets of both pass again nothing
// is said to hold them: what was dropped was dropped before.
func TestWhySaysNothingOfADropThatIsOver(t *testing.T) {
	t.Parallel()
	const otherMAC, otherIP = "02:00:00:00:00:0d", "10.10.0.3"
	l := newLab(t)
	d := l.start()
	other := l.neighbour(otherMAC, otherIP)
	d.admit(anHour)
	d.sellTo(otherMAC, otherIP, anHour)
	d.must("POST", "/devices/"+otherMAC+"/connect", "", nil)
	pings := func(n *namespace) {
		t.Helper()
		eventually(t, 3*soon, "packets pass", func() error {
			_, err := n.try("ping", "-c", "1", "-W", "1", serverIP)
			return err
		})
	}
	pings(l.client)
	pings(other)
	for _, n := range []*namespace{l.client, other} {
		n.run("ip", "addr", "flush", "dev", "eth0")
	}
	for n, ip := range map[*namespace]string{l.client: otherIP, other: clientIP} {
		n.run("ip", "addr", "add", ip+"/16", "dev", "eth0")
		n.run("ip", "route", "replace", "default", "via", lanIP)
	}
	pings(l.client)
	pings(other)
	for mac, ip := range map[string]string{clientMAC: otherIP, otherMAC: clientIP} {
		var w why
		d.must("GET", "/devices/"+mac+"/why", "", &w)
		if !w.Online || !strings.HasSuffix(w.Verdict, mac+", "+ip+") is online") {
			t.Errorf("of %s, whose packets pass: %s; do: %s", mac, w.Verdict, w.Do)
		}
	}
}

// A device on disk that finds no place in the client table is told so, as a stranger is.
func TestWhySaysThatThereIsNoRoomForAKnownDevice(t *testing.T) {
	t.Parallel()
	const otherMAC, otherIP, strangerMAC = "02:00:00:00:00:0d", "10.10.0.3", "02:00:00:00:00:0e"
	l := newLab(t, "limits: {clients: 1}")
	d := l.start()
	other, stranger := l.neighbour(otherMAC, otherIP), l.neighbour(strangerMAC, "10.10.0.4")
	d.sellTo(otherMAC, otherIP, anHour)
	d.admit(anHour)
	for n, mac := range map[*namespace]string{other: otherMAC, stranger: strangerMAC} {
		pinging := n.start("ping", "-i", "0.2", serverIP)
		d.saysOf(mac, "client", "raise limits.clients", "NOT online", "the client table is full")
		pinging.end()
	}
	d.saysOf(clientMAC, "", "", "is online")
}

// whyOnAScreen asks as a person and as a script would.
func (l *lab) whyOnAScreen() {
	l.t.Helper()
	socket := []string{"--socket", l.dir + "/gatewayd.sock"}
	code, screen, _ := l.command(append([]string{"why", clientIP}, socket...)...)
	if code != 0 || !strings.HasPrefix(screen, "device ") || !strings.Contains(strings.SplitN(screen, "\n", 2)[0], " is online") ||
		!strings.Contains(screen, "dropped as no_grant: no session let it pass") || strings.Count(screen, "\n") > 40 {
		l.t.Errorf("exit %d:\n%s", code, screen)
	}
	code, text, _ := l.command(append([]string{"why", "02:00:00:00:00:77", "--json"}, socket...)...)
	var w why
	if err := json.Unmarshal([]byte(text), &w); code != 0 || err != nil || w.Online || len(w.Steps) == 0 {
		l.t.Errorf("exit %d, %v: %s", code, err, text)
	}
	if code, _, said := l.command(append([]string{"why", "kitchen"}, socket...)...); code != 1 || !strings.Contains(said, "kitchen") {
		l.t.Errorf("why kitchen: exit %d: %s", code, said)
	}
	l.t.Logf("why says:\n%s", screen)
}
