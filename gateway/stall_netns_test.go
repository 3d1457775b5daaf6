//go:build netns

package gateway_test

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// halt stops one of gatewayd's processes where it is, until the returned func
// lets it go on.
func (d *daemon) halt(name string) (goOn func()) {
	d.t.Helper()
	pid := d.process(name)
	check(d.t, syscall.Kill(pid, syscall.SIGSTOP))
	goOn = func() { _ = syscall.Kill(pid, syscall.SIGCONT) } // it may be gone
	d.t.Cleanup(goOn)
	return goOn
}

func TestPlansEndOnTimeWithoutControl(t *testing.T) {
	t.Parallel()
	inBothModes(t, plansEndOnTimeWithoutControl)
}

func plansEndOnTimeWithoutControl(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	one := d.sell(fmt.Sprintf(seconds, 4))
	two := d.sell(fmt.Sprintf(megabyte, 0.05)) // 500 datagrams, half a second
	s := l.stream(time.Millisecond, 100)
	d.connect()
	s.flows()
	time.Sleep(2 * time.Second) // the next session is handed out by then, as a rule at once
	goOn := d.halt("control")
	time.Sleep(4 * time.Second)
	s.end()
	first, last, missing := s.span()
	about(t, "the far end heard the client for", last.Sub(first), 4500*time.Millisecond)
	if missing != 0 {
		t.Errorf("%d datagrams are missing", missing)
	}
	goOn()
	up, _ := l.settle()
	one, two = d.becomes(one.ID, "consumed"), d.becomes(two.ID, "consumed")
	if one.UpBytes+two.UpBytes != up.bytes || two.UpBytes != 50_000 || one.TimeCons != 4 {
		t.Errorf("%+v and %+v, %d bytes arrived", one, two, up.bytes)
	}
}

func TestAStalledStoreStopsNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	s := l.stream(time.Millisecond, 100)
	s.flows()
	goOn := d.halt("store")
	for range 10 {
		began := time.Now()
		if v = d.session(v.ID); v.State != "running" || time.Since(began) > soon {
			t.Errorf("after %v: %+v", time.Since(began), v)
		}
	}
	began := time.Now()
	code, err := d.ask("POST", "/devices/"+clientMAC+"/sessions", anHour, nil)
	t.Logf("a change was answered %d after %v: %v", code, time.Since(began).Round(time.Millisecond), err)
	if took := time.Since(began); code != http.StatusServiceUnavailable || took > 2*soon {
		t.Errorf("a change was answered %d after %v, want 503 in time", code, took)
	}
	eventually(t, soon, "status says so", func() error {
		if now := d.status(); len(now.Degraded) == 0 || !now.Ready {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	goOn()
	eventually(t, 2*soon, "changes are taken again", func() error {
		_, err := d.ask("POST", "/devices/"+clientMAC+"/sessions", anHour, nil)
		return err
	})
	if sent, arrived := s.end(); sent != arrived {
		t.Errorf("of %d datagrams %d arrived", sent, arrived)
	}
}
