//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// billed compares what a session was billed with what arrived at the far ends
// since before.
func (d *daemon) billed(id int64, upBefore, downBefore traffic) {
	d.t.Helper()
	up, down := d.l.settle()
	v := d.session(id)
	if got, want := v.UpBytes, up.bytes-upBefore.bytes; got != want {
		d.t.Errorf("up: billed %d bytes, %d arrived: %+d", got, want, int64(got-want))
	}
	if got, want := v.DownBytes, down.bytes-downBefore.bytes; got != want {
		d.t.Errorf("down: billed %d bytes, %d arrived: %+d", got, want, int64(got-want))
	}
	d.t.Logf("billed %d up, %d down", v.UpBytes, v.DownBytes)
	if n := d.l.txDropped(); n != 0 {
		d.t.Errorf("the ports dropped %d packets", n)
	}
}

func TestTheBillIsWhatArrives(t *testing.T) { inBothModes(t, theBillIsWhatArrives) }

func theBillIsWhatArrives(t *testing.T, newLab makeLab) {
	for _, row := range []struct {
		name string
		on   bool
	}{{"with offloads", true}, {"without offloads", false}} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t)
			l.offloads(row.on)
			d := l.start()
			l.iperfServer()
			v := d.admit(anHour)
			up, down := l.settle()
			upNft, downNft := l.atServer.nft("ip"), l.atClient.nft("ip")

			for _, way := range []string{"-t1", "-t1 -R -P4", "-t1 -P2 --set-mss 536", "-t1 -u -b100M -l 1400", "-t1 -u -b50M -l 60 -R", "-t1 -u -b50M -l 8000"} {
				l.iperf(strings.Fields(way)...)
			}
			l.client.run("ping", "-c", "20", "-i", "0.01", "-s", "100", serverIP)
			d.billed(v.ID, up, down)
			if s := d.status(); s.BilledBytes != d.session(v.ID).UpBytes+d.session(v.ID).DownBytes {
				t.Errorf("status says %d bytes are billed, the session %+v", s.BilledBytes, d.session(v.ID))
			}
			if row.on {
				return // for nftables a super-packet is one packet
			}
			v = d.session(v.ID)
			if n := l.atServer.nft("ip").bytes - upNft.bytes; n != v.UpBytes {
				t.Errorf("up: billed %d bytes, nftables saw %d", v.UpBytes, n)
			}
			if n := l.atClient.nft("ip").bytes - downNft.bytes; n != v.DownBytes {
				t.Errorf("down: billed %d bytes, nftables saw %d", v.DownBytes, n)
			}
		})
	}
}

func TestADataPlanEndsAtItsByte(t *testing.T) { inBothModes(t, aDataPlanEndsAtItsByte) }

func aDataPlanEndsAtItsByte(t *testing.T, newLab makeLab) {
	const plan, aPacket = 10_000_000, 1500
	for _, row := range []struct {
		name    string
		on      bool
		program []string
	}{
		{"download with offloads", true, []string{"curl", "-s", "-o", "/dev/null", "http://" + serverIP + "/"}},
		{"upload with offloads", true, []string{"iperf3", "-c", serverIP, "-t", "60"}},
		{"download without offloads", false, []string{"curl", "-s", "-o", "/dev/null", "http://" + serverIP + "/"}},
		{"four flows each way with offloads", true, []string{"iperf3", "-c", serverIP, "-t", "60", "-P4", "--bidir"}},
		{"UDP without offloads", false, []string{"iperf3", "-c", serverIP, "-t", "60", "-u", "-b", "400M"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.offloads(row.on)
			d := l.start()
			if row.program[0] != "curl" {
				l.iperfServer()
			} else {
				l.server.web(serverIP+":80", depot(50e6))
			}
			v := d.admit(fmt.Sprintf(megabyte, plan/1e6))
			up, down := l.settle()
			began := time.Now()
			load := l.client.start(row.program[0], row.program[1:]...)
			d.becomes(v.ID, "consumed")
			took := time.Since(began)
			time.Sleep(1500 * time.Millisecond) // it goes on trying
			load.end()
			u, w := l.settle()
			v = d.session(v.ID)
			left := u.bytes - up.bytes + w.bytes - down.bytes
			t.Logf("%d of %d bytes left the gateway, %v after the start", left, plan, took)
			figure(t, "left of a 10 MB plan, "+row.name, float64(left), "bytes")
			if left > plan || left < plan-aPacket {
				t.Errorf("%d bytes left the gateway, want %d at most and at least a packet less", left, plan)
			}
			if v.UpBytes != u.bytes-up.bytes || v.DownBytes != w.bytes-down.bytes {
				t.Errorf("billed %d up, %d down; arrived %d and %d", v.UpBytes, v.DownBytes, u.bytes-up.bytes, w.bytes-down.bytes)
			}
			if v.RemainingData != 0 || v.DataCons != float64(left)/1e6 {
				t.Errorf("%v MB consumed and %v left, want %v and 0", v.DataCons, v.RemainingData, float64(left)/1e6)
			}
			if c := d.device(clientMAC); c.Connected || c.Session != nil {
				t.Errorf("the client is %+v, want disconnected", c)
			}
			_, _ = l.client.try("ping", "-c", "2", "-i", "0.1", "-W", "1", serverIP)
			if after, _ := l.settle(); after != u {
				t.Errorf("%d packets left after the end", after.packets-u.packets)
			}
		})
	}
}
