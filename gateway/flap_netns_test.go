//go:build netns

package gateway_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// flap is how a port goes and comes back.
type flap struct {
	name string
	away func(s *switches, port string)
	says string // what status says then; empty: it is back too soon
	back func(s *switches, port string)
}

var flaps = []flap{
	{"set down and up",
		func(s *switches, port string) { s.l.gateway.run("ip", "link", "set", port, "down") }, "is down; run: ip link set",
		func(s *switches, port string) { s.l.gateway.run("ip", "link", "set", port, "up") }},
	{"the cable is pulled",
		func(s *switches, port string) { s.ns.run("ip", "link", "set", "to-"+port, "down") }, "has no link: check the cable",
		func(s *switches, port string) { s.ns.run("ip", "link", "set", "to-"+port, "up") }},
	{"removed and made again, the same as it was",
		func(s *switches, port string) { s.unplug(port) }, "no such interface",
		func(s *switches, port string) { s.plugSame(port) }},
	{"replaced at once by one just like it",
		func(s *switches, port string) { s.unplug(port) }, "",
		func(s *switches, port string) { s.plugSame(port) }},
	{"removed and made again with another MAC",
		func(s *switches, port string) { s.unplug(port) }, "no such interface",
		func(s *switches, port string) { s.plug(port, 1500) }},
	{"replaced by one with another MTU",
		func(s *switches, port string) { s.unplug(port) }, "no such interface",
		func(s *switches, port string) { s.plug(port, 1400) }},
	{"moved to another network namespace and back",
		func(s *switches, port string) { s.l.gateway.give(port, s.ns) }, "",
		func(s *switches, port string) { s.ns.give(port, s.l.gateway) }},
}

// passes waits until the stream arrives that was sent after now, and all is
// well, and returns how long the first took.
func (s *stream) passes(d *daemon) time.Duration {
	s.t.Helper()
	began := time.Now()
	number := s.sent.Load() + 1
	var took time.Duration
	eventually(s.t, 3*soon, "the stream passes again", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for n, when := range s.arrived {
			if n >= number && (took == 0 || when.Sub(began) < took) {
				took = when.Sub(began)
			}
		}
		if took == 0 {
			return errNotYet
		}
		return nil
	})
	eventually(s.t, 3*soon, "status says that all is well", func() error {
		if now := d.status(); !now.Ready || len(now.Degraded) > 0 {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	return took
}

func TestPortsComeAndGo(t *testing.T) { inBothModes(t, portsComeAndGo) }

func portsComeAndGo(t *testing.T, newLab makeLab) {
	times := 20
	if soaking() {
		times = 200
	}
	l := newLab(t)
	sw := l.switched()
	l.offloads(true)

	usual := l.start().goroutines()
	d := l.start()
	v := d.admit(anHour)

	s := l.stream(2*time.Millisecond, 200)
	s.passes(d)

	// A mapping and a connection that have to live on.
	here, there := l.client.listenUDP(clientIP+":0"), l.server.listenUDP(serverIP+":0")
	_, err := here.WriteTo([]byte("a mapping"), there.LocalAddr())
	check(t, err)
	check(t, there.SetReadDeadline(time.Now().Add(3*soon)))
	_, mapped, err := there.ReadFrom(make([]byte, 64))
	check(t, err)
	enough := make(chan struct{})
	l.server.web(serverIP+":80", trickle(enough))
	load := l.client.start("curl", "-sSN", "http://"+serverIP+"/")

	children, keeper := d.children(), d.cmd.Process.Pid
	open := descriptors(keeper, children["control"], children["forward"])
	var took []time.Duration
	for i := range times {
		port, f := []string{"eth1", "eth0"}[i/len(flaps)%2], flaps[i%len(flaps)]
		f.away(sw, port)
		if f.says != "" {
			eventually(t, 2*soon, f.name+": status says that "+port+" is away", func() error {
				said := strings.Join(d.status().Degraded, "; ")
				if !strings.Contains(said, "port "+port) || !strings.Contains(said, f.says) {
					return fmt.Errorf("%q, want %q", said, f.says)
				}
				return nil
			})
		}
		f.back(sw, port)
		took = append(took, s.passes(d))
		t.Logf("%s %s: passes after %v", port, f.name, took[i].Round(time.Millisecond))
	}
	slices.Sort(took)
	t.Logf("%d times: median %v, worst %v", times, took[times/2].Round(time.Millisecond), took[times-1].Round(time.Millisecond))

	now := d.children()
	if now["control"] != children["control"] || now["store"] != children["store"] {
		t.Errorf("processes were %v and are %v", children, now)
	}
	eventually(t, soon, "no descriptor is left open", func() error {
		d.http.CloseIdleConnections()
		for i, n := range descriptors(keeper, now["control"], now["forward"]) {
			if n > open[i] {
				return fmt.Errorf("%s had %d descriptors and has %d", []string{"keeper", "control", "forward"}[i], open[i], n)
			}
		}
		return nil
	})
	_, err = there.WriteTo([]byte("unasked"), mapped)
	check(t, err)
	check(t, here.SetReadDeadline(time.Now().Add(3*soon)))
	if _, _, err := here.ReadFrom(make([]byte, 64)); err != nil {
		t.Errorf("the mapping %v is gone: %v", mapped, err)
	}
	close(enough)
	if said := load.wait(time.Minute); !strings.HasSuffix(said, "that is all\n") {
		t.Errorf("the connection brought %s", said)
	}
	sent, arrived := s.end()
	up, down := l.settle()
	after := d.session(v.ID)
	t.Logf("of %d datagrams %d arrived; billed %+d bytes more than arrived up, %+d down", sent, arrived,
		int64(after.UpBytes-up.bytes), int64(after.DownBytes-down.bytes))
	if after.State != "running" {
		t.Errorf("%+v", after)
	}
	for name, n := range d.goroutines() {
		if n > usual[name]+5 { // idle connections come and go
			t.Errorf("%s has %d goroutines, usual are %d", name, n, usual[name])
		}
	}
}

// descriptors is how many each process has open.
func descriptors(pids ...int) (all []int) {
	for _, pid := range pids {
		open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		all = append(all, len(open))
	}
	return all
}

// trickle answers a little at a time until it is enough.
func trickle(enough <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-r.Context().Done():
				return
			case <-enough:
				fmt.Fprintln(w, "that is all")
				return
			case <-time.After(20 * time.Millisecond):
				fmt.Fprint(w, ".")
				w.(http.Flusher).Flush()
			}
		}
	})
}

// goroutines ends gatewayd, one process after the other, and returns how many
// goroutines each of them had.
func (d *daemon) goroutines() map[string]int {
	d.t.Helper()
	d.expected = true
	d.http.CloseIdleConnections()
	pids := d.children()
	n := map[string]int{}
	for _, p := range []struct {
		name string
		pid  int
	}{{"control", pids["control"]}, {"keeper", d.cmd.Process.Pid}} {
		before := len(d.out.String())
		check(d.t, syscall.Kill(p.pid, syscall.SIGQUIT))
		gone(d.t, map[string]int{p.name: p.pid})
		if p.name == "control" {
			d.replaced(p.name, p.pid) // the keeper has more of them while it starts another
			d.http.CloseIdleConnections()
		} else {
			<-d.ended // all that it said is here
		}
		for _, line := range strings.Split(d.out.String()[before:], "\n") {
			if strings.HasPrefix(line, "goroutine ") {
				n[p.name]++
			}
		}
		if n[p.name] < 3 {
			d.t.Fatalf("%s tells of %d goroutines", p.name, n[p.name])
		}
	}
	gone(d.t, d.children())
	gone(d.t, pids)
	return n
}

func TestAReplacedPortIsGivenBackAsItWas(t *testing.T) {
	t.Parallel()
	inBothModes(t, aReplacedPortIsGivenBackAsItWas)
}

func aReplacedPortIsGivenBackAsItWas(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t)
	sw := l.switched()
	d := l.start()
	for port, before := range map[string]string{"eth1": "1", "eth0": "0"} {
		l.gateway.setting("ipv6/conf/default/disable_ipv6", before)
		sw.unplug(port)
		sw.plug(port, 1500)
		eventually(t, 3*soon, port+" is taken", func() error {
			if s := d.status(); !s.Ready || len(s.Degraded) > 0 || l.gateway.setting("ipv6/conf/"+port+"/disable_ipv6") != "1" ||
				d.portMAC(port) != l.portMAC(port).String() {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}
	d.stop()
	for port, before := range map[string]string{"eth1": "1", "eth0": "0"} {
		if now := l.gateway.setting("ipv6/conf/" + port + "/disable_ipv6"); now != before {
			t.Errorf("disable_ipv6 of %s was %s and is %s", port, before, now)
		}
	}
}

// portMAC is what status says of a port.
func (d *daemon) portMAC(name string) string {
	d.t.Helper()
	for _, p := range d.status().Ports {
		if p.Name == name {
			return p.MAC
		}
	}
	return ""
}

// The kernel is given all that it needs to be a router itself, while a client
// without a session keeps trying.
func TestNothingLeavesBesideTheGatewayWhilePortsComeAndGo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sw := l.switched()
	d := l.start()
	d.sell(anHour) // and not connected
	l.client.start("ping", "-q", "-i", "0.01", serverIP)
	stopped := func(port string) {
		t.Helper()
		eventually(t, 3*soon, "admission is stopped for "+port, func() error {
			if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, "admission is stopped: port "+port) {
				return fmt.Errorf("%q", said)
			}
			return nil
		})
	}
	router := func() { // the WAN port, as if it were the kernel's
		l.gateway.run("ip", "addr", "replace", "203.0.113.9/24", "dev", "eth0")
		l.gateway.run("ip", "route", "replace", "default", "via", routerIP)
	}
	for _, row := range []struct {
		name string
		do   func()
	}{
		{"forwarding is turned on", func() {
			l.gateway.run("sysctl", "-w", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
				"net.ipv4.conf.eth1.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0")
			stopped("eth1")
		}},
		{"the WAN port gets an address and a route", func() { router(); stopped("eth0") }},
		{"the LAN port is replaced by one that forwards", func() {
			sw.unplug("eth1")
			sw.plugSame("eth1")
			stopped("eth1")
			l.gateway.run("ip", "link", "set", "eth1", "up")
			l.gateway.run("ip", "addr", "add", "10.10.0.9/16", "dev", "eth1")
		}},
		{"the WAN port is replaced", func() {
			sw.unplug("eth0")
			sw.plugSame("eth0")
			l.gateway.run("ip", "link", "set", "eth0", "up")
			router()
			stopped("eth0")
		}},
		{"the LAN port goes to another namespace and back", func() {
			l.gateway.give("eth1", sw.ns)
			sw.ns.give("eth1", l.gateway)
			stopped("eth1")
			l.gateway.run("ip", "link", "set", "eth1", "up")
		}},
		{"the forwarder is killed", func() {
			pid := d.kill("forward")
			eventually(t, 3*soon, "another one is there", func() error {
				if now := d.children()["forward"]; now == 0 || now == pid {
					return errNotYet
				}
				return nil
			})
		}},
	} {
		row.do()
		time.Sleep(300 * time.Millisecond)
		if n := l.atServer.nft("icmp").packets; n != 0 {
			t.Fatalf("%s: %d packets left", row.name, n)
		}
	}
	d.stop()
	l.gateway.run("ip", "addr", "replace", lanIP+"/16", "dev", "eth1") // which the host link had
	eventually(t, 3*soon, "the kernel forwards when gatewayd does not run", func() error {
		if l.atServer.nft("icmp").packets == 0 {
			return errNotYet // so that the silence before means something
		}
		return nil
	})
}
