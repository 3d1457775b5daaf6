//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// throttled reads a session until it runs at its throttle.
func (d *daemon) throttled(id int64) (v session) {
	d.t.Helper()
	eventually(d.t, soon, fmt.Sprintf("session %d is throttled", id), func() error {
		var is struct {
			Throttled bool `json:"throttled"`
		}
		d.must("GET", fmt.Sprintf("/sessions/%d", id), "", &is)
		if v = d.session(id); v.State != "running" || !is.Throttled {
			return fmt.Errorf("%+v, throttled %v", v, is.Throttled)
		}
		return nil
	})
	return v
}

// A plan of 2 MB that is used up goes on at its throttle without a datagram lost, over
// the death of control, and so does the next session after it; every byte is billed.
func TestAThrottleTakesOverWithoutALoss(t *testing.T) {
	t.Parallel()
	inBothModes(t, aThrottleTakesOverWithoutALoss)
}

func aThrottleTakesOverWithoutALoss(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	one := d.sell(`{"type":"data","data_mb":2.0005,"down_mbits":50,"up_mbits":50,"throttle_down_bits":8000000,"throttle_up_bits":8000000}`)
	s := l.stream(2*time.Millisecond, 1000) // 4 Mbit/s, less than the throttle
	up, down := l.settle()
	d.connect()
	s.flows()
	d.throttled(one.ID)
	s.flows()
	pid := d.kill("control")
	s.flows()
	d.replaced("control", pid)
	d.throttled(one.ID)
	two := d.sell(anHour)
	d.becomes(two.ID, "running")
	s.flows()
	sent, arrived := s.end()
	if _, _, missing := s.span(); missing != 0 {
		t.Errorf("%d datagrams are missing", missing)
	}
	u, w := l.settle()
	one, two = d.becomes(one.ID, "consumed"), d.session(two.ID)
	if billed := one.UpBytes + two.UpBytes; billed != u.bytes-up.bytes || w != down || two.UpBytes == 0 {
		t.Errorf("billed %d and %d bytes, %d arrived", one.UpBytes, two.UpBytes, u.bytes-up.bytes)
	}
	if one.UpBytes <= 2_000_500 || one.RemainingData != 0 || one.DataCons != float64(one.UpBytes)/1e6 {
		t.Errorf("the data plan: %+v", one)
	}
	figure(t, fmt.Sprintf("of %d datagrams sent arrived", sent), float64(arrived), "")
}

// The throttle's rate holds, and its expiry ends it.
func TestAThrottleHoldsItsRateUntilItExpires(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.sell(`{"type":"time_or_data","time_secs":20,"exp_days":0,"data_mb":2,"down_mbits":50,"up_mbits":50,"throttle_down_bits":512000,"throttle_up_bits":512000}`)
	s := l.stream(time.Millisecond, 1000) // 8 Mbit/s
	up, _ := l.settle()
	d.connect()
	v = d.throttled(v.ID)
	eventually(t, soon, "the burst is over", func() error {
		if got := s.rate(time.Second); got > 2 {
			return fmt.Errorf("%.2f Mbit/s", got)
		}
		return nil
	})
	got := s.rate(5 * time.Second)
	figure(t, "a throttle of 0.512 Mbit/s lets pass", got, "Mbit/s")
	if got > 1.5 || got < 0.1 {
		t.Errorf("%.3f Mbit/s at a throttle of 0.512", got)
	}
	if code, out, errs := l.command("why", clientMAC, "--socket", l.dir+"/gatewayd.sock"); code != 0 || !strings.Contains(out, "the throttle of its session") {
		t.Errorf("why: %d %s%s", code, out, errs)
	}
	if code, out, errs := l.command("sessions", "list", "--socket", l.dir+"/gatewayd.sock"); code != 0 || !strings.Contains(out, "running, throttled") {
		t.Errorf("sessions list: %d %s%s", code, out, errs)
	}
	eventually(t, 2*soon, "it is disconnected", func() error {
		if c := d.device(clientMAC); c.Connected {
			return errNotYet
		}
		return nil
	})
	v = d.becomes(v.ID, "expired")
	s.end()
	u, _ := l.settle()
	if v.UpBytes != u.bytes-up.bytes || v.TimeCons >= 20 {
		t.Errorf("%+v, %d bytes arrived", v, u.bytes-up.bytes)
	}
	about(t, "from its start to its expiry", v.ExpiresAt.Sub(*v.StartedAt), 20*time.Second)
}
