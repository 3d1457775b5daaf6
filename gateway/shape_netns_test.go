//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pingTimes are the round trips of n pings from a namespace to the server.
func (n *namespace) pingTimes(count int, every string) (all []time.Duration) {
	n.t.Helper()
	said, _ := n.try("ping", "-c", fmt.Sprint(count), "-i", every, "-W", "3", serverIP)
	for _, line := range strings.Split(said, "\n") {
		if _, after, found := strings.Cut(line, "time="); found {
			ms, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
			check(n.t, err)
			all = append(all, time.Duration(ms*float64(time.Millisecond)))
		}
	}
	slices.Sort(all)
	return all
}

// A plan that bulk fills is used up and no more, a ping beside it hardly waits, and each
// byte is billed while packets are cut, dropped and marked.
func TestAPlanIsShaped(t *testing.T) { inBothModes(t, aPlanIsShaped) }

func aPlanIsShaped(t *testing.T, newLab makeLab) {
	const plan = 20e6
	for _, row := range []struct{ name, ecn, way string }{
		{"down, dropped", "0", "-R"},
		{"up, marked", "1", "-t8"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			for _, n := range []*namespace{l.client, l.server} {
				n.setting("ipv4/tcp_ecn", row.ecn)
			}
			d := l.start()
			l.iperfServer()
			up, down := l.settle()
			v := d.admit(`{"type":"time","time_secs":3600,"down_mbits":20,"up_mbits":20}`)
			l.iperf3.listensAgain()
			l.client.start("iperf3", "-c", serverIP, "-P8", "-t8", row.way)
			billed := func() uint64 {
				now := d.session(v.ID)
				if row.way == "-R" {
					return now.DownBytes
				}
				return now.UpBytes
			}
			eventually(t, soon, "the plan is full", func() error {
				if n := billed(); n < 2e6 {
					return fmt.Errorf("%d bytes", n)
				}
				return nil
			})
			before, began := billed(), time.Now()
			pings := l.client.pingTimes(100, "0.03")
			got := float64(billed()-before) * 8 / time.Since(began).Seconds()
			if len(pings) < 95 {
				t.Fatalf("%d of 100 pings were answered", len(pings))
			}
			t.Logf("%.3f of the plan, ping beside it %v (p50), %v (p90)", got/plan, pings[len(pings)/2], pings[len(pings)*9/10])
			if got < 0.8*plan || got > 1.03*plan {
				t.Errorf("%.3f of the plan came", got/plan)
			}
			if p50 := pings[len(pings)/2]; p50 > 25*time.Millisecond {
				t.Errorf("a ping beside it takes %v (p50)", p50)
			}
			said, err := l.scrape()
			check(t, err)
			marked, dropped := said[`gateway_marked_packets_total{direction="up"}`]+said[`gateway_marked_packets_total{direction="down"}`], said[`gateway_drops_total{reason="queue_delay"}`]
			if row.ecn == "1" && marked == 0 || row.ecn == "0" && (marked != 0 || dropped == 0) {
				t.Errorf("%v packets were marked, %v dropped", marked, dropped)
			}
			d.disconnect()
			u, w := l.settle()
			if now := d.session(v.ID); now.UpBytes != u.bytes-up.bytes || now.DownBytes != w.bytes-down.bytes {
				t.Errorf("billed %d and %d, %d and %d arrived", now.UpBytes, now.DownBytes, u.bytes-up.bytes, w.bytes-down.bytes)
			}
		})
	}
}

// What all may have is shared by weight, not by flows, and a reload changes it.
func TestATotalIsSharedByWeight(t *testing.T) {
	t.Parallel()
	inBothModes(t, aTotalIsSharedByWeight)
}

func aTotalIsSharedByWeight(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t, "bandwidth: {total: {down: 20 Mbit, up: 20 Mbit}, global: {down: 0, up: 0}}")
	neighbour := l.neighbour(neighbourMAC, neighbourIP)
	d := l.start()
	v := d.admit(`{"type":"time","time_secs":3600,"use_global_speed":true,"weight":3}`)
	w := d.sellTo(neighbourMAC, neighbourIP, anHour)
	d.must("POST", "/devices/"+neighbourMAC+"/connect", "", nil)
	for port, who := range map[string]*namespace{"5301": l.client, "5302": neighbour} {
		server := l.server.start("iperf3", "-s", "-B", serverIP, "-p", port, "--forceflush")
		flows := "-P1"
		if who == neighbour {
			flows = "-P8"
		}
		eventually(t, soon, "iperf3 listens", func() error {
			if said := server.out.String(); !strings.Contains(said, "Server listening") {
				return errors.New(said)
			}
			return nil
		})
		who.start("iperf3", "-c", serverIP, "-p", port, "-t60", flows)
	}
	look := func(want float64) {
		eventually(t, 3*soon, fmt.Sprintf("%.0f Mbit/s are shared 3 to 1", want), func() error {
			a, b, began := d.session(v.ID).UpBytes, d.session(w.ID).UpBytes, time.Now()
			time.Sleep(2 * time.Second)
			took := time.Since(began).Seconds()
			x, y := float64(d.session(v.ID).UpBytes-a)*8e-6/took, float64(d.session(w.ID).UpBytes-b)*8e-6/took
			if all := x + y; all < 0.8*want || all > 1.05*want || x/all < 0.65 || x/all > 0.85 {
				return fmt.Errorf("%.2f and %.2f Mbit/s", x, y)
			}
			return nil
		})
	}
	look(20)
	l.config["bandwidth"] = "{total: {down: 40 Mbit, up: 40 Mbit}, global: {down: 0, up: 0}}"
	l.writeConfig()
	d.must("POST", "/reload", "", nil)
	look(40)
}
