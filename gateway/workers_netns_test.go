//go:build netns

package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// guests are some clients on one cable, each with a session.
type guests struct {
	d       *daemon
	members []*namespace
	macs    []string
	ids     []int64
}

// guests makes clients beside the first one, enough that each worker has some.
func (d *daemon) guests(n int) *guests {
	d.t.Helper()
	c := &guests{d: d}
	for i := range n {
		mac, ip := fmt.Sprintf("02:00:00:00:01:%02x", i), fmt.Sprintf("10.10.1.%d", i+1)
		v := d.sellTo(mac, ip, anHour)
		d.must("POST", "/devices/"+mac+"/connect", "", nil)
		c.members = append(c.members, d.l.neighbour(mac, ip))
		c.macs, c.ids = append(c.macs, mac), append(c.ids, v.ID)
	}
	return c
}

// billed is what all members are billed.
func (c *guests) billed() (up, down uint64) {
	c.d.t.Helper()
	for _, id := range c.ids {
		v := c.d.session(id)
		up, down = up+v.UpBytes, down+v.DownBytes
	}
	return up, down
}

// each has every member run a program at once, to its good end.
func (c *guests) each(name string, args ...string) (said []string) {
	c.d.t.Helper()
	var running []*program
	for _, n := range c.members {
		running = append(running, n.start(name, args...))
	}
	for i, p := range running {
		said = append(said, p.wait(4*soon))
		if p.cmd.ProcessState.ExitCode() != 0 {
			c.d.t.Errorf("%s %v: %s ended with %v: %s", c.macs[i], args, name, p.cmd.ProcessState, said[i])
		}
	}
	return said
}

// Several workers do for many clients what one does: every kind of packet finds its
// way and every bill is what arrived, also after the forwarder was killed and a port
// went down and up.
func TestSeveralWorkers(t *testing.T) { inBothModes(t, severalWorkers) }

func severalWorkers(t *testing.T, newLab makeLab) {
	t.Parallel()
	for _, workers := range []int{2, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, fmt.Sprint("workers: ", workers))
			l.server.setting("ipv4/icmp_ratelimit", "0") // all clients are one address to it
			d := l.start()
			l.server.web(serverIP+":80", depot(3e6))
			c := d.guests(8)
			up, down := l.settle()
			upBefore, downBefore := c.billed()

			exact := func(when string) {
				t.Helper()
				u, w := l.settle()
				gotUp, gotDown := c.billed()
				if gotUp-upBefore != u.bytes-up.bytes || gotDown-downBefore != w.bytes-down.bytes {
					t.Errorf("%s: billed %d up, %d down; arrived %d, %d; drops %v", when, gotUp-upBefore, gotDown-downBefore,
						u.bytes-up.bytes, w.bytes-down.bytes, d.status().Drops)
				}
			}
			law := func(when string) {
				t.Helper()
				if err := l.scraped().balance(); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			all := func(when string) {
				t.Helper()
				c.each("curl", "-sS", "-m", "60", "-o", "/dev/null", "http://"+serverIP+"/")
				c.each("ping", "-q", "-c", "5", "-i", "0.05", "-w", "30", serverIP)
				c.each("ping", "-q", "-c", "3", "-i", "0.05", "-s", "4000", "-w", "30", serverIP) // fragments
				exact(when)
				law(when)
			}
			all("at first")
			hops := []string{" 1  " + lanIP, " 2  " + serverIP}
			if l.bridges() { // which is no hop
				hops = []string{" 1  " + serverIP}
			}
			for i, said := range c.each("traceroute", "-n", "-q", "1", "-w", "5", "-m", "4", serverIP) {
				if slices.ContainsFunc(hops, func(hop string) bool { return !strings.Contains(said, hop) }) {
					t.Errorf("%s: traceroute: %s", c.macs[i], said)
				}
			}
			pid := d.kill("forward")
			law("killed")
			d.replaced("forward", pid)
			law("again")
			up, down = l.settle()
			upBefore, downBefore = c.billed()
			all("after a kill of forward")

			for _, port := range []string{"eth1", "eth0"} {
				l.gateway.run("ip", "link", "set", port, "down")
				l.gateway.run("ip", "link", "set", port, "up")
			}
			d.sound()
			law("sound")
			eventually(t, soon, "the first one passes", func() error {
				_, err := c.members[0].try("ping", "-c", "1", "-W", "1", serverIP)
				return err
			})
			up, down = l.settle()
			upBefore, downBefore = c.billed()
			all("after both ports were down")
			for _, mac := range c.macs {
				if code, out, errs := l.command("why", mac, "--socket", d.l.dir+"/gatewayd.sock"); code != 0 || !strings.Contains(out, "is online") {
					t.Errorf("why %s: %d %s%s", mac, code, out, errs)
				}
			}
			drops := d.status().Drops
			if n := drops["handover_full"] + drops["stray_fragment"] + drops["unknown_client"]; n != 0 {
				t.Errorf("dropped %v", drops)
			}
			law("at last")
			if n := l.txDropped(); n != 0 {
				t.Errorf("the ports dropped %d packets", n)
			}
		})
	}
}
