//go:build netns

package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reloaded is what a reload answers.
type reloaded struct {
	Applied      []string `json:"applied"`
	NeedsRestart []string `json:"needs_restart"`
}

// rewrites writes the config with other lines, given as key and value.
func (l *lab) rewrites(lines ...string) {
	l.t.Helper()
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ": ")
		l.config[key] = value
	}
	l.writeConfig()
}

// reload writes the config with other lines and has gatewayd read it.
func (d *daemon) reload(lines ...string) (r reloaded) {
	d.t.Helper()
	d.l.rewrites(lines...)
	d.must("POST", "/reload", "", &r)
	return r
}

// configState is what the status says of the config.
type configState struct {
	NeedsRestart []string `json:"needs_restart"`
	Refused      string   `json:"refused"`
}

func (d *daemon) configState() configState {
	d.t.Helper()
	var all struct{ Config configState }
	d.must("GET", "/status", "", &all)
	return all.Config
}

// signal sends the service a signal, and does not wait for what it does.
func (d *daemon) signal(signal syscall.Signal) {
	d.t.Helper()
	check(d.t, d.cmd.Process.Signal(signal))
}

// talk is a TCP connection from the client to a server that says all of it again.
type talk struct {
	t      *testing.T
	conn   net.Conn
	answer *bufio.Reader
}

func (l *lab) talk() *talk {
	l.t.Helper()
	var at net.Listener
	x := &talk{t: l.t}
	check(l.t, l.server.do(func() (err error) {
		at, err = net.Listen("tcp4", serverIP+":0")
		return err
	}))
	l.t.Cleanup(func() { at.Close() })
	go func() {
		if c, err := at.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	check(l.t, l.client.do(func() (err error) {
		x.conn, err = net.DialTimeout("tcp4", at.Addr().String(), soon)
		return err
	}))
	l.t.Cleanup(func() { x.conn.Close() })
	x.answer = bufio.NewReader(x.conn)
	return x
}

// says says something, and has to be answered.
func (x *talk) says(i int) {
	x.t.Helper()
	check(x.t, x.conn.SetDeadline(time.Now().Add(soon)))
	line := fmt.Sprintf("reload %d\n", i)
	_, err := x.conn.Write([]byte(line))
	check(x.t, err)
	if said, err := x.answer.ReadString('\n'); said != line {
		x.t.Fatalf("the connection says %q, %v, want %q", said, err, line)
	}
}

// Fifty reloads, each of which changes something, beside a stream and a connection:
// no datagram is lost, none comes twice, each byte is billed once, the connection and
// the translations stay, and all processes, too.
func TestReloadsLoseNothing(t *testing.T) { inBothModes(t, reloadsLoseNothing) }

func reloadsLoseNothing(t *testing.T, newLab makeLab) {
	const times = 50
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	children := d.children()
	up, down := l.settle()

	// One socket here is one there, as long as its translation lives.
	there, here := l.server.listenUDP(serverIP+":0"), l.client.listenUDP(clientIP+":0")
	seenFrom := func() string {
		t.Helper()
		_, err := here.WriteTo([]byte("who"), there.LocalAddr())
		check(t, err)
		check(t, there.SetReadDeadline(time.Now().Add(soon)))
		_, from, err := there.ReadFrom(make([]byte, 10))
		check(t, err)
		return from.String()
	}
	first := seenFrom()
	connection := l.talk()
	s := l.stream(200*time.Microsecond, 1000)
	s.flows()
	began := time.Now()
	for i := range times {
		r := d.reload(
			fmt.Sprintf("bandwidth: {total: {down: %s, up: %s}, global: {down: %s, up: 0}}", []string{"0", "50 Gbit"}[i%2], []string{"60 Gbit", "0"}[i%2],
				[]string{"100 Gbit", "0", "10 Gbit"}[i%3]),
			fmt.Sprintf("sessions: {idle_pause: %dm, ledger_keep: %dd, pause_on_silent_gateway: %ds}", 10+i, 30+i, 20+i%30),
			fmt.Sprintf("store: {path: %s/store, checkpoint: %ds}", l.dir, 1+i%2),
			fmt.Sprintf("log: {level: %s, format: %s}", []string{"debug", "info"}[i%2], []string{"json", "text"}[i%2]),
			fmt.Sprintf("metrics: {listen: 127.0.0.1:%d}", 9465+i%2))
		if len(r.Applied) < 5 || len(r.NeedsRestart) > 0 {
			t.Fatalf("reload %d: %+v", i, r)
		}
		connection.says(i)
	}
	figureOf(t, "a reload, with the connection's round trip", time.Since(began)/times)
	sent, arrived := s.end()
	if sent < times || arrived != sent || s.twice != 0 {
		t.Errorf("%d of %d datagrams arrived, %d twice", arrived, sent, s.twice)
	}
	t.Logf("%d datagrams beside %d reloads in %v", sent, times, time.Since(began))
	if now := seenFrom(); now != first {
		t.Errorf("the socket was %s, and is %s", first, now)
	}
	connection.says(times)
	d.billed(v.ID, up, down)
	if now := d.session(v.ID); now.State != "running" {
		t.Errorf("%+v", now)
	}
	if now := d.children(); fmt.Sprint(now) != fmt.Sprint(children) {
		t.Errorf("the processes were %v, and are %v", children, now)
	}
	if got := d.status().Degraded; len(got) > 0 {
		t.Errorf("degraded: %v", got)
	}
	if n := strings.Count(d.out.String(), "child ended"); n > 0 {
		t.Errorf("%d children ended", n)
	}
}

// A running session that uses the global speed has the new one from the next packet on,
// whoever asks for the reload.
func TestTheGlobalSpeedChangesAtReload(t *testing.T) {
	t.Parallel()
	inBothModes(t, theGlobalSpeedChangesAtReload)
}

func theGlobalSpeedChangesAtReload(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t, "bandwidth: {global: {down: 1 Mbit, up: 1 Mbit}}")
	d := l.start()
	v := d.admit(anHour)
	s := l.stream(time.Millisecond, 1000) // 8 Mbit/s
	s.flows()
	slow := func() {
		t.Helper()
		eventually(t, soon, "the stream is held to 1 Mbit/s", func() error {
			if got := s.rate(time.Second); got > 2.5 {
				return fmt.Errorf("%.2f Mbit/s", got)
			}
			return nil
		})
	}
	fast := func() {
		t.Helper()
		eventually(t, soon, "the stream is not held", func() error {
			if got := s.rate(time.Second); got < 5 {
				return fmt.Errorf("%.2f Mbit/s", got)
			}
			return nil
		})
	}
	slow()
	if r := d.reload("bandwidth: {global: {down: 1 Mbit, up: 50 Mbit}}"); fmt.Sprint(r) != "{[bandwidth.global.up] []}" {
		t.Errorf("%+v", r)
	}
	fast()
	l.rewrites("bandwidth: {global: {down: 1 Mbit, up: 1 Mbit}}")
	d.signal(syscall.SIGHUP)
	slow()

	// Whoever comes after a control that died has the same speed.
	d.reload("bandwidth: {global: {down: 1 Mbit, up: 0}}")
	d.replaced("control", d.kill("control"))
	fast()
	if now := d.session(v.ID); now.State != "running" {
		t.Errorf("%+v", now)
	}
}

// A file that is not right is refused as gatewayd check refuses it, and changes nothing,
// whether somebody waits for the answer or not.
func TestABadConfigIsRefusedAtReload(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.admit(anHour)
	good := l.config["log"]
	path := l.dir + "/gatewayd.yaml"
	socket := []string{"--socket", l.dir + "/gatewayd.sock"}

	l.rewrites("log: {level: all}")
	code, out, check := l.command("check", "--config", path)
	if code != 1 || out != "" {
		t.Fatalf("check: %d, %s%s", code, out, check)
	}
	want := strings.TrimSpace(strings.TrimPrefix(check, "gatewayd check: "))
	if !strings.Contains(want, "log.level: \"all\" is not known") || !strings.HasSuffix(want, "^") {
		t.Fatalf("check says %s", want)
	}
	code, out, errs := l.command(append([]string{"reload"}, socket...)...)
	if code != 1 || out != "" || errs != "gatewayd reload: "+want+"\nthe config that runs stays in force; correct the file and reload again\n" {
		t.Errorf("reload: %d, %s%s", code, out, errs)
	}
	answer, err := l.gateway.try("curl", "-s", "-w", "%{http_code} %{content_type}", "-X", "POST", "--unix-socket", socket[1], "http://gatewayd/api/v1/reload")
	if err != nil || !strings.Contains(answer, `"status":422`) || !strings.HasSuffix(answer, "422 application/problem+json") {
		t.Errorf("the API: %s %v", answer, err)
	}
	if c := d.configState(); c.Refused != want {
		t.Errorf("status: %+v, want %s", c, want)
	}
	said := strings.Count(d.out.String(), "the config is refused")
	d.signal(syscall.SIGHUP)
	eventually(t, soon, "the log says so", func() error {
		if now := d.out.String(); strings.Count(now, "the config is refused") <= said {
			return fmt.Errorf("%s", now[max(0, len(now)-500):])
		}
		return nil
	})
	if !strings.Contains(d.out.String(), "level=ERROR msg=\"the config is refused") {
		t.Errorf("the log has no error: %s", d.out.String())
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := l.command(append([]string{"reload"}, socket...)...); code != 1 || !strings.Contains(errs, "no such file or directory") {
		t.Errorf("without a file: %d, %s", code, errs)
	}
	l.rewrites("log: " + good)
	if code, out, errs := l.command(append([]string{"reload"}, socket...)...); code != 0 || !strings.Contains(out, "nothing has changed: what "+path+" says is in force\n") {
		t.Errorf("the good one again: %d, %s%s", code, out, errs)
	}
	if c := d.configState(); c.Refused != "" {
		t.Errorf("status: %+v", c)
	}
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)
	if s := d.status(); !s.Ready || len(s.Degraded) > 0 {
		t.Errorf("%+v", s)
	}
}

// What cannot change is named, by the command and from then on by the status, and
// is in force after a restart; all else of the file is at once.
func TestWhatNeedsARestartIsNamedAtReload(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.admit(anHour)
	wan := l.config["wan"]
	l.rewrites("limits: {clients: 100}", "wan: {interface: nothere0, address: "+wanIP+"/24, gateway: "+routerIP+"}", "log: {level: info}", "kernel: {without: [tcx]}")
	code, out, errs := l.command("reload", "--socket", l.dir+"/gatewayd.sock")
	if code != 0 || !strings.Contains(out, "in force now: log.level\n") || !strings.Contains(out, "after a restart: wan.interface, limits.clients, kernel.without; run: systemctl restart gatewayd\n") ||
		!strings.Contains(out, "warning: a restart would be refused: ") || !strings.Contains(out, "nothere0") {
		t.Errorf("%d, %s%s", code, out, errs)
	}
	if _, out, _ := l.command("reload", "--json", "--socket", l.dir+"/gatewayd.sock"); !strings.Contains(out, `"applied":[],"needs_restart":["wan.interface","limits.clients","kernel.without"]`) {
		t.Errorf("--json: %s", out)
	}
	want := []string{"wan.interface", "limits.clients", "kernel.without"}
	for _, name := range []string{"nobody", "control"} { // whoever else is asked says so, too
		if name != "nobody" {
			d.replaced(name, d.kill(name))
		}
		if c := d.configState(); !slices.Equal(c.NeedsRestart, want) {
			t.Errorf("status: %+v, want %v", c, want)
		}
	}
	if s := d.status(); !s.Ready || len(s.Degraded) > 0 {
		t.Errorf("%+v", s)
	}
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)
	if r := d.reload("wan: " + wan); !slices.Equal(r.NeedsRestart, want[1:]) {
		t.Errorf("with the WAN as it was: %+v", r)
	}
	d.stop()
	l.start()
	if c := l.newest.configState(); len(c.NeedsRestart) > 0 {
		t.Errorf("after a restart: %+v", c)
	}
}

// Scrapes move to another address, and are closed, without anything else being started
// again; so is the log.
func TestMetricsAndLogChangeAtReload(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	children := d.children()
	scrapes := func(address string) error {
		_, err := l.gateway.try("curl", "-sS", "--fail", "--max-time", "5", "http://"+address+"/metrics")
		return err
	}
	served, refused := "127.0.0.1:9464", ""
	for _, row := range []struct{ listen, at string }{
		{"127.0.0.1:9465", "127.0.0.1:9465"},
		{"0.0.0.0:9465", "127.0.0.1:9465"}, // the same port, which has to be given up first
		{`""`, ""},
		{"127.0.0.1:9464", "127.0.0.1:9464"},
	} {
		served, refused = row.at, served
		d.reload("metrics: {listen: " + row.listen + "}")
		eventually(t, soon, "metrics.listen: "+row.listen, func() error {
			if served != "" {
				return scrapes(served)
			}
			if scrapes(refused) == nil {
				return errNotYet
			}
			return nil
		})
		if refused != "" && refused != served && scrapes(refused) == nil {
			t.Errorf("%s: %s still answers", row.listen, refused)
		}
	}
	var other net.Listener
	check(t, l.gateway.do(func() (err error) {
		other, err = net.Listen("tcp4", "127.0.0.1:9466")
		return err
	}))
	d.reload("metrics: {listen: 127.0.0.1:9466}")
	eventually(t, soon, "it is said", func() error {
		if why := d.status().Degraded; len(why) != 1 || !strings.Contains(why[0], "metrics are not served") {
			return fmt.Errorf("degraded: %v", why)
		}
		return nil
	})
	other.Close()
	eventually(t, soon, "it is served when the other one is gone", func() error { return scrapes("127.0.0.1:9466") })

	d.reload("log: {level: debug, format: json}")
	eventually(t, soon, "all processes write JSON", func() error {
		lines := strings.Split(strings.TrimSpace(d.out.String()), "\n")
		if !strings.HasPrefix(lines[len(lines)-1], "{") {
			return fmt.Errorf("%s", lines[len(lines)-1])
		}
		return nil
	})
	if now := d.children(); fmt.Sprint(now) != fmt.Sprint(children) {
		t.Errorf("the processes were %v, and are %v", children, now)
	}
}
