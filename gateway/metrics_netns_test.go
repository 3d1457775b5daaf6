//go:build netns

package gateway_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"
)

const scrapeURL = "http://127.0.0.1:9464/metrics"

// series is one scrape: values by name and labels, as they are written.
type series map[string]float64

// scrape reads the gateway's metrics with curl.
func (l *lab) scrape() (series, error) {
	text, err := l.gateway.try("curl", "-sS", "--fail", "--max-time", "10", scrapeURL)
	if err != nil {
		return nil, err
	}
	s := series{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if name == "#" || !ok {
			continue
		}
		if s[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	return s, nil
}

// scraped is a scrape that has to work.
func (l *lab) scraped() series {
	l.t.Helper()
	s, err := l.scrape()
	check(l.t, err)
	return s
}

// sum adds up all series of a name whose labels hold text.
func (s series) sum(name, labels string) (sum float64) {
	for key, value := range s {
		if n, rest, _ := strings.Cut(key, "{"); n == name && strings.Contains(rest, labels) {
			sum += value
		}
	}
	return sum
}

// balance says how the scrape contradicts the law of conservation.
func (s series) balance() error {
	for _, unit := range []struct{ name, dropped string }{{"bytes", "gateway_drop_bytes_total"}, {"packets", "gateway_drops_total"}} {
		total := func(what string) float64 { return s["gateway_"+what+"_"+unit.name+"_total"] }
		all := "gateway_" + unit.name + "_total"
		received, transmitted := s.sum(all, `direction="rx"`), s.sum(all, `direction="tx"`)
		in := received + total("own") + total("added")
		out := transmitted + s.sum(unit.dropped, "") + s["gateway_queued_"+unit.name] + total("local")
		if in != out || received == 0 {
			return fmt.Errorf("%s: received + own + added = %.0f, transmitted + dropped + queued + local = %.0f", unit.name, in, out)
		}
		if paid := total("billed") + total("exempt") + total("own"); transmitted+total("hairpin") != paid {
			return fmt.Errorf("%s: transmitted + hairpin = %.0f, billed + exempt + own = %.0f", unit.name, transmitted+total("hairpin"), paid)
		}
	}
	return nil
}

// port is what a port has transmitted.
func (s series) port(port string) traffic {
	labels := `{direction="tx",port="` + port + `"}`
	return traffic{uint64(s["gateway_packets_total"+labels]), uint64(s["gateway_bytes_total"+labels])}
}

// Programs nobody here wrote cause every term of the law; curl reads it at any
// moment and promtool checks how it is written.
func TestTheMetricsAreWhatTheFarEndsSaw(t *testing.T) { inBothModes(t, theMetricsAreWhatTheFarEndsSaw) }

func theMetricsAreWhatTheFarEndsSaw(t *testing.T, newLab makeLab) {
	t.Parallel()
	const rogueMAC, rogueIP = "02:00:00:00:00:0d", "10.10.0.3"
	l := newLab(t)
	for _, n := range []*namespace{l.gateway, l.server} {
		n.run("ip", "link", "set", "eth0", "mtu", "1400") // what is longer leaves as fragments
	}
	d := l.start()
	l.iperfServer()
	v := d.sell(anHour)
	slow := session{}
	d.must("POST", "/devices", `{"mac":"`+rogueMAC+`","ip":"`+rogueIP+`"}`, nil)
	d.must("POST", "/devices/"+rogueMAC+"/sessions", `{"type":"data","data_mb":0.5,"down_mbits":2,"up_mbits":2}`, &slow)
	d.connect()
	d.must("POST", "/devices/"+rogueMAC+"/connect", "", nil)
	rogue := l.neighbour(rogueMAC, rogueIP)
	next := l.nextMAC()

	slowly := rogue.start("nping", "-q", "-c", "4000", "--rate", "2000", "--udp", "-p", "9", "--data-length", "1300", serverIP) // over its rate
	for _, way := range []string{"-t1", "-t1 -R -P2", "-t1 -u -b50M -l 1372", "-t1 -u -b20M -l 60 -R"} {
		l.iperf3.listensAgain()
		done := l.client.start("iperf3", append([]string{"-c", serverIP}, strings.Fields(way)...)...)
		for ended := false; !ended; {
			select {
			case <-done.ended:
				ended = true
			case <-time.After(100 * time.Millisecond):
			}
			if err := l.scraped().balance(); err != nil {
				t.Fatalf("under load: %v", err)
			}
		}
		if !done.cmd.ProcessState.Success() {
			t.Errorf("iperf3 %s: %s", way, done.out.String())
		}
	}
	slowly.wait(2 * soon)
	rest := rogue.start("ping", "-q", "-f", "-s", "1300", serverIP)
	d.becomes(slow.ID, "consumed")
	rest.end()
	for _, how := range []string{
		"ping -q -c 20 -i 0.01 -s 3000 -M dont " + serverIP,             // fragments in, more fragments out
		"ping -q -c 20 -i 0.01 -s 1400 -M dont " + serverIP,             // one in, two out
		"ping -q -c 20 -i 0.01 " + lanIP,                                // the box itself
		"ping -q -c 3 -i 0.2 -W 1 -t 1 " + serverIP + "; true",          // an ICMP error
		"ping -q -c 3 -i 0.2 -W 1 -M do -s 1400 " + serverIP + "; true", // another
		"ping -q -c 2 -i 0.2 -W 4 203.0.113.77; true",                   // a next hop that is not there
		"nping -q -c 100 --rate 2000 -e eth0 --dest-mac " + next + " --source-mac 02:00:00:00:00:ee -S 10.10.0.9 --udp -p 9 " + serverIP,
		"nping -q -c 100 --rate 2000 -e eth0 --dest-mac " + next + " --source-mac " + rogueMAC + " -S 10.10.0.2 --udp -p 9 " + serverIP,
	} {
		l.client.run("sh", "-c", how)
	}
	nobody := []string{wanIP}
	if l.bridges() {
		nobody = []string{"-e", "eth0", "--dest-mac", "02:00:00:00:00:ee", "-S", routerIP, clientIP}
	}
	l.server.run("nping", append([]string{"-q", "-c", "100", "--rate", "2000", "--udp", "-p", "9"}, nobody...)...)
	eventually(t, 2*soon, "nothing waits", func() error {
		s := l.scraped()
		if s["gateway_queued_packets"] != 0 {
			return fmt.Errorf("%v packets", s["gateway_queued_packets"])
		}
		return nil
	})
	up, down := l.settle()

	s := l.scraped()
	if err := s.balance(); err != nil {
		t.Error(err)
	}
	if got := s.port("wan"); got != up {
		t.Errorf("transmitted on the WAN %+v, the server saw %+v", got, up)
	}
	if got := s.port("lan"); got != down {
		t.Errorf("transmitted on the LAN %+v, the clients saw %+v", got, down)
	}
	billed := uint64(0)
	for _, id := range []int64{v.ID, slow.ID} {
		b := d.session(id)
		billed += b.UpBytes + b.DownBytes
	}
	if got := uint64(s["gateway_billed_bytes_total"]); got != billed {
		t.Errorf("%d bytes billed, the sessions say %d", got, billed)
	}
	reasons := []string{"unresolved", "ttl_exceeded", "no_mapping"} // of routes and translations
	if l.bridges() {
		reasons = []string{"unknown_client"} // whom no frame is flooded to
	}
	for _, reason := range reasons {
		if s[`gateway_drops_total{reason="`+reason+`"}`] == 0 {
			t.Errorf("nothing is dropped as %s", reason)
		}
	}
	for _, caused := range []string{
		"gateway_own_packets_total", "gateway_added_bytes_total", "gateway_exempt_bytes_total", "gateway_billed_bytes_total",
		`gateway_drops_total{reason="over_rate"}`, `gateway_drops_total{reason="data_used_up"}`,
		`gateway_drops_total{reason="too_big"}`, `gateway_drops_total{reason="spoofed"}`, `gateway_bytes_total{direction="tx",port="host"}`, "gateway_batch_seconds_count",
	} {
		if s[caused] == 0 {
			t.Errorf("%s is 0", caused)
		}
	}
	for name, want := range map[string]float64{"gateway_ready": 1, "gateway_degraded": 0, `gateway_port_up{port="wan"}`: 1,
		`gateway_process_up{process="store"}`: 1, `gateway_sessions{state="running"}`: 1, `gateway_clients{state="connected"}`: 1} {
		if got, ok := s[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if said := l.gateway.run("sh", "-c", "curl -sS "+scrapeURL+" | promtool check metrics 2>&1"); said != "" {
		t.Errorf("promtool: %s", said)
	}
	eventually(t, soon, "a checkpoint is counted", func() error {
		if n := l.scraped()["gateway_store_checkpoint_seconds_count"]; n == 0 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
}

// Counters go on when forward and control are killed; what waited in a
// forwarder that was killed is dropped.
func TestCountersOutliveTheProcesses(t *testing.T) {
	t.Parallel()
	inBothModes(t, countersOutliveTheProcesses)
}

func countersOutliveTheProcesses(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.admit(`{"type":"time","time_secs":3600,"down_mbits":1,"up_mbits":1}`)
	l.client.start("ping", "-q", "-f", "-s", "1400", serverIP)
	eventually(t, 2*soon, "something waits", func() error {
		if s := l.scraped(); s["gateway_queued_packets"] == 0 {
			return fmt.Errorf("nothing does")
		}
		return nil
	})
	before := l.scraped()
	for _, name := range []string{"forward", "control", "forward"} {
		d.replaced(name, d.kill(name))
		var s series
		eventually(t, 2*soon, "metrics are served", func() (err error) {
			s, err = l.scrape()
			return err
		})
		if err := s.balance(); err != nil {
			t.Errorf("%s was killed: %v", name, err)
		}
		for key, value := range before {
			if name, _, _ := strings.Cut(key, "{"); strings.HasSuffix(name, "_total") && s[key] < value && !strings.HasPrefix(name, "gateway_store") {
				t.Errorf("%s went back from %v to %v", key, value, s[key])
			}
		}
		before = maps.Clone(s)
	}
	if before[`gateway_drops_total{reason="forwarder_ended"}`] == 0 {
		t.Error("what waited in a forwarder that was killed is not counted as dropped")
	}
	if n := before[`gateway_process_restarts_total{process="forward"}`]; n != 2 {
		t.Errorf("%v restarts of forward", n)
	}
}

func TestWhereMetricsAreServed(t *testing.T) {
	t.Parallel()
	l := newLab(t, "metrics: {listen: ''}")
	d := l.start()
	if _, err := l.scrape(); err == nil {
		t.Error("metrics are served though they are switched off")
	}
	d.unmeasured(false)
	d.stop()

	l.config["metrics"] = "{listen: " + lanIP + ":9464}" // which is nobody's when gatewayd starts
	d = l.start()
	eventually(t, soon, "a client reads the host link's", func() error {
		_, err := l.client.try("curl", "-sS", "--fail", "--max-time", "5", "http://"+lanIP+":9464/metrics")
		return err
	})
	d.stop()

	delete(l.config, "metrics")
	other := l.gateway.start("iperf3", "-s", "-B", "127.0.0.1", "-p", "9464", "--forceflush")
	other.says("listening")
	d = l.start()
	d.unmeasured(true)
	other.end()
	eventually(t, 2*soon, "they are served once the address is free", func() error {
		_, err := l.scrape()
		return err
	})
	d.unmeasured(false)
}

// unmeasured waits until the status says, or does not, that metrics are not served.
func (d *daemon) unmeasured(want bool) {
	d.t.Helper()
	eventually(d.t, soon, "the status says whether metrics are served", func() error {
		s := d.status()
		if !s.Ready || strings.Contains(strings.Join(s.Degraded, "\n"), "metrics are not served: listen tcp 127.0.0.1:9464: ") != want {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}
