//go:build netns

package gateway_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// web serves in a namespace until the test ends.
func (n *namespace) web(address string, h http.Handler) {
	n.t.Helper()
	var listener net.Listener
	check(n.t, n.do(func() (err error) {
		listener, err = net.Listen("tcp4", address)
		return err
	}))
	server := &http.Server{Handler: h}
	go server.Serve(listener)
	n.t.Cleanup(func() { server.Close() })
}

// noise is bytes that nobody can guess, and their sum.
func noise(n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	source := rand.NewChaCha8([32]byte{1})
	return io.TeeReader(io.LimitReader(source, n), sum), sum
}

// depot serves size bytes of noise at / and takes uploads; each is answered
// with its sum.
func depot(size int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			sum := sha256.New()
			n, _ := io.Copy(sum, r.Body) // a short one is seen in n
			fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
			return
		}
		body, _ := noise(size)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.Copy(w, body) // who is cut off in the middle is no news
	})
}

// iperf runs iperf3 on the client against a server that is there already, and
// returns how many bytes arrived.
func (l *lab) iperf(args ...string) (received uint64) {
	l.t.Helper()
	l.iperf3.listensAgain()
	out, err := l.client.try("iperf3", append([]string{"-J", "-c", serverIP}, args...)...)
	var report struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Bytes float64 `json:"bytes"`
				Rate  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if e := json.Unmarshal([]byte(out), &report); err != nil || e != nil || report.Error != "" {
		l.t.Fatalf("iperf3 %v: %v %v %s", args, err, e, report.Error)
	}
	l.t.Logf("iperf3 %s: %.0f Mbit/s", strings.Join(args, " "), report.End.Received.Rate/1e6)
	return uint64(report.End.Received.Bytes)
}

// iperfServer starts iperf3 at the server.
func (l *lab) iperfServer() {
	l.t.Helper()
	l.iperf3 = l.server.start("iperf3", "-s", "-B", serverIP, "--forceflush")
	l.iperf3.listensAgain()
}

// iperfServers starts an iperf3 at each of the server's addresses.
func (l *lab) iperfServers(at ...string) iperfServers {
	l.t.Helper()
	servers := iperfServers{}
	for _, address := range at {
		servers[address] = l.server.start("iperf3", "-s", "-B", address, "--forceflush")
		servers[address].listensAgain()
	}
	return servers
}

// iperfServers are those that one of its clients can have, by address.
type iperfServers map[string]*program

// test runs iperf3 on n against the server at far.
func (s iperfServers) test(n *namespace, far string, args ...string) {
	n.t.Helper()
	s[far].listensAgain()
	n.run("iperf3", append([]string{"-c", far}, args...)...)
}

// listensAgain waits until iperf3 as a server takes the next client: it serves one at
// a time and calls itself busy to others. It was started with --forceflush.
func (p *program) listensAgain() {
	p.t.Helper()
	eventually(p.t, soon, "iperf3 listens", func() error {
		said := p.out.String()
		if strings.Count(said, "Server listening") <= strings.Count(said, "Accepted connection") {
			return errors.New(said)
		}
		return nil
	})
}

func TestProgramsNobodyHereWroteWork(t *testing.T) {
	for _, row := range []struct {
		name string
		on   bool
	}{{"with offloads", true}, {"without offloads", false}} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t)
			l.offloads(row.on)
			d := l.start()
			d.admit(anHour)

			l.iperfServer()
			for _, way := range []string{"-t1", "-t1 -R", "-t1 -P4", "-t1 -P4 -R", "-t1 -u -b20M", "-t1 -u -b20M -R"} {
				if l.iperf(strings.Fields(way)...) < 1e6 {
					t.Errorf("iperf3 %s: less than a megabyte", way)
				}
			}
			l.curlWithChecksum(100e6)
			said := l.client.run("ping", "-c", "5", "-i", "0.1", "-W", "2", serverIP)
			if !strings.Contains(said, " 5 received") {
				t.Errorf("ping: %s", said)
			}
			for _, how := range []string{"-I", "-U", "-T"} {
				said = l.client.run("traceroute", how, "-n", "-q", "1", "-w", "2", "-m", "4", serverIP)
				if hops := strings.Split(strings.TrimSpace(said), "\n"); len(hops) != 3 ||
					!strings.Contains(hops[1], lanIP+" ") || !strings.Contains(hops[2], serverIP+" ") {
					t.Errorf("traceroute %s:\n%s", how, said)
				}
			}
			l.server.start("dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--no-resolv", "--no-hosts", "--pid-file=",
				"--listen-address="+serverIP, "--bind-interfaces", "--address=/name.example.test/192.0.2.7")
			eventually(t, soon, "dig has its answer", func() error {
				said, err := l.client.try("dig", "+short", "+time=1", "+tries=1", "@"+serverIP, "name.example.test")
				if err == nil && strings.TrimSpace(said) != "192.0.2.7" {
					err = fmt.Errorf("dig: %q", said)
				}
				return err
			})
			if n := l.txDropped(); n != 0 {
				t.Errorf("the ports dropped %d packets", n)
			}
			for name, port := range d.status().Ports {
				if port.Refused != 0 { // what comes in too fast is lost, as in any router
					t.Errorf("port %s: %+v", name, port)
				}
			}
		})
	}
}

// curlWithChecksum loads size bytes down and up.
func (l *lab) curlWithChecksum(size int64) {
	l.t.Helper()
	l.server.web(serverIP+":80", depot(size))
	source, sum := noise(size)
	file, err := os.Create(l.dir + "/up")
	check(l.t, err)
	_, err = io.Copy(file, source)
	check(l.t, err)
	check(l.t, file.Close())
	want := fmt.Sprintf("%d %x", size, sum.Sum(nil))

	began := time.Now()
	if got := l.client.run("curl", "-sS", "-T", l.dir+"/up", "http://"+serverIP+"/"); got != want {
		l.t.Errorf("up: %s arrived, want %s", got, want)
	}
	between := time.Now()
	l.client.run("curl", "-sS", "-o", l.dir+"/down", "http://"+serverIP+"/")
	l.t.Logf("curl of %d bytes: up %v, down %v", size, between.Sub(began), time.Since(between))
	down, err := os.Open(l.dir + "/down")
	check(l.t, err)
	defer down.Close()
	sum.Reset()
	n, err := io.Copy(sum, down)
	check(l.t, err)
	if got := fmt.Sprintf("%d %x", n, sum.Sum(nil)); got != want {
		l.t.Errorf("down: %s arrived, want %s", got, want)
	}
}
