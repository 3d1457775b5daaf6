//go:build netns

package gateway_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// fetch has curl ask for a page from somewhere, and says what came.
func (n *namespace) fetch(url string) (said string, err error) {
	n.t.Helper()
	return n.try("curl", "-sS", "--max-time", "5", url)
}

// page serves a page of one line.
func page(line string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s to %s", line, host)
	})
}

// Ports of the WAN lead to a client, from its session's begin to its end, and to the box;
// clients come by them, too; what came in is billed to the byte; a reload changes them.
func TestForwards(t *testing.T) {
	t.Parallel()
	const host, web = "host: {default_route: true}", "tcp/8080 to " + clientIP + ":80"
	l := newLab(t, host, "forwards: ["+web+", udp/5000-5009 to "+clientIP+":6000, tcp/2222 to host:22]")
	d := l.start()
	l.client.web(clientIP+":80", page("the client"))
	l.gateway.web(lanIP+":22", page("the box"))
	_, none := l.settle()
	at := "http://" + wanIP + ":8080/"
	there := l.server.listenUDP(serverIP + ":0")
	to := &net.UDPAddr{IP: net.ParseIP(wanIP), Port: 5007}
	for range 10 {
		_, err := there.WriteTo([]byte("anybody there?"), to)
		check(t, err)
	}
	if _, now := l.settle(); now != none {
		t.Errorf("before login %d packets came in", now.packets-none.packets)
	}

	v := d.admit(anHour)
	up, down := l.settle()
	for range 20 {
		if said, err := l.server.fetch(at); err != nil || said != "the client to "+routerIP {
			t.Fatalf("%q, %v", said, err)
		}
	}
	here := l.client.listenUDP(clientIP + ":6007")
	_, err := there.WriteTo([]byte("anybody there?"), to)
	check(t, err)
	check(t, here.SetReadDeadline(time.Now().Add(soon)))
	_, _, err = here.ReadFrom(make([]byte, 64))
	check(t, err)
	if seen := mapping(t, here, there); seen.String() != wanIP+":5007" {
		t.Errorf("answers from %v", seen)
	}
	d.billed(v.ID, up, down)
	if s := d.session(v.ID); s.DownBytes == 0 || s.UpBytes == 0 {
		t.Errorf("%+v", s)
	}

	if said, err := l.server.fetch("http://" + wanIP + ":2222/"); err != nil || said != "the box to "+routerIP {
		t.Errorf("the box: %q, %v", said, err)
	}
	bob := l.neighbour(bobMAC, bobIP)
	d.sellTo(bobMAC, bobIP, anHour)
	d.must("POST", "/devices/"+bobMAC+"/connect", "", nil)
	if said, err := bob.fetch(at); err != nil || said != "the client to "+wanIP {
		t.Errorf("bob: %q, %v", said, err)
	}

	bob.web(bobIP+":80", page("bob"))
	if r := d.reload(host, "forwards: ["+strings.Replace(web, clientIP, bobIP, 1)+"]"); fmt.Sprint(r) != "{[forwards] []}" {
		t.Errorf("%+v", r)
	}
	eventually(t, soon, "the port leads to bob", func() error {
		if said, err := l.server.fetch(at); err != nil || said != "bob to "+routerIP {
			return fmt.Errorf("%q, %v", said, err)
		}
		return nil
	})
	d.must("POST", "/devices/"+bobMAC+"/disconnect", "", nil)
	if said, err := l.server.fetch(at); err == nil {
		t.Errorf("after bob's session: %s", said)
	}
	if s := d.status(); len(s.Degraded) > 0 {
		t.Errorf("degraded: %v", s.Degraded)
	}
}
