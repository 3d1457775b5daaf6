//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// WAN addresses of these tests beside wanIP, and clients beside the client and bob.
const (
	wan2IP   = "203.0.113.3"
	wan3IP   = "203.0.113.4"
	carolMAC = "02:00:00:00:00:0d"
	carolIP  = "10.10.0.13"
)

// wanOf is the config's line of a WAN with these addresses.
func wanOf(ips ...string) string {
	return "wan: {interface: eth0, address: [" + strings.Join(ips, "/24, ") + "/24], gateway: " + routerIP + "}"
}

// natAddresses is how many mappings each WAN address has, as the status says.
func (d *daemon) natAddresses() (list []string, mappings map[string]int) {
	d.t.Helper()
	var s struct {
		NAT struct {
			Addresses []struct {
				Address  string
				Mappings int
			}
		}
	}
	d.must("GET", "/status", "", &s)
	mappings = map[string]int{}
	for _, a := range s.NAT.Addresses {
		list = append(list, a.Address)
		mappings[a.Address] = a.Mappings
	}
	return list, mappings
}

// customer is a client with sockets.
type customer struct {
	ip    string
	at    *namespace
	socks []net.PacketConn
}

// seenAs sends from all sockets of a customer, and fails unless all come from one
// address, which it returns.
func (c *customer) seenAs(t *testing.T, there net.PacketConn) (address string) {
	t.Helper()
	for _, s := range c.socks {
		own := mapping(t, s, there).(*net.UDPAddr).IP.String()
		if address == "" {
			address = own
		}
		if own != address {
			t.Fatalf("%s is seen as %s and as %s", c.ip, address, own)
		}
	}
	return address
}

// Three WAN addresses: each client is seen as one of them, all of them are in use. A
// reload takes one away: what went by it ends, its client goes on by another at once,
// the others lose no datagram, all bills are what the wires carried, to the byte. A
// reload that brings it back does nothing to anybody, and newcomers go there.
func TestSeveralWANAddresses(t *testing.T) {
	t.Parallel()
	all := []string{wanIP, wan2IP, wan3IP}
	l := newLab(t, wanOf(all...))
	d := l.start()
	customers := []*customer{
		{ip: clientIP, at: l.client},
		{ip: bobIP, at: l.neighbour(bobMAC, bobIP)},
		{ip: carolIP, at: l.neighbour(carolMAC, carolIP)},
	}
	sold := []session{d.admit(anHour), d.sellTo(bobMAC, bobIP, anHour), d.sellTo(carolMAC, carolIP, anHour)}
	d.must("POST", "/devices/"+bobMAC+"/connect", "", nil)
	d.must("POST", "/devices/"+carolMAC+"/connect", "", nil)
	up, down := l.settle()

	there := l.server.listenUDP(serverIP + ":0")
	by := map[string]*customer{}
	for i, c := range customers {
		for range 34 - i { // about a hundred
			c.socks = append(c.socks, c.at.listenUDP(c.ip+":0"))
		}
		by[c.seenAs(t, there)] = c
	}
	if len(by) != len(all) {
		t.Fatalf("three clients are seen as %d addresses", len(by))
	}
	eventually(t, soon, "the status says how many mappings each address has", func() error {
		list, mappings := d.natAddresses()
		if !slices.Equal(list, all) {
			t.Fatalf("addresses %v", list)
		}
		for _, ip := range all {
			if mappings[ip] < 32 {
				return fmt.Errorf("%v", mappings)
			}
		}
		return nil
	})

	gone := customers[0].seenAs(t, there)
	stay := slices.DeleteFunc(slices.Clone(all), func(ip string) bool { return ip == gone })
	connection := l.talk()
	connection.says(1)
	streams := []*stream{
		l.streamOf(customers[1].at, bobIP, 200*time.Microsecond, 500), l.streamOf(customers[2].at, carolIP, 200*time.Microsecond, 500),
	}
	for _, s := range streams {
		s.flows()
	}
	before := map[*customer]string{customers[1]: customers[1].seenAs(t, there), customers[2]: customers[2].seenAs(t, there)}

	if r := d.reload(wanOf(stay...)); fmt.Sprint(r) != "{[wan.address] []}" {
		t.Errorf("%+v", r)
	}
	now := customers[0].seenAs(t, there) // the first datagram, too, or there would be none to wait for
	if now == gone || !slices.Contains(stay, now) {
		t.Errorf("the client is seen as %s, which is gone is %s", now, gone)
	}
	_, err := connection.conn.Write([]byte("anybody there?\n"))
	check(t, err)
	check(t, connection.conn.SetReadDeadline(time.Now().Add(soon)))
	if said, err := connection.answer.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection by %s says %q, %v", gone, said, err)
	}
	l.talk().says(2)
	for c, was := range before {
		if is := c.seenAs(t, there); is != was {
			t.Errorf("%s was seen as %s, and is as %s", c.ip, was, is)
		}
	}
	if list, _ := d.natAddresses(); !slices.Equal(list, stay) {
		t.Errorf("addresses %v, want %v", list, stay)
	}
	if _, err := l.server.try("arping", "-c", "1", "-w", "1", "-I", "eth0", gone); err == nil {
		t.Errorf("%s is answered for", gone)
	}

	if r := d.reload(wanOf(all...)); fmt.Sprint(r) != "{[wan.address] []}" {
		t.Errorf("%+v", r)
	}
	for c, was := range map[*customer]string{customers[0]: now, customers[1]: before[customers[1]], customers[2]: before[customers[2]]} {
		if is := c.seenAs(t, there); is != was {
			t.Errorf("%s was seen as %s, and is as %s", c.ip, was, is)
		}
	}
	const newMAC, newIP = "02:00:00:00:00:0e", "10.10.0.14"
	newcomer := &customer{ip: newIP, at: l.neighbour(newMAC, newIP)}
	sold = append(sold, d.sellTo(newMAC, newIP, anHour))
	d.must("POST", "/devices/"+newMAC+"/connect", "", nil)
	newcomer.socks = []net.PacketConn{newcomer.at.listenUDP(newIP + ":0")}
	if is := newcomer.seenAs(t, there); is != gone {
		t.Errorf("a newcomer is seen as %s, where %s has nobody", is, gone)
	}

	for i, s := range streams {
		if sent, arrived := s.end(); sent != arrived || s.twice != 0 {
			t.Errorf("%s: %d of %d datagrams arrived, %d twice", customers[1+i].ip, arrived, sent, s.twice)
		}
	}
	atServer, atClients := l.settle()
	var billed traffic
	for _, v := range sold {
		is := d.session(v.ID)
		if is.State != "running" {
			t.Errorf("%+v", is)
		}
		billed.bytes += is.UpBytes + is.DownBytes
	}
	if want := atServer.bytes - up.bytes + atClients.bytes - down.bytes; billed.bytes != want {
		t.Errorf("billed %d bytes, the wires carried %d: %+d", billed.bytes, want, int64(billed.bytes-want))
	}
	if s := d.status(); len(s.Degraded) > 0 {
		t.Errorf("degraded: %v", s.Degraded)
	}
}

// Another network on the WAN, with another router, by a reload: clients go on.
func TestAnotherWANNetworkAtReload(t *testing.T) {
	t.Parallel()
	const otherRouter, otherIP = "192.0.2.1", "192.0.2.9"
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	up, down := l.settle()
	there, here := l.server.listenUDP(serverIP+":0"), l.client.listenUDP(clientIP+":0")
	if from := mapping(t, here, there).(*net.UDPAddr).IP.String(); from != wanIP {
		t.Fatalf("seen as %s", from)
	}
	l.server.run("ip", "addr", "add", otherRouter+"/28", "dev", "eth0")
	if r := d.reload("wan: {interface: eth0, address: " + otherIP + "/28, gateway: " + otherRouter + "}"); fmt.Sprint(r) != "{[wan.address wan.gateway] []}" {
		t.Errorf("%+v", r)
	}
	if from := mapping(t, here, there).(*net.UDPAddr).IP.String(); from != otherIP {
		t.Errorf("seen as %s", from)
	}
	connection := l.talk()
	connection.says(1)
	d.replaced("forward", d.kill("forward"))
	connection.says(2)
	d.replaced("control", d.kill("control"))
	connection.says(3)
	if s := d.status(); len(s.Degraded) > 0 {
		t.Errorf("degraded: %v", s.Degraded)
	}
	d.billed(v.ID, up, down)
}
