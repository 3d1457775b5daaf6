//go:build netns

package gateway_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// about says whether a duration is as long as it should be, a loaded machine
// allowed for.
func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	figureOf(t, fmt.Sprintf("%s, want %v", what, want), got)
	if off := got - want; off.Abs() > time.Second {
		t.Errorf("%s: %v, want %v ± 1 s, for a busy machine", what, got, want)
	}
}

func TestATimePlanEndsAtItsSecond(t *testing.T) {
	t.Parallel()
	inBothModes(t, aTimePlanEndsAtItsSecond)
}

func aTimePlanEndsAtItsSecond(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.sell(fmt.Sprintf(seconds, 5))
	s := l.stream(10*time.Millisecond, 100)
	time.Sleep(300 * time.Millisecond) // it is under way when the client connects
	d.connect()
	s.flows()
	time.Sleep(5 * time.Second)
	v = d.becomes(v.ID, "consumed")
	time.Sleep(300 * time.Millisecond) // nothing comes after the end
	s.end()
	first, last, missing := s.span()
	about(t, "the far end heard the client for", last.Sub(first), 5*time.Second)
	if missing != 0 {
		t.Errorf("%d datagrams of the time that was paid are missing", missing)
	}
	if v.TimeCons != 5 || v.RemainingTime != 0 {
		t.Errorf("consumed %d s and %d s left, want 5 and 0", v.TimeCons, v.RemainingTime)
	}
	if c := d.device(clientMAC); c.Connected {
		t.Errorf("the client is %+v, want disconnected", c)
	}
	if code, err := d.ask("POST", "/devices/"+clientMAC+"/connect", "", nil); code != http.StatusConflict {
		t.Errorf("connect without a session: %d %v, want 409", code, err)
	}
}

func TestTheNextSessionTakesOverWithoutALoss(t *testing.T) {
	inBothModes(t, theNextSessionTakesOverWithoutALoss)
}

func theNextSessionTakesOverWithoutALoss(t *testing.T, newLab makeLab) {
	const aPacket = 1000
	for _, row := range []struct {
		name, plan string
	}{
		{"when the time is up", fmt.Sprintf(seconds, 2)},
		{"when the data are used up", fmt.Sprintf(megabyte, 1.0005)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			d := l.start()
			one := d.sell(row.plan)
			two := d.sell(fmt.Sprintf(seconds, 2))
			three := d.sell(anHour)
			s := l.stream(2*time.Millisecond, aPacket)
			up, down := l.settle()
			d.connect()
			s.flows()
			time.Sleep(5 * time.Second)
			middle := d.device(clientMAC)
			s.end()
			if _, _, missing := s.span(); missing != 0 {
				t.Errorf("%d datagrams are missing", missing)
			}
			u, w := l.settle()
			one, two, three = d.becomes(one.ID, "consumed"), d.becomes(two.ID, "consumed"), d.session(three.ID)
			if middle.Session == nil || middle.Session.ID != three.ID || !middle.Connected {
				t.Errorf("the client is %+v, want connected with session %d", middle, three.ID)
			}
			if billed := one.UpBytes + two.UpBytes + three.UpBytes; billed != u.bytes-up.bytes || w != down {
				t.Errorf("billed %d bytes together, %d arrived", billed, u.bytes-up.bytes)
			}
			if row.plan == fmt.Sprintf(megabyte, 1.0005) && one.UpBytes != 1_000_500 {
				t.Errorf("the data plan was used for %d bytes of 1000500", one.UpBytes)
			}
			for _, v := range []session{one, two, three} {
				if v.StartedAt == nil {
					t.Fatalf("session %d has no start: %+v", v.ID, v)
				}
			}
			about(t, "the second session lasted", three.StartedAt.Sub(*two.StartedAt), 2*time.Second)
			about(t, "the first session lasted", two.StartedAt.Sub(*one.StartedAt), 2*time.Second)
		})
	}
}

func TestTimeIsNotConsumedWhileDisconnected(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.sell(fmt.Sprintf(seconds, 4))
	s := l.stream(10*time.Millisecond, 100)
	began := time.Now()
	d.connect()
	s.flows()
	time.Sleep(1500 * time.Millisecond)
	left := d.disconnect()
	most := uint(time.Since(began) / time.Second) // that may be consumed
	if left.Connected {
		t.Errorf("the client is %+v after disconnect", left)
	}
	before, paused := s.seen()
	rest := d.session(v.ID)
	if rest.State != "available" || rest.TimeCons < 1 || rest.TimeCons > most {
		t.Errorf("after 1.5 s of 4: %+v, want available with 1 to %d s consumed", rest, most)
	}
	time.Sleep(3 * time.Second)
	if now, _ := s.seen(); now > before+5 { // what was on its way
		t.Errorf("%d datagrams passed while disconnected", now-before)
	}
	if v := d.session(v.ID); v.TimeCons != rest.TimeCons || v.UpBytes != rest.UpBytes {
		t.Errorf("while disconnected %+v became %+v", rest, v)
	}
	first, _, _ := s.span()
	d.connect()
	again := time.Now()
	s.flows()
	if v := d.session(v.ID); v.State != "running" || !v.StartedAt.Equal(*rest.StartedAt) {
		t.Errorf("resumed as %+v, want running and started when it first was", v)
	}
	eventually(t, 2*soon, "the rest is used up", func() error {
		if v := d.session(v.ID); v.State != "consumed" {
			return fmt.Errorf("%+v", v)
		}
		return nil
	})
	_, last := s.seen()
	about(t, "the far end heard the client for", paused.Sub(first)+last.Sub(again), 4*time.Second)
}

func TestExpiryGoesOnWhileDisconnected(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.sell(`{"type":"time","time_secs":3,"exp_days":0,"use_global_speed":true}`)
	if v.ExpiresAt != nil {
		t.Errorf("a session that has not started expires at %v", v.ExpiresAt)
	}
	s := l.stream(10*time.Millisecond, 100)
	d.connect()
	s.flows()
	began, _, _ := s.span()
	time.Sleep(500 * time.Millisecond)
	d.disconnect()
	time.Sleep(time.Second)
	d.connect()
	s.flows()
	eventually(t, soon, "it expires", func() error {
		if c := d.device(clientMAC); c.Connected {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	_, last := s.seen()
	about(t, "it expired after", last.Sub(began), 3*time.Second)
	if v = d.becomes(v.ID, "expired"); v.RemainingTime == 0 {
		t.Errorf("%+v: an expired session is not consumed", v)
	}
	if code, err := d.ask("POST", "/devices/"+clientMAC+"/connect", "", nil); code != http.StatusConflict {
		t.Errorf("connect with an expired session: %d %v, want 409", code, err)
	}
}

func TestAPlansRateIsItsGoodput(t *testing.T) { inBothModes(t, aPlansRateIsItsGoodput) }

func aPlansRateIsItsGoodput(t *testing.T, newLab makeLab) {
	const plan, length = 20e6, 10
	for _, way := range []string{"up", "down"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			d := l.start()
			l.iperfServer()
			d.admit(`{"type":"time","time_secs":3600,"down_mbits":20,"up_mbits":20}`)
			args := []string{"-t", fmt.Sprint(length)}
			if way == "down" {
				args = append(args, "-R")
			}
			share := float64(l.iperf(args...)) * 8 / length / plan
			figure(t, "goodput of a 20 Mbit plan, "+way, 100*share, "%")
			if share < 0.6 || share > 0.985 { // 90 is the aim
				t.Errorf("%s: goodput is %.1f %% of the plan, want 60 to 98.5 %%", way, 100*share)
			}
		})
	}
}

// A device goes on at the speed of the session that takes over, and without a
// limit at a global speed of 0.
func TestTheNextSessionTakesOverAtItsSpeed(t *testing.T) {
	t.Parallel()
	inBothModes(t, theNextSessionTakesOverAtItsSpeed)
}

func theNextSessionTakesOverAtItsSpeed(t *testing.T, newLab makeLab) {
	t.Parallel()
	const own = `{"type":"data","data_mb":1000,"down_mbits":%d,"up_mbits":%[1]d}`
	l := newLab(t, "bandwidth: {global: {down: 0, up: 0}}")
	d := l.start()
	slow, fast := d.sell(fmt.Sprintf(own, 1)), d.sell(fmt.Sprintf(own, 50))
	free := d.sell(`{"type":"data","data_mb":1000,"down_mbits":1,"up_mbits":1,"use_global_speed":true}`)
	s := l.stream(time.Millisecond, 1000) // 8 Mbit/s
	d.connect()
	s.flows()
	if got := s.rate(2 * time.Second); got > 2.5 { // the burst is 0.8 Mbit
		t.Errorf("%.2f Mbit/s of a plan of 1", got)
	}
	for i, next := range []session{fast, free} {
		d.must("PATCH", fmt.Sprintf("/sessions/%d", []session{slow, fast}[i].ID), `{"data_mb":0.001}`, nil) // less than it has used
		eventually(t, 2*soon, "the next one's speed is used", func() error {
			if got := s.rate(time.Second); got < 3 {
				return fmt.Errorf("%.2f Mbit/s of 8", got)
			}
			return nil
		})
		if v := d.session(next.ID); v.State != "running" {
			t.Errorf("the client's session is %+v", v)
		}
	}
	d.disconnect()
}
