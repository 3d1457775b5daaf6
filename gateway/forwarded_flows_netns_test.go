//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

const forwardedPort = "5201" // of the WAN, and at the client

// comesIn is iperf3 on the WAN that comes to the client by a forward.
func (l *lab) comesIn(args ...string) *program {
	l.t.Helper()
	return l.server.start("iperf3", append([]string{"-c", wanIP, "-p", forwardedPort, "--connect-timeout", "15000", "--forceflush"}, args...)...)
}

// What comes in by forwards is billed to the byte: TCP both ways, datagrams, fragments
// and errors, with one worker and several, over a kill of the forwarder during which the
// forwards change, from other clients and from the client itself.
func TestForwardedFlowsAreBilled(t *testing.T) {
	for _, row := range []struct {
		name     string
		offloads bool
		workers  string
	}{{"one worker", true, "1"}, {"three workers", true, "3"}, {"three workers, offloads off", false, "3"}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			const both = "tcp/" + forwardedPort + " to " + clientIP + ", udp/" + forwardedPort + " to " + clientIP
			const more = both + ", udp/6000-6009 to " + clientIP + ":7000"
			l := newLab(t, "workers: "+row.workers, "metrics: {listen: 127.0.0.1:9464}", "forwards: ["+more+"]")
			l.offloads(row.offloads)
			d := l.start()
			up, down := l.settle()
			v := d.admit(anHour)
			server := l.client.start("iperf3", "-s", "-p", forwardedPort, "--forceflush")
			for _, way := range []string{"-t1", "-t1 -R -P4", "-t1 -u -b50M -l 1000"} {
				server.listensAgain()
				if said := l.comesIn(strings.Fields(way)...).wait(time.Minute); !strings.Contains(said, "iperf Done") {
					t.Fatalf("%s: %s", way, said)
				}
			}
			here, there := l.client.listenUDP(clientIP+":7003"), l.server.listenUDP(serverIP+":0")
			port := &net.UDPAddr{IP: net.ParseIP(wanIP), Port: 6003}
			crosses(t, there, port, here, there.LocalAddr(), 4000) // in fragments, out of nowhere
			crosses(t, here, there.LocalAddr(), there, port, 4000)
			check(t, l.server.do(func() error { return refusedAt(wanIP + ":6004") })) // nobody listens there

			bob := l.neighbour(bobMAC, bobIP)
			of := d.sellTo(bobMAC, bobIP, anHour)
			d.must("POST", "/devices/"+bobMAC+"/connect", "", nil)
			atBob := bob.listenUDP(bobIP + ":0")
			crosses(t, atBob, port, here, mapping(t, atBob, there), 100)
			own := l.client.listenUDP(clientIP + ":0")
			crosses(t, own, port, here, mapping(t, own, there), 100)

			// What turned round did not arrive on the WAN.
			bill := func() (billed, arrived uint64) {
				atServer, atClients := l.settle()
				for _, id := range []int64{v.ID, of.ID} {
					s := d.session(id)
					billed += s.UpBytes + s.DownBytes
				}
				s := l.scraped()
				check(t, s.balance())
				return billed, atServer.bytes - up.bytes + atClients.bytes - down.bytes + uint64(s["gateway_hairpin_bytes_total"])
			}
			billed, arrived := bill()
			if billed != arrived {
				t.Errorf("billed %d bytes, %d arrived: %+d", billed, arrived, int64(billed-arrived))
			}

			// The forwarder is killed, and before another is there the ten ports lead to bob.
			server.listensAgain()
			running := l.comesIn("-t3")
			running.says("connected to")
			pid := d.kill("forward")
			d.reload("forwards: [" + both + ", udp/6000-6009 to " + bobIP + ":7000]")
			d.replaced("forward", pid)
			bobs := bob.listenUDP(bobIP + ":7003")
			crosses(t, there, port, bobs, there.LocalAddr(), 100)
			if said := running.wait(time.Minute); !strings.Contains(said, "iperf Done") {
				t.Errorf("after the kill: %s", said)
			}
			check(t, here.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
			if n, from, err := here.ReadFrom(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes of %v, %v, at who had the port", n, from, err)
			}

			if now, since := bill(); since-arrived < now-billed || since-arrived > now-billed+maxUncounted {
				t.Errorf("over the kill billed %d bytes, %d arrived", now-billed, since-arrived)
			}
		})
	}
}

// A pause in the middle of what comes in by a forward: nothing arrives, nothing is
// billed; it goes on with the session. An end is one for good.
func TestAForwardedFlowThatIsPaused(t *testing.T) {
	t.Parallel()
	l := newLab(t, "forwards: [udp/7000 to "+clientIP+"]")
	d := l.start()
	up, down := l.settle()
	v := d.admit(anHour)
	here, there := l.client.listenUDP(clientIP+":7000"), l.server.listenUDP(serverIP+":0")
	port := &net.UDPAddr{IP: net.ParseIP(wanIP), Port: 7000}
	crosses(t, there, port, here, there.LocalAddr(), 1000)
	for _, row := range []struct{ ends, begins string }{{"pause", "resume"}, {"disconnect", "connect"}} {
		d.must("POST", "/devices/"+clientMAC+"/"+row.ends, "", nil)
		u, w := l.settle()
		refused := d.status().Drops["no_grant"]
		for range 50 {
			_, err := there.WriteTo(make([]byte, 1000), port)
			check(t, err)
		}
		eventually(t, soon, "all are refused", func() error {
			if n := d.status().Drops["no_grant"] - refused; n != 50 {
				return fmt.Errorf("%d of 50", n)
			}
			return nil
		})
		if nowUp, nowDown := l.settle(); nowUp != u || nowDown != w {
			t.Errorf("after %s: %+v and %+v arrived, before %+v and %+v", row.ends, nowUp, nowDown, u, w)
		}
		d.must("POST", "/devices/"+clientMAC+"/"+row.begins, "", nil)
		crosses(t, there, port, here, there.LocalAddr(), 1000)
	}
	d.billed(v.ID, up, down)
}

// A forward at one of several WAN addresses is there and nowhere else. A reload that
// takes the address away from under it is not taken over, and says why; with both gone
// what came by it ends.
func TestAForwardAtAnAddressThatGoesAway(t *testing.T) {
	t.Parallel()
	const at = "udp/7000 at " + wan2IP + " to " + clientIP
	l := newLab(t, wanOf(wanIP, wan2IP), "forwards: ["+at+"]")
	d := l.start()
	up, down := l.settle()
	v := d.admit(anHour)
	here, there := l.client.listenUDP(clientIP+":7000"), l.server.listenUDP(serverIP+":0")
	port := &net.UDPAddr{IP: net.ParseIP(wan2IP), Port: 7000}
	silent := func(when string, address string) {
		t.Helper()
		_, err := there.WriteTo([]byte("anybody there?"), &net.UDPAddr{IP: net.ParseIP(address), Port: 7000})
		check(t, err)
		check(t, here.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
		if _, from, err := here.ReadFrom(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: from %v, %v", when, from, err)
		}
	}
	silent("at the other address", wanIP)
	crosses(t, there, port, here, there.LocalAddr(), 1000)
	crosses(t, here, there.LocalAddr(), there, port, 1000)
	l.rewrites(wanOf(wanIP))
	code, err := d.ask("POST", "/reload", "", nil)
	if refused := d.configState().Refused; code/100 == 2 || !strings.Contains(refused, "wan.address") || !strings.Contains(refused, wan2IP) {
		t.Errorf("%d, %v; the status says %q", code, err, refused)
	}
	crosses(t, there, port, here, there.LocalAddr(), 1000)
	other := l.client.listenUDP(clientIP + ":7001")
	if r := d.reload(wanOf(wanIP, wan2IP), "forwards: ["+at+":7001]"); fmt.Sprint(r) != "{[forwards] []}" {
		t.Errorf("%+v", r)
	}
	eventually(t, soon, "who came by the forward is led elsewhere", func() error {
		_, err := there.WriteTo([]byte("anybody there?"), port)
		check(t, err)
		check(t, other.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
		_, _, err = other.ReadFrom(make([]byte, 64))
		return err
	})
	// What came while the reload was being taken in may have been led to the old port still.
	for err := error(nil); err == nil; {
		check(t, here.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		_, _, err = here.ReadFrom(make([]byte, 64))
	}
	if r := d.reload(wanOf(wanIP), "forwards: []"); fmt.Sprint(r) != "{[wan.address forwards] []}" {
		t.Errorf("%+v", r)
	}
	silent("with both gone", wan2IP)
	d.billed(v.ID, up, down)
}
