//go:build netns

package gateway_test

import (
	"fmt"
	"testing"
	"time"
)

// TestAChangeReachesTheNextPacket: what a running session may use is another
// from the moment the call that changed it returns, seen at the far ends.
func TestAChangeReachesTheNextPacket(t *testing.T) {
	t.Parallel()
	inBothModes(t, aChangeReachesTheNextPacket)
}

func aChangeReachesTheNextPacket(t *testing.T, newLab makeLab) {
	t.Parallel()
	const both = 2 * 1428 // bytes of a ping there and back
	l := newLab(t)
	d := l.start()
	v := d.admit(fmt.Sprintf(megabyte, 0.02))
	up, down := l.settle()
	pings := func(n int) { // in one call, of which none may fail
		t.Helper()
		l.client.run("ping", "-c", fmt.Sprint(n), "-i", "0.05", "-s", "1400", "-W", "5", serverIP)
	}
	pings(5)
	d.must("PATCH", fmt.Sprintf("/sessions/%d", v.ID), `{"data_mb":0.05}`, nil)
	pings(10)                                                  // twice what was sold at first
	eventually(t, soon, "all pings are billed", func() error { // the last answer may arrive before its bill is written
		if now := d.session(v.ID); now.State != "running" || now.UpBytes+now.DownBytes != 15*both {
			return fmt.Errorf("topped up: %+v", now)
		}
		return nil
	})
	d.must("PATCH", fmt.Sprintf("/sessions/%d", v.ID), `{"data_mb":0.03}`, nil) // less than it has used
	if out, err := l.client.try("ping", "-c", "1", "-s", "1400", "-W", "2", serverIP); err == nil {
		t.Errorf("a packet passes though all is used up: %s", out)
	}
	u, w := l.settle()
	now := d.becomes(v.ID, "consumed")
	if now.RemainingData != 0 || now.UpBytes != u.bytes-up.bytes || now.DownBytes != w.bytes-down.bytes {
		t.Errorf("%+v, arrived %d and %d", now, u.bytes-up.bytes, w.bytes-down.bytes)
	}

	slow := d.admit(`{"type":"time","time_secs":3600,"down_mbits":1,"up_mbits":1}`)
	s := l.stream(time.Millisecond, 1000) // 8 Mbit/s
	s.flows()
	if got := s.rate(2 * time.Second); got > 2.5 {
		t.Errorf("%.2f Mbit/s of a plan of 1", got)
	}
	d.must("PATCH", fmt.Sprintf("/sessions/%d", slow.ID), `{"up_mbits":50}`, nil)
	eventually(t, soon, "the new rate is used", func() error {
		if got := s.rate(time.Second); got < 3 {
			return fmt.Errorf("%.2f Mbit/s of 8, with a plan of 50", got)
		}
		return nil
	})
	d.must("PATCH", fmt.Sprintf("/sessions/%d", slow.ID), `{"up_mbits":1}`, nil)
	eventually(t, soon, "the old rate is used again", func() error {
		if got := s.rate(time.Second); got > 2.5 {
			return fmt.Errorf("%.2f Mbit/s of a plan of 1", got)
		}
		return nil
	})
	d.disconnect()
}
