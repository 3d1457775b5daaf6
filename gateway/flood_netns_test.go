//go:build netns

package gateway_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// Whatever a client sends, at the level that is the default, the log stays as
// long as a person reads.
func TestAFloodIsNotLogged(t *testing.T) {
	const most = 30 // lines a minute, of all floods together
	l := newLab(t, "log: {level: info, format: json}")
	d := l.start()
	d.admit(anHour)
	l.client.run("ping", "-c", "1", "-W", "2", serverIP)
	before, began := strings.Count(d.out.String(), "\n"), time.Now()
	to := strings.ReplaceAll("0x"+l.portMAC("eth1").String(), ":", ", 0x")
	client := strings.ReplaceAll("0x"+clientMAC, ":", ", 0x")
	const stranger = "0x02, 0x00, 0x00, drnd(3)"
	for _, row := range []struct{ name, frame string }{
		{"unknown MACs", "{" + to + ", " + stranger + ", 0x08, 0x00, 0x45, 0, c16(40), drnd(2), c16(0), 64, 17, csumip(14, 33), 10, 10, drnd(2), 198, 51, 100, 1, c16(9), c16(9), c16(20), c16(0), fill(0, 12)}"},
		{"unknown MACs that claim the victim's address", "{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, " + stranger + ", 0x08, 0x06, c16(1), c16(0x0800), 6, 4, c16(1), 0x02, 0, 0, 0, 0, 1, 10, 10, 0, 2, fill(0, 6), 10, 10, 0, 1, fill(0, 18)}"},
		{"unknown MACs with the victim's address", "{" + to + ", " + stranger + ", 0x08, 0x00, 0x45, 0, c16(40), drnd(2), c16(0), 64, 17, csumip(14, 33), 10, 10, 0, 2, 198, 51, 100, 1, c16(9), c16(9), c16(20), c16(0), fill(0, 12)}"},
		{"noise as IPv4", "{" + to + ", " + client + ", 0x08, 0x00, drnd(60)}"},
		{"noise as ARP", "{" + to + ", " + client + ", 0x08, 0x06, drnd(46)}"},
		{"noise of any type", "{" + to + ", " + client + ", drnd(70)}"},
		{"headers that lie", "{" + to + ", " + client + ", 0x08, 0x00, 0x45, 0, drnd(2), drnd(2), drnd(2), 64, drnd(1), csumip(14, 33), 10, 10, 0, 2, 198, 51, 100, 1, drnd(40)}"},
	} {
		file := l.dir + "/flood"
		check(t, os.WriteFile(file, []byte(row.frame+"\n"), 0o600))
		dropped := total(d.status().Drops)
		l.client.run("trafgen", "-n", "4000", "--rate", "4000pps", "-P", "1", "-q", "-o", "eth0", "-i", file)
		if n := total(d.status().Drops) - dropped; n == 0 && !strings.Contains(row.name, "claim") { // so that the silence means something
			t.Errorf("%s: nothing was dropped: %v", row.name, d.status().Drops)
		}
	}
	eventually(t, soon, "the client passes as before", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP)
		return err
	})
	minutes := 1 + int(time.Since(began)/time.Minute)
	said := strings.Split(strings.TrimSpace(d.out.String()), "\n")[before:]
	t.Logf("%d lines in %v", len(said), time.Since(began).Round(time.Second))
	if len(said) > most*minutes {
		t.Errorf("%d lines, such as\n%s", len(said), strings.Join(said[:10], "\n"))
	}
	for _, line := range said {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func total(drops map[string]uint64) (sum uint64) {
	for _, n := range drops {
		sum += n
	}
	return sum
}
