//go:build netns

package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A killed process may leave this much uncounted, both directions together.
const maxUncounted = 262144

func TestAKilledControlIsNotNoticed(t *testing.T) { inBothModes(t, aKilledControlIsNotNoticed) }

func aKilledControlIsNotNoticed(t *testing.T, newLab makeLab) {
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	l.client.run("ping", "-c", "1", "-W", "2", serverIP) // all next hops are known
	// Other programs may keep the forwarder from its ring, which holds 200 ms of
	// the stream: what is lost there, and only that, is tried again.
	for tries := 1; ; tries++ {
		overflow := d.status().Ports["lan"].Overflow
		lost := l.killsControl(d, v.ID)
		overflow = d.status().Ports["lan"].Overflow - overflow
		figure(t, "datagrams lost at 10,000/s by two kills of control", float64(lost), "")
		if lost == 0 {
			break
		}
		if t.Logf("try %d: %d of them in the ring of the LAN port", tries, overflow); tries == 3 || lost != int(overflow) {
			t.Errorf("%d datagrams are lost, want none", lost)
			break
		}
	}
	d.disconnect()
}

// killsControl kills it twice under a stream, and returns what was lost of that.
func (l *lab) killsControl(d *daemon, id int64) (lost int) {
	t := l.t
	t.Helper()
	up, down := l.settle()
	before := d.session(id)
	s := l.stream(100*time.Microsecond, 200)
	s.flows()
	began := time.Now()
	for range 2 {
		time.Sleep(500 * time.Millisecond)
		pid := d.kill("control")
		killed := time.Now()
		d.replaced("control", pid)
		figureOf(t, "control serves again after a kill", time.Since(killed))
	}
	time.Sleep(500 * time.Millisecond)
	running := d.session(id)
	if want := uint(time.Since(began).Seconds()); running.State != "running" || running.TimeCons < want-1 {
		t.Errorf("%+v after %d s, want running with that many seconds consumed", running, want)
	}
	sent, arrived := s.end()
	if s.twice != 0 {
		t.Errorf("%d datagrams arrived twice", s.twice)
	}
	u, w := l.settle()
	if v := d.session(id); v.UpBytes-before.UpBytes != u.bytes-up.bytes || v.DownBytes-before.DownBytes != w.bytes-down.bytes {
		t.Errorf("billed %d up and %d down, arrived %d and %d", v.UpBytes-before.UpBytes, v.DownBytes-before.DownBytes,
			u.bytes-up.bytes, w.bytes-down.bytes)
	}
	t.Logf("%d datagrams sent, %d arrived", sent, arrived)
	return sent - arrived
}

func TestAKilledStoreLosesNothingThatWasAcknowledged(t *testing.T) {
	inBothModes(t, aKilledStoreLosesNothingThatWasAcknowledged)
}

func aKilledStoreLosesNothingThatWasAcknowledged(t *testing.T, newLab makeLab) {
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	s := l.stream(time.Millisecond, 200)
	s.flows()

	var selling sync.WaitGroup
	var mu sync.Mutex
	var sold []session
	answers := map[int]int{}
	stop := make(chan struct{})
	for range 4 {
		selling.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var v session
				began := time.Now()
				code, err := d.ask("POST", "/devices/"+clientMAC+"/sessions", anHour, &v)
				if took := time.Since(began); took > soon+soon/2 {
					t.Errorf("a change was answered after %v", took)
				}
				if code != http.StatusCreated && code != http.StatusServiceUnavailable {
					t.Errorf("a change was answered %d: %v", code, err)
				}
				mu.Lock()
				if answers[code]++; code == http.StatusCreated {
					sold = append(sold, v)
				}
				mu.Unlock()
			}
		})
	}
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		pid := d.kill("store")
		if v := d.session(v.ID); v.State != "running" { // reads come from memory
			t.Errorf("without a store: %+v", v)
		}
		d.replaced("store", pid)
	}
	eventually(t, 2*soon, "sessions are sold", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(sold) < 10 {
			return fmt.Errorf("only %d could be", len(sold))
		}
		return nil
	})
	close(stop)
	selling.Wait()
	t.Logf("changes by answer: %v", answers)
	if sent, arrived := s.end(); sent != arrived {
		t.Errorf("of %d datagrams %d arrived", sent, arrived)
	}
	before := d.session(v.ID)
	d.stop()
	d = l.start()
	for _, v := range sold {
		if code, err := d.ask("GET", fmt.Sprintf("/sessions/%d", v.ID), "", nil); code != http.StatusOK {
			t.Errorf("session %d was acknowledged, and is %d: %v", v.ID, code, err)
		}
	}
	if after := d.session(v.ID); after.UpBytes < before.UpBytes {
		t.Errorf("%d bytes are on disk of %d", after.UpBytes, before.UpBytes)
	}
}

func TestAKilledForwarderGoesOn(t *testing.T) { inBothModes(t, aKilledForwarderGoesOn) }

func aKilledForwarderGoesOn(t *testing.T, newLab makeLab) {
	const size = 20e6
	source, sum := noise(size)
	_, err := io.Copy(io.Discard, source)
	check(t, err)
	for _, row := range []struct {
		name, plan, load, want string
	}{
		{"with a download at 40 Mbit", `{"type":"time_or_data","time_secs":3600,"data_mb":1000,"down_mbits":40,"up_mbits":40}`,
			"curl -sS -m 40 http://" + serverIP + "/ | sha256sum", fmt.Sprintf("%x", sum.Sum(nil))},
		{"with TCP both ways at full speed", anHour, "iperf3 -c " + serverIP + " -t 4 --bidir", "iperf Done"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t)
			d := l.start()
			l.server.web(serverIP+":80", depot(size))
			l.iperfServer()
			v := d.admit(row.plan)
			up, down := l.settle()
			load := l.client.start("sh", "-c", row.load)
			const kills = 3
			for range kills {
				time.Sleep(500 * time.Millisecond)
				pid := d.kill("forward")
				killed := time.Now()
				d.replaced("forward", pid)
				figureOf(t, "status is whole again after a kill of forward", time.Since(killed))
			}
			if v := d.session(v.ID); v.State != "running" {
				t.Errorf("%+v, want running", v)
			}
			if said := load.wait(45 * time.Second); !strings.Contains(said, row.want) {
				t.Errorf("%s: %s, want %s", row.load, said, row.want)
			}
			u, w := l.settle()
			v = d.session(v.ID)
			short := int64(u.bytes-up.bytes+w.bytes-down.bytes) - int64(v.UpBytes+v.DownBytes)
			t.Logf("%d bytes of %d were not counted", short, v.UpBytes+v.DownBytes)
			figure(t, "not counted over 3 kills of forward, "+row.name, float64(short), "bytes")
			if short < 0 || short > kills*maxUncounted {
				t.Errorf("%d bytes were not counted, want 0 to %d", short, kills*maxUncounted)
			}
		})
	}
}

func TestAKilledKeeperCostsNothing(t *testing.T) { inBothModes(t, aKilledKeeperCostsNothing) }

func aKilledKeeperCostsNothing(t *testing.T, newLab makeLab) {
	for _, row := range []struct {
		name    string
		config  string
		resumes bool
	}{
		{"sessions resume", "sessions: {resume_on_restart: true}", true},
		{"sessions do not resume when the config says so", "sessions: {resume_on_restart: false}", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, row.config)
			l.gateway.setting("ipv6/conf/eth1/disable_ipv6", "0")
			d := l.start()
			began := time.Now()
			v := d.admit(anHour)
			l.client.run("ping", "-c", "1", "-W", "2", serverIP)
			s := l.stream(time.Millisecond, 500)
			s.flows()
			time.Sleep(2 * time.Second)
			children := d.children()
			if len(children) != 3 {
				t.Fatalf("the keeper's children are %v, want forward, control and store", children)
			}
			d.expected = true
			check(t, syscall.Kill(d.cmd.Process.Pid, syscall.SIGKILL))
			killed := time.Now()
			gone(t, children)
			figureOf(t, "children have ended after a kill of the keeper", time.Since(killed))
			most := uint(time.Since(began) / time.Second) // that may be billed
			sent, arrived := s.end()
			if arrived == 0 || arrived == sent {
				t.Fatalf("of %d datagrams %d arrived", sent, arrived)
			}
			up, down := l.settle()
			time.Sleep(2 * time.Second) // not billed

			d = l.start()
			again := d.session(v.ID)
			if again.UpBytes != up.bytes || again.DownBytes != down.bytes {
				t.Errorf("billed %d up and %d down, arrived %d and %d", again.UpBytes, again.DownBytes, up.bytes, down.bytes)
			}
			if again.TimeCons > most {
				t.Errorf("%d s are billed of %d", again.TimeCons, most)
			}
			if said, err := l.client.try("ping", "-c", "20", "-i", "0.1", "-W", "2", serverIP); (err == nil) != row.resumes {
				t.Errorf("after the restart: %s", said)
			}
			now := d.session(v.ID)
			if want := map[bool]string{true: "running", false: "available"}[row.resumes]; now.State != want {
				t.Errorf("%+v, want %s", now, want)
			}
			if !row.resumes && (now.UpBytes != again.UpBytes || now.TimeCons != again.TimeCons) {
				t.Errorf("not resumed, and yet %+v became %+v", again, now)
			}
			d.stop()
			if v6 := l.gateway.setting("ipv6/conf/eth1/disable_ipv6"); v6 != "0" {
				t.Errorf("disable_ipv6 is %s at the end, was 0 before the killed start", v6)
			}
		})
	}
}
