//go:build netns

package gateway_test

import (
	"strings"
	"testing"
	"time"
)

// silentFor is how long a pause is looked at.
const silentFor = 2 * time.Second

// quiet checks for a while that nothing arrives that is sent from now on, and
// that the session is as it was at the end of it.
func (s *stream) quiet(d *daemon, before session) {
	s.t.Helper()
	next := s.sent.Load() + 1 // one may be on its way to the socket
	time.Sleep(silentFor)
	s.mu.Lock()
	for number := range s.arrived {
		if number > next {
			s.t.Errorf("datagram %d arrived, sent after the %d before the pause", number, next)
		}
	}
	s.mu.Unlock()
	if v := d.session(before.ID); v.State != "paused" || v.RemainingTime != before.RemainingTime || v.UpBytes != before.UpBytes {
		s.t.Errorf("after %v of pause %+v, before %+v", silentFor, v, before)
	}
}

// A paused device is connected, and neither its packets nor its time go on,
// whoever dies meanwhile. Then the same conversation goes on.
func TestPauseAndResumeInPlace(t *testing.T) {
	t.Parallel()
	inBothModes(t, pauseAndResumeInPlace)
}

func pauseAndResumeInPlace(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	began := time.Now()
	sold := d.admit(anHour)
	s := l.stream(5*time.Millisecond, 200)
	s.flows()
	say := func(want int, text string, args ...string) {
		t.Helper()
		code, out, errs := l.command(append(args, "--socket", l.dir+"/gatewayd.sock")...)
		if code != want || !strings.Contains(out+errs, text) {
			t.Errorf("gatewayd %v: exit %d: %s%s\nwant exit %d with %s", args, code, out, errs, want, text)
		}
	}
	var paused time.Duration // by the test's own clock
	for _, row := range []struct {
		what string
		do   func()
	}{
		{"nobody dies", func() {}},
		{"control dies", func() { d.replaced("control", d.kill("control")) }},
		{"the forwarder dies", func() { d.replaced("forward", d.kill("forward")) }},
		{"the store dies", func() { d.replaced("store", d.kill("store")) }},
		{"all end", func() { d.stop(); d = l.start() }},
	} {
		say(0, "is paused: session 1, ", "pause", clientIP, "--notify", "tea")
		since := time.Now()
		before := d.session(sold.ID)
		row.do()
		s.quiet(d, before)
		if v := d.device(clientMAC); !v.Connected || v.Session == nil || v.Session.State != "paused" {
			t.Errorf("%s: %+v %+v", row.what, v, v.Session)
		}
		say(1, "let it go on: gatewayd resume", "connect", clientMAC)
		paused += time.Since(since)
		say(0, "goes on: session 1, ", "resume", clientMAC)
		s.flows()
		say(1, "not paused", "resume", clientMAC)
	}
	s.end()
	v := d.session(sold.ID)
	most := time.Since(began) - paused + time.Second
	if used := time.Duration(v.TimeCons) * time.Second; used > most {
		t.Errorf("%v are billed of %v, %v of which were paused", used, time.Since(began), paused)
	}
	say(0, "is paused", "pause", clientIP)
	say(0, "is disconnected", "disconnect", clientIP)
	if v := d.session(sold.ID); v.State != "available" {
		t.Errorf("a paused session that was disconnected is %s", v.State)
	}
	if _, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP); err == nil {
		t.Error("a disconnected client's packets pass")
	}
}

// A paused device is disconnected while the store does not answer, and control
// is killed before that is on disk: it stays disconnected.
func TestADisconnectWithoutTheStoreOutlivesControl(t *testing.T) {
	t.Parallel()
	l := newLab(t, "sessions: {idle_pause: 2s}")
	d := l.start()
	sold := d.admit(anHour)
	d.paused(sold.ID, "idle")
	time.Sleep(silentFor) // by then it is on disk as well
	d.halt("store")
	if code, _ := d.ask("POST", "/devices/"+clientMAC+"/disconnect", "", nil); code != 503 {
		t.Errorf("disconnect answers %d, want 503", code)
	}
	d.replaceControl()
	d.kill("store") // with what it has not read
	d.sound()
	d.becomes(sold.ID, "available")
	if _, err := l.client.try("ping", "-c", "2", "-W", "1", serverIP); err == nil {
		t.Error("a disconnected client's packets pass")
	}
	if v := d.device(clientMAC); v.Connected {
		t.Errorf("%+v", v)
	}
	if v := d.session(sold.ID); v.State != "available" {
		t.Errorf("%+v", v)
	}
}
