//go:build netns

package gateway_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// event is a line of gatewayd events, or a data line of GET /events.
type event struct {
	ID        uint64
	Event     string
	DeviceID  int64 `json:"device_id"`
	Lost      uint64
	Restarted bool
	Data      struct {
		Message   string
		SessionID int64 `json:"session_id"`
	}
}

// events are those that a program printed so far, in whole lines that begin with
// prefix; ids have to grow.
func (p *program) events(prefix string) (got []event) {
	p.t.Helper()
	text := p.out.String()
	for line := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
		data, ok := strings.CutPrefix(line, prefix)
		if !ok || !strings.HasPrefix(data, "{") {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			p.t.Fatalf("%v: %s", err, line)
		}
		if n := len(got); n > 0 && got[n-1].ID >= e.ID {
			p.t.Errorf("event %d after %d", e.ID, got[n-1].ID)
		}
		got = append(got, e)
	}
	return got
}

// saw waits until a program printed as many events as wanted, and compares them,
// as "name message (session)".
func (p *program) saw(prefix string, want ...string) {
	p.t.Helper()
	var got []string
	eventually(p.t, soon, "all events are seen", func() error {
		got = nil
		for _, e := range p.events(prefix) {
			text := strings.TrimSpace(e.Event + " " + e.Data.Message)
			if e.Data.SessionID != 0 {
				text += fmt.Sprintf(" (%d)", e.Data.SessionID)
			}
			if e.Restarted {
				text += " restarted"
			}
			got = append(got, text)
		}
		if len(got) < len(want) {
			return fmt.Errorf("saw %q", got)
		}
		return nil
	})
	if !slices.Equal(got, want) {
		p.t.Errorf("saw  %q\nwant %q", got, want)
	}
}

// TestEventsAreSeenOnce: what real packets do is told once to who follows, also
// what the forwarder does while control stands still, is killed and comes back;
// both readers go on where they were.
func TestEventsAreSeenOnce(t *testing.T) {
	t.Parallel()
	const lines, data = "", "data: "
	l := newLab(t)
	socket := l.dir + "/gatewayd.sock"
	d := l.start()
	follow := func(args ...string) *program {
		return l.gateway.start(gatewaydPath(t), append([]string{"events", "--socket", socket}, args...)...)
	}
	browse := func(args ...string) *program {
		return l.gateway.start("curl", append([]string{"-sN", "--unix-socket", socket, "http://gatewayd/api/v1/events"}, args...)...)
	}
	follower, browser := follow("--after", "0"), browse("-H", "Last-Event-ID: 0")
	first := d.sell(fmt.Sprintf(megabyte, 0.02))
	second := d.sell(fmt.Sprintf(megabyte, 0.02))
	third := d.sell(anHour)
	d.must("POST", "/devices/"+clientMAC+"/connect", `{"notify":"welcome"}`, nil)
	l.client.try("ping", "-c", "25", "-i", "0.02", "-s", "1400", "-W", "1", serverIP) // 14 of them, there and back, use both up
	d.becomes(second.ID, "consumed")
	d.must("POST", "/devices/"+clientMAC+"/disconnect", `{"notify":"bye"}`, nil)
	says := func(format string, id int64, more ...any) string {
		return fmt.Sprintf(format+" (%d)", append(more, id)...)
	}
	want := []string{"client:created",
		says("session:changed a new session", first.ID), says("session:changed a new session", second.ID), says("session:changed a new session", third.ID),
		says("session:connected welcome", first.ID),
		says("session:consumed the data is used up", first.ID), says("session:changed session %[1]d goes on after session %[2]d", second.ID, second.ID, first.ID),
		says("session:consumed the data is used up", second.ID), says("session:changed session %[1]d goes on after session %[2]d", third.ID, third.ID, second.ID),
		says("session:disconnected bye", third.ID),
	}
	follower.saw(lines, want...)
	browser.saw(data, want...)
	after := follower.events(lines)[len(want)-1].ID

	d.must("DELETE", fmt.Sprintf("/sessions/%d", third.ID), "", nil)
	fourth := d.sell(fmt.Sprintf(megabyte, 0.02))
	fifth := d.sell(fmt.Sprintf(megabyte, 0.02))
	d.connect()
	want = append(want, says("session:changed the session was deleted", third.ID), says("session:changed a new session", fourth.ID),
		says("session:changed a new session", fifth.ID), says("session:connected", fourth.ID))
	follower.saw(lines, want...)
	control := d.process("control")
	check(t, syscall.Kill(control, syscall.SIGSTOP))
	l.client.try("ping", "-c", "30", "-i", "0.02", "-s", "1400", "-W", "1", serverIP) // both are used up, and nobody looks
	d.kill("control")
	said := follower.wait(soon)
	if code := follower.cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("gatewayd events ended with %d when control was killed, want 3: %s", code, said)
	}
	_, on, ok := strings.Cut(said, "; go on with gatewayd events ")
	if !ok {
		t.Fatalf("it does not say how to go on: %s", said)
	}
	browser.wait(soon)
	d.replaced("control", control)
	d.becomes(fifth.ID, "consumed")

	again := l.gateway.start(gatewaydPath(t), append([]string{"events"}, strings.Fields(on)...)...)
	missed := []string{"lost restarted", says("session:consumed the data is used up", fourth.ID),
		says("session:changed session %[1]d goes on after session %[2]d", fifth.ID, fifth.ID, fourth.ID),
		says("session:consumed the data is used up", fifth.ID), says("session:disconnected the data is used up", fifth.ID)}
	again.saw(lines, missed...)
	back := browse("-H", fmt.Sprint("Last-Event-ID: ", after))
	back.saw(data, missed...)
	if got := again.events(lines)[0]; got.ID <= after || got.Lost == 0 {
		t.Errorf("the notice is %+v, the newest before was %d", got, after)
	}
	_ = again.cmd.Process.Signal(os.Interrupt)
	again.wait(soon)
	if code := again.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("gatewayd events ended with %d at Ctrl-C, want 0", code)
	}
	if took := d.stop(); took > 2*soon {
		t.Errorf("gatewayd took %v to end with a reader", took)
	}
}

// TestReadersOfEventsCostLittle: one that stands still under a flood of events
// is hung up on, 600 are more than are served, and neither costs much memory or
// keeps anybody waiting.
func TestReadersOfEventsCostLittle(t *testing.T) {
	t.Parallel()
	const readers, most = 600, 256
	l := newLab(t, "log: {level: info}")
	d := l.start()
	v := d.admit(anHour)
	ask := func() net.Conn {
		c, err := net.Dial("unix", l.dir+"/gatewayd.sock")
		check(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = fmt.Fprint(c, "GET /api/v1/events HTTP/1.1\r\nHost: gatewayd\r\n\r\n")
		check(t, err)
		return c
	}
	control := d.process("control")
	before := pss(t, control)
	still := ask() // and reads no more than this
	ok := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(still, ok); err != nil || string(ok) != "HTTP/1.1 200" {
		t.Fatalf("%q, %v", ok, err)
	}
	curl := l.gateway.start("curl", "-sN", "--unix-socket", l.dir+"/gatewayd.sock", "http://gatewayd/api/v1/events")
	curl.says("retry:")

	var served, refused, other atomic.Int64
	var conns []net.Conn
	for range readers {
		conns = append(conns, ask())
	}
	for _, c := range conns {
		go func() {
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			switch {
			case err == nil && answer.StatusCode == http.StatusOK:
				served.Add(1)
				io.Copy(io.Discard, answer.Body)
			case err == nil && answer.StatusCode == http.StatusServiceUnavailable:
				refused.Add(1)
			default:
				other.Add(1)
			}
		}()
	}
	eventually(t, 2*soon, "all are answered", func() error {
		if s, r := served.Load(), refused.Load(); s+r != readers || s != most-2 || other.Load() != 0 {
			return fmt.Errorf("%d served, %d refused, %d neither", s, r, other.Load())
		}
		return nil
	})

	// Some 200 client:created a second, of 300 bytes each, to 256 readers.
	file := l.dir + "/flood"
	to := strings.ReplaceAll("0x"+l.portMAC("eth1").String(), ":", ", 0x")
	frame := "{" + to + ", 0x02, 0x00, 0x00, drnd(3), 0x08, 0x00, 0x45, 0, c16(40), drnd(2), c16(0), 64, 17, csumip(14, 33), 10, 10, 0, 9, 198, 51, 100, 1, c16(9), c16(9), c16(20), c16(0), fill(0, 12)}\n"
	check(t, os.WriteFile(file, []byte(frame), 0o600))
	flood := l.client.start("trafgen", "-n", "6000", "--rate", "400pps", "-P", "1", "-q", "-o", "eth0", "-i", file)
	var slowest time.Duration
	for n := range 10 {
		began := time.Now()
		d.must("PATCH", fmt.Sprintf("/sessions/%d", v.ID), fmt.Sprintf(`{"time_secs":%d}`, 7200+n), nil)
		slowest = max(slowest, time.Since(began))
		time.Sleep(time.Second)
	}
	figureOf(t, "a change during a flood of events to 256 readers, the slowest of 10", slowest)
	if slowest > 3*time.Second {
		t.Errorf("a change took %v", slowest)
	}
	flood.wait(2 * soon)
	eventually(t, soon, "the others see every change", func() error {
		got := 0
		for _, e := range curl.events("data: ") {
			if e.Event == "session:changed" && e.Data.SessionID == v.ID {
				got++
			}
		}
		if got != 10 {
			return fmt.Errorf("%d of 10", got)
		}
		return nil
	})
	made := len(curl.events("data: "))
	figure(t, "events in the flood", float64(made), "")
	if made < 500 {
		t.Errorf("%d events in the flood: it was none", made)
	}
	grown := pss(t, control) - before
	figure(t, "memory of control for 256 readers in a flood of events", float64(grown)/1e6, "MB")
	if grown > 64e6 {
		t.Errorf("control grew by %d bytes", grown)
	}
	check(t, still.SetReadDeadline(time.Now().Add(4*soon)))
	if _, err := io.Copy(io.Discard, still); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who stands still is not hung up on: %v", err)
	}
	d.disconnect()
}
