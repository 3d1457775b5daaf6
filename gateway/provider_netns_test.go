//go:build netns

package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wire is the way from the gateway to a shop. It can be slow, or cut.
type wire struct {
	shop http.Handler
	how  atomic.Value // of wireOpen and the others
}

const (
	wireOpen = "open"
	wireSlow = "slow" // 30 s for each answer
	wireCut  = "cut"
)

func (w *wire) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	switch w.how.Load() {
	case wireSlow:
		select {
		case <-time.After(30 * time.Second):
		case <-r.Context().Done():
		}
		http.Error(to, "too late", http.StatusGatewayTimeout)
	case wireCut:
		if c, _, err := http.NewResponseController(to).Hijack(); err == nil {
			c.Close()
		}
	default:
		w.shop.ServeHTTP(to, r)
	}
}

// A provider that takes 30 s to answer, and then dies while one of its sessions
// runs, keeps nobody's packet waiting: not those of the session, and not those of
// another client. In the end it has heard of each byte once.
func TestAProviderThatIsSlowAndDies(t *testing.T) {
	t.Parallel()
	const otherMAC, otherIP, wireAt = "02:00:00:00:00:0d", "10.10.0.3", "127.0.0.1:8082"
	bin := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", bin+"/", "./examples/...")
	build.Dir = ".."
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the examples: %v: %s", err, said)
	}
	l := newLab(t)
	l.offloads(false) // each packet is one packet
	l.internet()
	used := l.internetBytes()
	stall := l.openStall(bin)
	way := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: stallAt})
	way.Transport = stall.http.Transport
	between := &wire{shop: way}
	between.how.Store(wireSlow)
	l.gateway.run("ip", "link", "set", "lo", "up")
	l.gateway.web(wireAt, between)
	v := stall.must("POST", "/devices/"+clientMAC+"/sessions", `{"type":1,"data_mb":20,"down_mbits":40,"up_mbits":40}`)
	d := l.portal(bin, "-shop", "http://"+wireAt, "-shop-secret", l.dir+"/secret")

	other := l.neighbour(otherMAC, otherIP)
	d.sellTo(otherMAC, otherIP, anHour)
	d.must("POST", "/devices", `{"mac":"`+clientMAC+`","ip":"`+clientIP+`"}`, nil)
	began := time.Now()
	d.must("POST", "/devices/"+otherMAC+"/connect", "", nil)
	figureOf(t, "connect by the store with a provider that takes 30 s", time.Since(began))
	stream := l.streamOf(other, otherIP, 2*time.Millisecond, 200)
	stream.flows()
	upload := func() {
		t.Helper()
		l.client.run("sh", "-c", "head -c 1000000 /dev/zero | curl -sS -m 50 -o /dev/null --data-binary @- http://"+serverIP+":8080/")
	}

	code, err := d.ask("POST", "/devices/"+clientMAC+"/connect", "", nil)
	if code != http.StatusConflict || err == nil || !strings.Contains(err.Error(), "could not be asked") {
		t.Errorf("connect while nobody knows what the client has: %d %v", code, err)
	}
	between.how.Store(wireOpen)
	eventually(t, 6*soon, "the client is connected", func() error {
		_, err := d.ask("POST", "/devices/"+clientMAC+"/connect", "", nil)
		return err
	})
	if s := d.device(clientMAC).Session; s == nil || s.RemainingData == 0 {
		t.Fatalf("in use is %+v, want the shop's", s)
	}
	upload()
	for _, how := range []string{wireCut, wireSlow} {
		between.how.Store(how)
		upload()
		began = time.Now()
		d.disconnect()
		figureOf(t, "disconnect while the way is "+how, time.Since(began))
		began = time.Now()
		d.connect() // by what the shop said last
		figureOf(t, "connect while the way is "+how, time.Since(began))
		upload()
	}
	eventually(t, 6*soon, "the status says so", func() error {
		if why := strings.Join(d.status().Degraded, "; "); !strings.Contains(why, "provider shop fails") {
			return fmt.Errorf("degraded: %q", why)
		}
		return nil
	})
	between.how.Store(wireOpen)
	upload()
	d.disconnect()
	if sent, arrived := stream.end(); arrived < sent {
		t.Errorf("of the other client's %d datagrams %d arrived, want all", sent, arrived)
	}
	stall.hears(v.ID, used())
	eventually(t, 6*soon, "all is well", func() error {
		d.ask("POST", "/devices/"+clientMAC+"/connect", "", nil)
		if why := strings.Join(d.status().Degraded, "; "); strings.Contains(why, "provider") {
			return fmt.Errorf("degraded: %q", why)
		}
		return nil
	})
}
