//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const otherServerIP = "198.51.100.2"

// stunServer starts coturn's STUN server on two addresses of the server and two
// ports of each, which RFC 5780 asks for.
func (l *lab) stunServer() {
	l.t.Helper()
	l.server.run("ip", "addr", "add", otherServerIP+"/32", "dev", "lo")
	l.server.start("turnserver", "-n", "-S", "-L", serverIP, "-L", otherServerIP, "--no-tls", "--no-dtls", "--no-cli", "--no-stdout-log",
		"--log-file="+l.dir+"/turnserver.log", "--simple-log", "--pidfile="+l.dir+"/turnserver.pid", "--userdb="+l.dir+"/turnserver.db")
	eventually(l.t, soon, "the STUN server listens", func() error {
		sockets := l.server.run("ss", "-Hlun")
		for _, address := range []string{serverIP, otherServerIP} {
			for _, port := range []int{3478, 3479} {
				if at := fmt.Sprintf("%s:%d ", address, port); !strings.Contains(sockets, at) {
					return errors.New("not at " + at)
				}
			}
		}
		return nil
	})
}

// discovers fails unless coturn's natdiscovery comes to a finding about the
// gateway. It gives up on an answer after 3 s, so that on a busy machine it may
// find too little: then it is asked again. What it finds too much stays.
func (l *lab) discovers(how, finding string) (said string) {
	l.t.Helper()
	eventually(l.t, 6*soon, "natdiscovery "+how+": "+finding, func() (err error) {
		said, err = l.client.try("turnutils_natdiscovery", append(strings.Fields(how), serverIP)...)
		if err == nil && !strings.Contains(said, finding) {
			err = errors.New(said)
		}
		return err
	})
	return said
}

// RFC 5780 by a program that nobody here wrote: mapping is endpoint-independent,
// filtering what the config says, a hairpin works, and no address within a payload
// is touched.
func TestCoturnFindsTheNATThatIsConfigured(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		filtering, found string
	}{
		{"endpoint-independent", "NAT with Endpoint Independent Filtering!"},
		{"address", "NAT with Address Dependent Filtering!"},
		{"address-and-port", "NAT with Address and Port Dependent Filtering!"},
	} {
		t.Run(row.filtering, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "nat: {filtering: "+row.filtering+"}")
			d := l.start()
			d.admit(anHour)
			l.stunServer()
			for _, how := range []string{"-m", "-m -P"} { // -P: requests in fragments
				said := l.discovers(how, "NAT with Endpoint Independent Mapping!")
				if !strings.Contains(said, wanIP+":") || strings.Contains(said, "ALG detected") {
					t.Errorf("natdiscovery %s: %s", how, said)
				}
			}
			if said := l.discovers("-f", row.found); strings.Count(said, "Filtering!") != 1 {
				t.Errorf("natdiscovery -f: %s", said)
			}
			l.discovers("-t -T 1", "RFC 5780 response 2") // by the mapping of a second ago
			l.discovers("-H", "maybe a successful hairpinning")
			if t.Failed() {
				t.Logf("dropped %v", d.status().Drops)
			}
		})
	}
}
