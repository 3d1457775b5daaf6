//go:build netns

package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The neighbour of the client.
const (
	neighbourMAC = "02:00:00:00:00:0d"
	neighbourIP  = "10.10.0.3"
)

// aPlan is 20 Mbit/s each way.
const aPlan = `{"type":"time","time_secs":3600,"down_mbits":20,"up_mbits":20}`

// flood is one core of trafgen, flat out, from the client.
type flood struct {
	name    string
	session string // the client's; "": none
	frames  string // %[1]s is the MAC that the client sends to
	way     string // the neighbour's TCP
}

var floods = []flood{
	{"64-byte packets without a session", "", smallPacket, "-R"},
	{"64-byte packets with a session of the same plan", aPlan, smallPacket, ""},
	{"64-byte packets with a session without a limit", anHour, smallPacket, ""},
	{"SYNs with a session", anHour, "{ eth(sa=" + clientMAC + ", da=%[1]s), ipv4(saddr=" + clientIP + ", daddr=" + serverIP +
		", ttl=64), tcp(sp=drnd(), dp=drnd(), syn, seq=drnd()) }", ""},
	{"first fragments with a session", anHour, "{ eth(sa=" + clientMAC + ", da=%[1]s), ipv4(saddr=" + clientIP + ", daddr=" + serverIP +
		", ttl=64, id=drnd(), mf), udp(sp=drnd(), dp=9), fill(0x41, 32) }", "-R"},
	{"ARP requests", "", "{ eth(sa=" + clientMAC + ", da=ff:ff:ff:ff:ff:ff), arp(req, sha=" + clientMAC + ", spa=" + clientIP + ", tpa=10.10.0.1) }", ""},
	{"made-up MACs", "", "{ %[2]s, 2, 1, drnd(4), 8, 0, 0x45, 0, c16(50), c16(1), 0, 0, 64, 17, csumip(14, 33), 10, 10, drnd(2), 198, 51, 100, 1, " +
		"c16(4000), c16(9), c16(30), 0, 0, fill(0x41, 22) }", ""},
}

const smallPacket = "{ eth(sa=" + clientMAC + ", da=%[1]s), ipv4(saddr=" + clientIP + ", daddr=" + serverIP +
	", ttl=64), udp(sp=4000, dp=9), fill(0x41, 22) }"

// starts lets the flood loose and waits until it is felt.
func (w flood) starts(l *lab) *program {
	l.t.Helper()
	next := l.nextMAC()
	octets := fmt.Sprintf("0x%s", strings.ReplaceAll(next, ":", ", 0x"))
	before := l.came()
	// timeout ends the whole of its group; trafgen leaves a part of itself.
	p := l.client.start("timeout", "-k", "1", "600", "trafgen", "-P", "1", "-o", "eth0", fmt.Sprintf(w.frames+"%.0[1]s%.0[2]s", next, octets))
	eventually(l.t, 2*soon, w.name+" are felt", func() error {
		if n := l.came() - before; n < 10_000 {
			return fmt.Errorf("%d frames: %s", n, p.out.String())
		}
		return nil
	})
	return p
}

// came is how many frames came to the gateway's LAN port.
func (l *lab) came() (frames uint64) {
	l.t.Helper()
	var links []struct {
		Stats struct {
			Rx struct{ Packets uint64 } `json:"rx"`
		} `json:"stats64"`
	}
	check(l.t, json.Unmarshal([]byte(l.gateway.run("ip", "-s", "-j", "link", "show", "dev", "eth1")), &links))
	return links[0].Stats.Rx.Packets
}

// cpu is the processor time that a process has had.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(t, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	check(t, err)
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// rate is what iperf3 gets from the server, Mbit/s.
func (n *namespace) rate(args ...string) float64 {
	n.t.Helper()
	out, err := n.try("iperf3", append([]string{"-J", "-c", serverIP}, args...)...)
	var report struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if e := json.Unmarshal([]byte(out), &report); err != nil || e != nil || report.Error != "" {
		n.t.Logf("iperf3 %v: %v %v %s", args, err, e, report.Error)
		return 0
	}
	return report.End.Received.Rate / 1e6
}

// slowest asks the API for its status until done is closed, and returns how
// long the slowest answer took.
func (d *daemon) slowest(done <-chan struct{}) (worst time.Duration) {
	for {
		select {
		case <-done:
			return worst
		case <-time.After(50 * time.Millisecond):
		}
		asked := time.Now()
		if _, err := d.ask("GET", "/status", "", nil); err != nil {
			d.t.Errorf("status during a flood: %v", err)
			return worst
		}
		worst = max(worst, time.Since(asked))
	}
}

// unharmed fails unless the processes are those of before and hold no more
// memory than they may, and none has complained of itself.
func (d *daemon) unharmed(pids map[string]int) {
	d.t.Helper()
	for name, most := range map[string]int{"forward": 64e6, "control": 100e6, "store": 100e6} {
		if now := d.children()[name]; now != pids[name] {
			d.t.Errorf("%s was process %d and is %d", name, pids[name], now)
			continue
		}
		if n := pss(d.t, pids[name]); n >= most {
			d.t.Errorf("%s holds %d bytes, want less than %d", name, n, most)
		}
	}
	for _, word := range []string{"panic", "goroutine ", "fatal error"} {
		if strings.Contains(d.out.String(), word) {
			d.t.Errorf("gatewayd said %q", word)
		}
	}
}

func TestAFloodLeavesTheOthersTheirPlan(t *testing.T) { inBothModes(t, aFloodLeavesTheOthersTheirPlan) }

func aFloodLeavesTheOthersTheirPlan(t *testing.T, newLab makeLab) {
	seconds, tries := "-t2", 3
	if soaking() {
		seconds = "-t10"
	}
	l := newLab(t)
	d := l.start()
	neighbour := l.neighbour(neighbourMAC, neighbourIP)
	l.iperfServer()
	for _, call := range [][2]string{
		{"/devices", `{"mac":"` + neighbourMAC + `","ip":"` + neighbourIP + `"}`},
		{"/devices/" + neighbourMAC + "/sessions", aPlan}, {"/devices/" + neighbourMAC + "/connect", ""},
		{"/devices", `{"mac":"` + clientMAC + `","ip":"` + clientIP + `"}`},
	} {
		d.must("POST", call[0], call[1], nil)
	}
	neighbour.run("ping", "-c", "1", "-W", "2", serverIP)
	quiet := map[string]float64{}
	for _, way := range []string{"", "-R"} {
		l.iperf3.listensAgain()
		quiet[way] = neighbour.rate(strings.Fields(seconds + " " + way)...)
	}
	pids := d.children()
	for _, row := range floods {
		t.Run(row.name, func(t *testing.T) {
			if row.session != "" {
				var v session
				d.must("POST", "/devices/"+clientMAC+"/sessions", row.session, &v)
				d.must("POST", "/devices/"+clientMAC+"/connect", "", nil)
				defer d.must("DELETE", fmt.Sprintf("/sessions/%d", v.ID), "", nil)
			}
			share, worst, busy := 0.0, time.Hour, 1.0
			for i := 0; i < tries && (share < 0.8 || worst >= time.Second || busy >= 0.3); i++ {
				p := row.starts(l)
				came, over, began := l.came(), d.status().Ports["lan"].Overflow, time.Now()
				used, answered, done := cpu(t, pids["control"]), make(chan time.Duration), make(chan struct{})
				go func() { answered <- d.slowest(done) }()
				rate := neighbour.rate(strings.Fields(seconds + " " + row.way)...)
				close(done)
				share, worst = rate/quiet[row.way], <-answered
				busy = float64(cpu(t, pids["control"])-used) / float64(time.Since(began))
				came, over = l.came()-came, d.status().Ports["lan"].Overflow-over
				took := time.Since(began).Seconds()
				p.end()
				t.Logf("%.0f %% of %.1f Mbit/s %s, slowest answer %v, control %.0f %% of a core, %.0f frames/s came, %.0f of them found the ring full", 100*share, quiet[row.way], row.way,
					worst.Round(time.Millisecond), 100*busy, float64(came)/took, float64(over)/took)
			}
			if share < 0.8 || worst >= time.Second || busy >= 0.3 {
				t.Errorf("in the best of %d tries the neighbour kept %.0f %% of what it has without the flood, the slowest answer took %v, control had %.0f %% of a core",
					tries, 100*share, worst, 100*busy)
			}
			d.unharmed(pids)
			for _, name := range []string{"forward", "control", "store"} {
				t.Logf("%s: Pss %.1f MB", name, float64(pss(t, pids[name]))/1e6)
			}
		})
	}
}

func TestARegularComesBackDuringAFloodOfMadeUpMACs(t *testing.T) {
	inBothModes(t, aRegularComesBackDuringAFloodOfMadeUpMACs)
}

func aRegularComesBackDuringAFloodOfMadeUpMACs(t *testing.T, newLab makeLab) {
	l := newLab(t)
	d := l.start()
	neighbour := l.neighbour(neighbourMAC, neighbourIP)
	for _, call := range [][2]string{
		{"/devices", `{"mac":"` + neighbourMAC + `","ip":"` + neighbourIP + `"}`},
		{"/devices/" + neighbourMAC + "/sessions", anHour}, {"/devices/" + neighbourMAC + "/connect", ""},
	} {
		d.must("POST", call[0], call[1], nil)
	}
	neighbour.run("ping", "-c", "1", "-W", "2", serverIP)
	d.stop()
	flood := floods[len(floods)-1]
	d = l.start()
	pids := d.children()
	flooding := flood.starts(l)
	time.Sleep(2 * time.Second) // the newcomers of some seconds are taken in
	began := time.Now()
	eventually(t, 5*time.Minute, "who is on disk passes again", func() error {
		_, err := neighbour.try("ping", "-c", "1", "-W", "1", serverIP)
		return err
	})
	select {
	case <-flooding.ended:
		t.Errorf("the flood had ended before: %s", flooding.out.String())
	default:
	}
	t.Logf("passed again after %v, with %d clients bound", time.Since(began).Round(10*time.Millisecond), d.status().Clients.Bound)
	d.unharmed(pids)
}

func TestFlowsOfOneClientAreCapped(t *testing.T) {
	l := newLab(t)
	d := l.start()
	neighbour := l.neighbour(neighbourMAC, neighbourIP)
	d.must("POST", "/devices", `{"mac":"`+neighbourMAC+`","ip":"`+neighbourIP+`"}`, nil)
	d.must("POST", "/devices/"+neighbourMAC+"/sessions", anHour, nil)
	d.must("POST", "/devices/"+neighbourMAC+"/connect", "", nil)
	d.admit(anHour)
	l.client.run("ping", "-c", "1", "-W", "2", serverIP)
	neighbour.run("ping", "-c", "1", "-W", "2", serverIP)
	l.server.web(serverIP+":80", depot(1000))
	pids := d.children()
	const flows = 70_000
	for _, kind := range []string{"udp(sp=dinc(1024, 65000), dp=drnd())", "tcp(sp=dinc(1024, 65000), dp=drnd(), syn)"} {
		before := d.status().Drops["client_cap"]
		l.client.run("trafgen", "-P", "1", "-n", fmt.Sprint(flows), "-b", "40000pps", "-o", "eth0",
			fmt.Sprintf("{ eth(sa="+clientMAC+", da=%s), ipv4(saddr="+clientIP+", daddr="+serverIP+", ttl=64), %s }", l.portMAC("eth1"), kind))
		eventually(t, soon, "the flows are refused that are too many", func() error {
			if n := d.status().Drops["client_cap"] - before; n < flows/4 {
				return fmt.Errorf("%d packets: %v", n, d.status().Drops)
			}
			return nil
		})
		for i := range 20 {
			if out, err := neighbour.try("curl", "-sS", "-m", "20", "-o", l.dir+"/down", "http://"+serverIP+"/"); err != nil {
				t.Fatalf("new connection %d of another client: %v %s", i, err, out)
			}
		}
		var s struct{ NAT struct{ Mappings, Flows int } }
		d.must("GET", "/status", "", &s)
		t.Logf("%s: %d of %d packets refused; %d mappings, %d flows", kind[:3], d.status().Drops["client_cap"]-before, flows, s.NAT.Mappings, s.NAT.Flows)
	}
	d.unharmed(pids)
}
