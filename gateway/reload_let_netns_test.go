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

// asker is a client that one server has answered, from one of whose ports strangers
// know where it is.
type asker struct {
	name   string
	here   net.PacketConn
	mapped net.Addr // where the server sees it
}

// comes reads what comes to a socket until all of want has, and nothing else. They may
// overtake each other: they are of several flows.
func comes(t *testing.T, at net.PacketConn, want ...string) {
	t.Helper()
	buf := make([]byte, 64)
	for missing := slices.Clone(want); len(missing) > 0; {
		check(t, at.SetReadDeadline(time.Now().Add(soon)))
		n, _, err := at.ReadFrom(buf)
		i := slices.Index(missing, string(buf[:n]))
		if err != nil || i < 0 {
			t.Fatalf("%q came, %v; want %q, of which %q is missing", buf[:n], err, want, missing)
		}
		missing = slices.Delete(missing, i, i+1)
	}
}

// nothing has come to a socket.
func nothing(t *testing.T, at net.PacketConn) {
	t.Helper()
	buf := make([]byte, 64)
	check(t, at.SetReadDeadline(time.Now().Add(time.Millisecond)))
	if n, _, err := at.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q came, %v", buf[:n], err)
	}
}

// Fifty reloads, each of which opens one port of the box and closes another, and
// filters otherwise, beside streams of clients of all workers: what the next packet
// meets is the new config, no datagram of the streams is lost or comes twice, each
// byte is billed once, and no translation is another.
func TestReloadsChangeWhoIsLetIn(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			const times, crowd = 50, 4
			l := newLab(t, fmt.Sprint("workers: ", workers), "host: {ports: none}")
			d := l.start()
			c := d.guests(crowd)
			children := d.children()
			up, down := l.settle()
			upBefore, downBefore := c.billed()

			server, port, address := l.server.listenUDP(serverIP+":0"), l.server.listenUDP(serverIP+":0"), l.server.listenUDP(routerIP+":0")
			box := map[string]net.PacketConn{"8080": l.gateway.listenUDP(lanIP + ":8080"), "8081": l.gateway.listenUDP(lanIP + ":8081")}
			var askers []asker
			var streams []*stream
			for i, n := range c.members {
				ip := fmt.Sprintf("10.10.1.%d", i+1)
				a := asker{name: ip, here: n.listenUDP(ip + ":0")}
				a.mapped = mapping(t, a.here, server)
				askers = append(askers, a)
				s := l.streamOf(n, ip, time.Millisecond, 1000)
				s.flows()
				streams = append(streams, s)
			}
			began, filtered := time.Now(), 0
			for i := range times {
				filtering := []string{"endpoint-independent", "address-and-port", "address"}[i%3]
				passes := [][]string{{"another address", "another port", "the server"}, {"the server"}, {"another port", "the server"}}[i%3]
				open, shut := []string{"8080", "8081"}[i%2], []string{"8081", "8080"}[i%2]
				if r := d.reload("host: {ports: [udp/"+open+"]}", "nat: {filtering: "+filtering+"}"); fmt.Sprint(r) != "{[host.ports nat.filtering] []}" && i > 0 {
					t.Fatalf("reload %d: %+v", i, r)
				}
				for _, a := range askers {
					for _, from := range []struct {
						name string
						conn net.PacketConn
					}{{"another address", address}, {"another port", port}, {"the server", server}} {
						_, err := from.conn.WriteTo([]byte(from.name), a.mapped)
						check(t, err)
					}
					comes(t, a.here, passes...)
					filtered += 3 - len(passes)
					for _, to := range []string{shut, open} {
						_, err := a.here.WriteTo([]byte(a.name), box[to].LocalAddr())
						check(t, err)
					}
					comes(t, box[open], a.name)
					if now := mapping(t, a.here, server); now.String() != a.mapped.String() {
						t.Fatalf("reload %d: %s was %v, and is %v", i, a.name, a.mapped, now)
					}
				}
			}
			took := time.Since(began)
			for _, at := range box {
				nothing(t, at)
			}
			sent := 0
			for _, s := range streams {
				n, arrived := s.end()
				if n < times || arrived != n || s.twice != 0 {
					t.Errorf("%d of %d datagrams arrived, %d twice", arrived, n, s.twice)
				}
				sent += n
			}
			t.Logf("%d datagrams beside %d reloads in %v", sent, times, took)
			u, w := l.settle()
			gotUp, gotDown := c.billed()
			if gotUp-upBefore != u.bytes-up.bytes || gotDown-downBefore != w.bytes-down.bytes {
				t.Errorf("billed %d up, %d down; arrived %d, %d; drops %v", gotUp-upBefore, gotDown-downBefore, u.bytes-up.bytes, w.bytes-down.bytes, d.status().Drops)
			}
			for _, a := range askers {
				nothing(t, a.here)
			}
			if drops := d.status().Drops; drops["local_closed"] != times*crowd || drops["filtered"] != uint64(filtered) {
				t.Errorf("drops %v, want %d as local_closed and %d as filtered", drops, times*crowd, filtered)
			}
			if now := d.children(); fmt.Sprint(now) != fmt.Sprint(children) {
				t.Errorf("the processes were %v, and are %v", children, now)
			}
			if n := strings.Count(d.out.String(), "child ended"); n > 0 || l.txDropped() != 0 {
				t.Errorf("%d children ended, the ports dropped %d packets", n, l.txDropped())
			}

			// Whoever comes after a forwarder or a control that died goes by the same.
			for _, child := range []string{"forward", "control"} {
				d.replaced(child, d.kill(child))
				for _, to := range []string{"8080", "8081"} {
					_, err := askers[0].here.WriteTo([]byte(child), box[to].LocalAddr())
					check(t, err)
				}
				comes(t, box["8081"], child)
				nothing(t, box["8080"])
			}
		})
	}
}
