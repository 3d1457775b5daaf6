//go:build netns

package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stall is the shop of examples/, in the internet. The gateway reaches it by its
// own way through itself.
type stall struct {
	*program
	l    *lab
	bin  string
	http *http.Client
}

const stallAt, stallSecret = serverIP + ":8081", "between us"

func (l *lab) openStall(bin string) *stall {
	l.t.Helper()
	check(l.t, os.WriteFile(l.dir+"/secret", []byte(stallSecret+"\n"), 0o600))
	s := &stall{l: l, bin: bin, http: &http.Client{Timeout: soon, Transport: &http.Transport{
		DisableKeepAlives: true, // it is closed and opened again
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = l.server.do(func() error {
				c, err = new(net.Dialer).DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}}}
	s.open()
	return s
}

func (s *stall) open() {
	s.l.t.Helper()
	s.program = s.l.server.start(filepath.Join(s.bin, "shop"), "-listen", stallAt, "-file", s.l.dir+"/shop.json", "-secret", s.l.dir+"/secret")
	eventually(s.l.t, 2*soon, "the shop is open", func() error {
		_, err := s.ask("GET", "/devices/"+clientMAC+"/sessions", "")
		return err
	})
}

// sold is a session as the shop has it.
type sold struct {
	ID       string  `json:"id"`
	DataMB   float64 `json:"data_mb"`
	DataCons float64 `json:"data_cons"`
	Sequence uint64  `json:"sequence"`
}

func (s *stall) ask(method, path, body string) (v sold, err error) {
	r, err := http.NewRequest(method, "http://"+stallAt+path, strings.NewReader(body))
	if err != nil {
		return v, err
	}
	r.Header.Set("Authorization", "Bearer "+stallSecret)
	answer, err := s.http.Do(r)
	if err != nil {
		return v, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

func (s *stall) must(method, path, body string) sold {
	s.l.t.Helper()
	v, err := s.ask(method, path, body)
	check(s.l.t, err)
	return v
}

// hears waits until the shop has heard of just so many bytes.
func (s *stall) hears(id string, bytes uint64) {
	s.l.t.Helper()
	eventually(s.l.t, 6*soon, fmt.Sprintf("the shop has heard of %d bytes", bytes), func() error {
		v, err := s.ask("GET", "/sessions/"+id, "")
		if got := math.Round(v.DataCons * 1e6); err == nil && got != float64(bytes) {
			err = fmt.Errorf("it has %+v", v)
		}
		return err
	})
}

// internetBytes counts what the client and the server's web have said to each
// other, at the far ends, and nothing else.
func (l *lab) internetBytes() func() uint64 {
	l.t.Helper()
	for ns, match := range map[*namespace]string{
		l.server: "tcp dport 8080", l.client: "ip saddr " + serverIP + " tcp sport 8080",
	} {
		ns.run("nft", "table netdev web { counter seen {}\nchain in { type filter hook ingress device eth0 priority 0;\n"+match+" counter name seen\n}\n}")
	}
	return func() (sum uint64) {
		l.t.Helper()
		l.settle()
		for _, ns := range []*namespace{l.server, l.client} {
			text := ns.run("nft", "list", "counter", "netdev", "web", "seen")
			var packets, bytes uint64
			if i := strings.Index(text, "packets"); i < 0 {
				l.t.Fatalf("no counter in %s", text)
			} else if _, err := fmt.Sscanf(text[i:], "packets %d bytes %d", &packets, &bytes); err != nil {
				l.t.Fatal(err)
			}
			sum += bytes
		}
		return sum
	}
}

// A session of the portal's own provider is used before local ones. The shop
// hears of each byte once, also of those while it was away.
func portalUsesWhatAShopSells(t *testing.T, bin string) {
	l := newLab(t, "host: {default_route: true}")
	l.offloads(false) // each packet is one packet
	l.internet()
	used := l.internetBytes()
	shop := l.openStall(bin)
	v := shop.must("POST", "/devices/"+clientMAC+"/sessions", `{"type":1,"data_mb":10,"down_mbits":40,"up_mbits":20}`)
	shop.must("POST", "/devices/"+clientMAC+"/sessions", `{"type":0,"time_secs":7200,"down_mbits":7,"up_mbits":2}`)
	d := l.portal(bin, "-shop", "http://"+stallAt, "-shop-secret", l.dir+"/secret")
	d.sell(anHour)
	b := l.client.browse()
	b.open(portalURL)
	b.shows("You have a session", "10.0 MB of 10.0 MB", "40 Mbit/s down, 20 Mbit/s up", "shop", "1 h 00 min of 1 h 00 min",
		"2 h 00 min of 2 h 00 min", "7 Mbit/s down, 2 Mbit/s up")
	both := func(when string) { // the shop's, in the order of their use, and before the local one
		t.Helper()
		var from []string
		b.run(`[...document.querySelectorAll('#sessions ~ ul li')].map((card) => [...card.querySelectorAll('dd')].pop().innerText)`, &from)
		if !slices.Equal(from, []string{"shop", "shop", "local"}) {
			t.Errorf("%s: the page lists sessions from %q", when, from)
		}
	}
	both("at first")
	stays := b.stays()
	d.blocks(l.client)
	upload := func() {
		t.Helper()
		l.client.run("sh", "-c", "head -c 1000000 /dev/zero | curl -sS -m 50 -o /dev/null --data-binary @- http://"+serverIP+":8080/")
	}

	b.click("Connect")
	b.shows("You are online", "in use")
	inUse := func() {
		t.Helper()
		var text string
		b.run(`document.querySelector('.running').innerText`, &text)
		if !strings.Contains(text, "shop") {
			t.Errorf("in use is %q, want the shop's", text)
		}
	}
	inUse()
	both("in use")
	upload()
	d.passes(l.client)
	b.click("Disconnect")
	b.shows("You are offline")
	both("after it")
	d.blocks(l.client)
	shop.hears(v.ID, used())

	shop.must("PATCH", "/sessions/"+v.ID, `{"data_mb":20}`)
	b.click("Connect")
	b.shows("You are online", "of 20.0 MB")
	check(t, shop.cmd.Process.Kill())
	<-shop.ended
	upload()
	d.passes(l.client)
	b.click("Disconnect")
	b.shows("You are offline")
	d.blocks(l.client)
	b.click("Connect") // by what the shop said last
	b.shows("You are online")
	inUse()
	d.passes(l.client)
	upload()
	shop.open()
	d.passes(l.client)
	b.click("Disconnect")
	b.shows("You are offline")
	shop.hears(v.ID, used())
	time.Sleep(time.Second) // a second time would come now
	shop.hears(v.ID, used())
	stays()
}
