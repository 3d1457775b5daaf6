//go:build netns

package gateway_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const wanByDHCP = "wan: {interface: eth0, address: dhcp}"

// pool is what a DHCP server on the WAN gives, for lasts seconds; it is asked again after
// five, anybody after eight.
type pool struct {
	net   string // first three octets; .1 is the server and the router, .50 to .60 are given
	lasts int
}

var (
	thePool   = pool{"203.0.113", 120}
	otherPool = pool{"192.0.2", 120}
)

// gives starts a DHCP server on the WAN by name.
func (l *lab) gives(server string, p pool, more ...string) *program {
	l.t.Helper()
	leases := filepath.Join(l.dir, fmt.Sprintf("%s-%s.leases", server, p.net))
	if server == "dnsmasq" {
		return l.server.start(server, append([]string{"-d", "-C", "/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces", "--user=root", "--no-ping", "--dhcp-authoritative",
			"--dhcp-leasefile=" + leases, fmt.Sprintf("--dhcp-range=%s.50,%s.60,255.255.255.0,%d", p.net, p.net, p.lasts),
			"--dhcp-option=option:T1,5", "--dhcp-option=option:T2,8"}, more...)...)
	}
	config := filepath.Join(l.dir, "dhcpd-"+p.net)
	check(l.t, os.WriteFile(config, fmt.Appendf(nil, `authoritative; ping-check false; default-lease-time %d; max-lease-time %d; min-lease-time %d;
subnet %s.0 netmask 255.255.255.0 { range %s.50 %s.60; option routers %s.1; option dhcp-renewal-time 5; option dhcp-rebinding-time 8; }
`, p.lasts, p.lasts, p.lasts, p.net, p.net, p.net, p.net), 0o600))
	file, err := os.OpenFile(leases, os.O_CREATE|os.O_WRONLY, 0o600)
	check(l.t, err)
	file.Close()
	return l.server.start(server, "-4", "-f", "-d", "-cf", config, "-lf", leases, "--no-pid", "eth0")
}

// leased is what the status says of the WAN's address.
type leased struct {
	State, Address, Router, Server, Trouble string
	degraded                                []string
	own                                     []string // where the packet path is
}

func (d *daemon) leased() leased {
	d.t.Helper()
	var s struct {
		Lease    *leased
		Degraded []string
	}
	d.must("GET", "/status", "", &s)
	if s.Lease == nil {
		s.Lease = &leased{}
	}
	s.Lease.degraded = s.Degraded
	s.Lease.own, _ = d.natAddresses()
	return *s.Lease
}

// has waits until the gateway is at an address of a pool, and well, and returns it.
func (d *daemon) has(p pool, patience time.Duration) (ip string) {
	d.t.Helper()
	eventually(d.t, patience, "an address of "+p.net, func() error {
		s := d.leased()
		prefix, err := netip.ParsePrefix(s.Address)
		if err != nil || !strings.HasPrefix(s.Address, p.net+".") || prefix.Bits() != 24 || s.Router != p.net+".1" || s.Server != p.net+".1" ||
			!slices.Equal(s.own, []string{prefix.Addr().String()}) || len(s.degraded) > 0 {
			return fmt.Errorf("%+v", s)
		}
		ip = prefix.Addr().String()
		return nil
	})
	return ip
}

// complains waits until the gateway is degraded for a reason with words in it.
func (d *daemon) complains(words string, patience time.Duration) (s leased) {
	d.t.Helper()
	eventually(d.t, patience, "it is degraded: "+words, func() error {
		if s = d.leased(); !strings.Contains(strings.Join(s.degraded, "\n"), words) {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	return s
}

// pingsOut waits until the client's pings are answered.
func (l *lab) pingsOut() {
	l.t.Helper()
	eventually(l.t, 3*soon, "a ping is answered", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP)
		return err
	})
}

// leaseTalk is what of DHCP the server's counter has counted: what the gateway asked, and
// what the server itself told everybody, which its kernel gives back to it without an
// Ethernet header.
func (l *lab) leaseTalk() traffic {
	l.t.Helper()
	asked, back := l.atServer.nft("lease"), l.atServer.nft("looped")
	return traffic{asked.packets + back.packets, asked.bytes + back.bytes - 14*back.packets}
}

// beforeDHCP is what has arrived at the far ends beside the gateway's own questions.
func (l *lab) beforeDHCP() (up, down traffic) {
	l.t.Helper()
	up, down = l.settle()
	own := l.leaseTalk()
	return traffic{up.packets - own.packets, up.bytes - own.bytes}, down
}

// billedBesideDHCP compares a bill with what arrived beside the gateway's own questions.
func (d *daemon) billedBesideDHCP(id int64, up, down traffic) {
	d.t.Helper()
	var now, own traffic
	var v session
	eventually(d.t, 3*soon, "the bill is what arrived", func() error {
		upNow, downNow := d.l.settle()
		own = d.l.leaseTalk()
		now = traffic{upNow.packets - up.packets - own.packets, upNow.bytes - up.bytes - own.bytes}
		v = d.session(id)
		if v.UpBytes != now.bytes || v.DownBytes != downNow.bytes-down.bytes {
			return fmt.Errorf("billed %d and %d bytes; there arrived %d and %d, and %d of DHCP", v.UpBytes, v.DownBytes, now.bytes, downNow.bytes-down.bytes, own.bytes)
		}
		return nil
	})
	if own.packets == 0 {
		d.t.Error("no DHCP was seen")
	}
	check(d.t, d.l.scraped().balance())
	d.t.Logf("billed %d up, %d down, beside %d bytes of DHCP", v.UpBytes, v.DownBytes, own.bytes)
}

// moves gives the WAN's network another number.
func (l *lab) moves(from, to pool) {
	l.server.run("ip", "addr", "add", to.net+".1/24", "dev", "eth0")
	l.server.run("ip", "addr", "del", from.net+".1/24", "dev", "eth0")
}

// The WAN's address comes by DHCP: late, again and again, over deaths, from another network.
// Sessions run on, and the bill is what arrived.
func TestWANByDHCP(t *testing.T) {
	for _, row := range []struct{ server, workers string }{{"dnsmasq", "1"}, {"dhcpd", "1"}, {"dnsmasq", "3"}} {
		t.Run(row.server+", workers "+row.workers, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, wanByDHCP, "workers: "+row.workers, "metrics: {listen: 127.0.0.1:9464}")
			d := l.start()
			v := d.admit(anHour)
			d.complains("has no address on the WAN", 2*soon)
			if said, err := l.client.try("ping", "-c", "2", "-i", "0.1", "-W", "1", serverIP); err == nil {
				t.Fatalf("without an address: %s", said)
			}
			if s := d.leased(); s.State != "selecting" || s.Address != "" || len(s.own) > 0 {
				t.Errorf("without a server: %+v", s)
			}
			d.saysOf(clientIP, "route", "check the cable of eth0", "is NOT online", "has no address on the WAN")
			up, down := l.beforeDHCP() // what it answered the client is nobody's
			server := l.gives(row.server, thePool)
			own := d.has(thePool, 6*soon) // the next question may be half a minute away
			l.pingsOut()

			goesOn := l.talk()
			acks := func() int { return strings.Count(server.out.String(), "DHCPACK") }
			before := acks()
			l.iperfServer()
			l.client.run("iperf3", "-c", serverIP, "-t", "12", "-b", "20M", "-R")
			if n := acks() - before; n < 2 {
				t.Errorf("renewed %d times in 12 s: %s", n, server.out.String())
			}
			if n := strings.Count(server.out.String(), "DHCPDISCOVER"); n > 2 {
				t.Errorf("asked for anew %d times: %s", n, server.out.String())
			}
			for i, who := range []string{"control", "forward"} {
				l.settle() // a forwarder that is killed with a batch in flight does not bill it
				d.replaced(who, d.kill(who))
				if is := d.has(thePool, 2*soon); is != own {
					t.Errorf("%s after a kill of %s, before it %s", is, who, own)
				}
				goesOn.says(i)
			}

			server.end()
			l.server.run("ip", "link", "set", "eth0", "down")
			l.moves(thePool, otherPool)
			l.server.run("ip", "link", "set", "eth0", "up")
			server = l.gives(row.server, otherPool)
			d.has(otherPool, 6*soon)
			l.pingsOut()
			if n := strings.Count(server.out.String(), "DHCPNAK"); n == 0 {
				t.Errorf("the server has refused nothing: %s", server.out.String())
			}
			if now := d.session(v.ID); now.State != "running" {
				t.Errorf("the session is %+v", now)
			}
			d.billedBesideDHCP(v.ID, up, down)
		})
	}
}

// A gateway that starts again asks whether its address is still its own; when nobody
// answers it is, to the end of the lease, and no longer.
func TestALeaseOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	l := newLab(t, wanByDHCP)
	server := l.gives("dhcpd", pool{thePool.net, 40})
	d := l.start()
	v := d.admit(anHour)
	own := d.has(thePool, 3*soon)
	l.pingsOut()
	discovered := strings.Count(server.out.String(), "DHCPDISCOVER")
	for _, how := range []string{"ended", "killed"} {
		if how == "ended" {
			d.stop()
		} else {
			check(t, d.cmd.Process.Kill())
			d.expected = true
			d.wait(2 * soon)
		}
		d = l.start()
		if is := d.has(thePool, 3*soon); is != own {
			t.Errorf("%s: it has %s, before %s", how, is, own)
		}
		l.pingsOut()
	}
	if n := strings.Count(server.out.String(), "DHCPDISCOVER"); n != discovered {
		t.Errorf("asked for anew %d times: %s", n-discovered, server.out.String())
	}
	server.end()
	d.stop()
	d = l.start()
	d.complains("no DHCP server answers", 6*soon)
	eventually(t, 6*soon, "the former address is in force", func() error {
		if s := d.leased(); !slices.Equal(s.own, []string{own}) {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	l.pingsOut()
	d.complains("has ended", 12*soon)
	if s := d.leased(); len(s.own) > 0 {
		t.Errorf("after its end: %+v", s)
	}
	if out, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP); err == nil {
		t.Errorf("after its end: %s", out)
	}
	l.gives("dhcpd", thePool)
	d.has(thePool, 12*soon)
	l.pingsOut()
	if now := d.session(v.ID); now.State != "running" {
		t.Errorf("the session is %+v", now)
	}
}

// station is another one on the WAN, with an address.
func (l *lab) station(ip string) *namespace {
	l.t.Helper()
	n := l.server.beside(nil)
	n.run("ip", "link", "set", "eth0", "up")
	n.run("ip", "addr", "add", ip+"/24", "dev", "eth0")
	return n
}

// An address that somebody on the WAN has is declined, before it is in force and after.
func TestAnAddressInUseIsDeclined(t *testing.T) {
	t.Parallel()
	l := newLab(t, wanByDHCP)
	const taken = "203.0.113.50"
	other := l.station(taken)
	server := l.gives("dnsmasq", thePool, fmt.Sprintf("--dhcp-host=%s,%s", l.portMAC("eth0"), taken))
	d := l.start()
	d.admit(anHour)
	own := d.has(thePool, 8*soon)
	if n := strings.Count(server.out.String(), "DHCPDECLINE"); n != 1 || own == taken {
		t.Errorf("%d times declined, and it has %s: %s", n, own, server.out.String())
	}
	l.pingsOut()
	other.run("ip", "addr", "add", own+"/32", "dev", "eth0")
	other.run("arping", "-U", "-c", "1", "-I", "eth0", own)
	time.Sleep(time.Second) // it is defended, and stays
	if is := d.has(thePool, soon); is != own {
		t.Errorf("claimed once, and it has %s", is)
	}
	other.run("arping", "-U", "-c", "1", "-I", "eth0", own)
	eventually(t, soon, "it is declined", func() error {
		if s := d.leased(); strings.Count(server.out.String(), "DHCPDECLINE") != 2 || len(s.own) > 0 || !strings.Contains(s.Trouble, "is in use by") {
			return fmt.Errorf("%+v: %s", s, server.out.String())
		}
		return nil
	})
	if is := d.has(thePool, 8*soon); is == own {
		t.Errorf("it has %s again", is)
	}
	l.pingsOut()
}

// What a server offers that the gateway cannot do with is not taken, and said; nor is a
// router that it does not name made up.
func TestALeaseOfNoUse(t *testing.T) {
	t.Parallel()
	l := newLab(t, wanByDHCP)
	inside := pool{"10.10.7", 120} // the clients' network
	l.moves(thePool, inside)
	server := l.gives("dnsmasq", inside)
	d := l.start()
	s := d.complains("is of no use", 3*soon)
	if len(s.own) > 0 || !strings.Contains(strings.Join(s.degraded, "\n"), "overlaps") {
		t.Errorf("%+v", s)
	}
	server.end()
	l.moves(inside, thePool)
	server = l.gives("dnsmasq", thePool, "--dhcp-option=3")
	if s = d.complains("names no router", 8*soon); len(s.own) != 1 || s.Router != "" {
		t.Errorf("%+v", s)
	}
	d.admit(anHour)
	d.saysOf(clientIP, "route", "have it name one", "is NOT online", "names no router")
	eventually(t, 3*soon, "what is on the WAN's own network answers", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", routerIP)
		return err
	})
	server.end()
	l.gives("dnsmasq", thePool)
	d.has(thePool, 6*soon)
	l.pingsOut()
	d.saysOf(clientIP, "", "", "is online")
}

// A reload changes between an address of the config and one by DHCP, under a session.
func TestReloadsToDHCPAndBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, "metrics: {listen: 127.0.0.1:9464}")
	static := "wan: " + l.config["wan"]
	d := l.start()
	up, down := l.settle()
	v := d.admit(anHour)
	l.gives("dnsmasq", thePool)
	for range 2 {
		l.pingsOut()
		if r := d.reload(wanByDHCP); !slices.Contains(r.Applied, "wan.address") || len(r.NeedsRestart) > 0 {
			t.Fatalf("%+v", r)
		}
		if s := d.leased(); slices.Contains(s.own, wanIP) {
			t.Errorf("the config's address is in force still: %+v", s)
		}
		d.has(thePool, 3*soon)
		l.pingsOut()
		if r := d.reload(static); !slices.Contains(r.Applied, "wan.address") || len(r.NeedsRestart) > 0 {
			t.Fatalf("%+v", r)
		}
		if s := d.leased(); s.State != "" || !slices.Equal(s.own, []string{wanIP}) {
			t.Errorf("by the config: %+v", s)
		}
	}
	l.pingsOut()
	d.billedBesideDHCP(v.ID, up, down)
}

// A flood of made-up answers of DHCP servers moves no address, and costs nobody anything.
func TestForgedAnswersAreAFlood(t *testing.T) {
	t.Parallel()
	l := newLab(t, wanByDHCP, "metrics: {listen: 127.0.0.1:9464}")
	l.gives("dnsmasq", thePool)
	d := l.start()
	up, down := l.beforeDHCP()
	v := d.admit(anHour)
	own := d.has(thePool, 3*soon)
	l.pingsOut()
	goesOn := l.talk()
	flood := l.server.start("nping", "--udp", "-g", "67", "-p", "68", "--dest-mac", "ff:ff:ff:ff:ff:ff", "--rate", "20000", "-c", "60000",
		"--data-length", "300", "-H", "-q", "-e", "eth0", "-S", routerIP, own)
	for i := range 20 {
		goesOn.says(i)
		time.Sleep(50 * time.Millisecond)
	}
	l.server.web(serverIP+":80", depot(1<<20))
	l.client.run("curl", "-s", "-m", "20", "-o", "/dev/null", "http://"+serverIP+"/")
	flood.wait(12 * soon)
	if is := d.has(thePool, soon); is != own {
		t.Errorf("it has %s, before %s", is, own)
	}
	s := l.scraped()
	if s["gateway_local_packets_total"] < 100 || s[`gateway_drops_total{reason="mail_full"}`] == 0 {
		t.Errorf("%.0f taken, %.0f dropped", s["gateway_local_packets_total"], s[`gateway_drops_total{reason="mail_full"}`])
	}
	d.billedBesideDHCP(v.ID, up, down)
}
