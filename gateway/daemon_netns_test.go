//go:build netns

package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lines is what a program printed so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// gatewaydPath is the program under test.
func gatewaydPath(t *testing.T) string {
	t.Helper()
	path := os.Getenv("GATEWAYD_BINARY")
	if path == "" {
		t.Fatal("GATEWAYD_BINARY is not set: build the program and name it, as `make namespaces` does")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join("..", path)
	}
	path, err := filepath.Abs(path)
	check(t, err)
	return path
}

// path is the program that the lab runs.
func (l *lab) path() string {
	l.t.Helper()
	if l.program != "" {
		return l.program
	}
	return gatewaydPath(l.t)
}

// daemon is a running gatewayd.
type daemon struct {
	*program
	l        *lab
	http     *http.Client
	readyIn  time.Duration // from its start to its line
	expected bool          // its end is
}

// launch starts gatewayd and does not wait for it.
func (l *lab) launch() *daemon {
	l.t.Helper()
	d := &daemon{l: l}
	line := append(slices.Clone(l.within), l.path(), "run", "--config", l.writeConfig())
	if l.card != "" { // mounted for gatewayd alone: its end takes the mount away
		line = append([]string{"unshare", "--mount", "sh", "-ec", `mount -o loop "$0" "$1"; shift; exec "$@"`, l.card, l.dir + "/store"}, line...)
	}
	d.program = l.gateway.start(line[0], line[1:]...)
	l.newest = d
	d.http = api(l.dir + "/gatewayd.sock")
	l.t.Cleanup(func() {
		if l.t.Failed() && l.newest == d {
			said := strings.Split(strings.TrimSpace(d.out.String()), "\n")
			l.t.Logf("gatewayd said last:\n  %s", strings.Join(said[max(0, len(said)-40):], "\n  "))
		}
	})
	return d
}

// api asks at a socket.
func api(socket string) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// start starts gatewayd and waits until it is ready. Ended with the test, it
// leaves no process behind.
func (l *lab) start() *daemon {
	l.t.Helper()
	began := time.Now()
	d := l.launch()
	for !strings.Contains(d.out.String(), "gatewayd: ready") {
		select {
		case <-d.ended:
			l.t.Fatalf("gatewayd has ended: %s", d.out.String())
		default:
		}
		if time.Sleep(5 * time.Millisecond); time.Since(began) > 2*soon {
			l.t.Fatalf("gatewayd is not ready after %v", time.Since(began))
		}
	}
	d.readyIn = time.Since(began)
	l.t.Cleanup(func() {
		if !d.expected {
			d.stop()
		}
	})
	return d
}

// refused starts gatewayd, which has to end with code 1, and returns what it said.
func (l *lab) refused() string {
	l.t.Helper()
	d := l.launch()
	said := d.wait(2 * soon)
	if code := d.cmd.ProcessState.ExitCode(); code != 1 {
		l.t.Errorf("gatewayd ended with %d, want 1: %s", code, said)
	}
	return said
}

// stop ends gatewayd as systemd would and returns how long it and all its
// children took.
func (d *daemon) stop() time.Duration {
	d.t.Helper()
	d.expected = true
	children := d.children()
	began := time.Now()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	d.wait(2 * soon)
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("gatewayd ended with %d after SIGTERM, want 0", code)
	}
	gone(d.t, children)
	return time.Since(began)
}

// children are the pids of gatewayd's processes but the keeper, by name.
func (d *daemon) children() map[string]int {
	pids := map[string]int{}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.cmd.Process.Pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(text)) {
			line, _ := os.ReadFile("/proc/" + field + "/cmdline")
			words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
			var pid int
			if _, err := fmt.Sscan(field, &pid); err == nil {
				pids[words[len(words)-1]] = pid
			}
		}
	}
	return pids
}

// sweep kills what a broken gatewayd leaves in the gateway's namespace.
func (l *lab) sweep() {
	var ours, its unix.Stat_t
	check(l.t, unix.Fstat(int(l.gateway.handle), &ours))
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		exe, _ := os.Readlink(dir + "/exe")
		if exe != l.path() || unix.Stat(dir+"/ns/net", &its) != nil || its.Ino != ours.Ino {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			l.t.Errorf("process %d of gatewayd is left", pid)
		}
	}
}

// gone waits until processes have ended.
func gone(t *testing.T, pids map[string]int) {
	t.Helper()
	for name, pid := range pids {
		eventually(t, 2*soon, name+" ends", func() error {
			if alive(pid) {
				return fmt.Errorf("process %d is there", pid)
			}
			return nil
		})
	}
}

// alive says whether a process runs; a zombie does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	after := text[bytes.LastIndexByte(text, ')')+1:]
	return !bytes.HasPrefix(bytes.TrimSpace(after), []byte("Z"))
}

// process waits until one of gatewayd's processes runs, which may just be started
// anew, and returns its pid.
func (d *daemon) process(name string) (pid int) {
	d.t.Helper()
	eventually(d.t, 2*soon, name+" runs", func() error {
		all := d.children()
		if pid = all[name]; pid == 0 {
			return fmt.Errorf("the processes are %v", all)
		}
		return nil
	})
	return pid
}

// kill ends one of gatewayd's processes with SIGKILL and returns its pid.
func (d *daemon) kill(name string) int {
	d.t.Helper()
	pid := d.process(name)
	check(d.t, syscall.Kill(pid, syscall.SIGKILL))
	return pid
}

// replaced waits until a killed process has a successor that serves.
func (d *daemon) replaced(name string, pid int) {
	d.t.Helper()
	eventually(d.t, 2*soon, name+" is back", func() error {
		if now := d.children()[name]; now == 0 || now == pid {
			return fmt.Errorf("it is process %d", now)
		}
		var s status
		code, err := d.ask("GET", "/status", "", &s)
		s.Degraded = slices.DeleteFunc(s.Degraded, func(why string) bool { return strings.Contains(why, "is started again each time") })
		if err != nil || code != http.StatusOK || !s.Ready || len(s.Degraded) > 0 {
			return fmt.Errorf("status %d %+v %v", code, s, err)
		}
		return nil
	})
}

// What the API says, as far as the tests ask.
type (
	session struct {
		ID            int64      `json:"id"`
		State         string     `json:"state"`
		PauseReason   string     `json:"pause_reason"`
		TimeCons      uint       `json:"time_cons"`
		DataCons      float64    `json:"data_cons"`
		RemainingTime uint       `json:"remaining_time"`
		RemainingData float64    `json:"remaining_data"`
		UpBytes       uint64     `json:"up_bytes"`
		DownBytes     uint64     `json:"down_bytes"`
		StartedAt     *time.Time `json:"started_at"`
		ExpiresAt     *time.Time `json:"expires_at"`
	}
	device struct {
		ID        int64    `json:"id"`
		MAC       string   `json:"mac"`
		IP        string   `json:"ip"`
		Connected bool     `json:"connected"`
		Session   *session `json:"session"`
	}
	port struct {
		Name      string `json:"name"`
		MAC       string `json:"mac"`
		Up        bool   `json:"up"`
		MTU       int    `json:"mtu"`
		TxPackets uint64 `json:"tx_packets"`
		Refused   uint64 `json:"refused"`
		Overflow  uint64 `json:"overflow"`
	}
	status struct {
		Ready       bool              `json:"ready"`
		Degraded    []string          `json:"degraded"`
		Ports       map[string]port   `json:"ports"`
		Drops       map[string]uint64 `json:"drops"`
		BilledBytes uint64            `json:"billed_bytes"`
		ExemptBytes uint64            `json:"exempt_bytes"`
		Clients     struct {
			Bound     int `json:"bound"`
			Connected int `json:"connected"`
		} `json:"clients"`
	}
)

// ask asks the API; into may be nil. A list that lacks what is on the disk, because the
// store takes longer than who reads is let wait, is asked for again.
func (d *daemon) ask(method, path, body string, into any) (code int, err error) {
	var text []byte
	for end := time.Now().Add(soon); ; time.Sleep(20 * time.Millisecond) {
		if code, text, err = d.once(method, path, body); err != nil {
			return code, err
		}
		if !strings.Contains(string(text), `"partial":true`) || time.Now().After(end) {
			break
		}
	}
	if into != nil {
		err = json.Unmarshal(text, into)
	}
	return code, err
}

// once is a call of the API and its answer.
func (d *daemon) once(method, path, body string) (code int, text []byte, err error) {
	r, err := http.NewRequest(method, "http://gatewayd/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := d.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	if text, err = io.ReadAll(answer.Body); err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s", method, path, text)
	}
	return answer.StatusCode, text, err
}

// must asks the API what has to be done.
func (d *daemon) must(method, path, body string, into any) {
	d.t.Helper()
	if _, err := d.ask(method, path, body, into); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) status() (s status) {
	d.t.Helper()
	d.must("GET", "/status", "", &s)
	return s
}

func (d *daemon) device(key string) (v device) {
	d.t.Helper()
	d.must("GET", "/devices/"+key, "", &v)
	return v
}

func (d *daemon) session(id int64) (v session) {
	d.t.Helper()
	d.must("GET", fmt.Sprintf("/sessions/%d", id), "", &v)
	return v
}

// Plans are the bodies that sell them.
const (
	anHour   = `{"type":"time","time_secs":3600,"use_global_speed":true}`
	seconds  = `{"type":"time","time_secs":%d,"use_global_speed":true}`
	megabyte = `{"type":"data","data_mb":%v,"use_global_speed":true}`
)

// sell adds the client, if it is not there, and gives it a plan.
func (d *daemon) sell(plan string) session {
	d.t.Helper()
	return d.sellTo(clientMAC, clientIP, plan)
}

func (d *daemon) sellTo(mac, ip, plan string) (v session) {
	d.t.Helper()
	d.must("POST", "/devices", `{"mac":"`+mac+`","ip":"`+ip+`"}`, nil)
	d.must("POST", "/devices/"+mac+"/sessions", plan, &v)
	return v
}

// connect lets the client pass.
func (d *daemon) connect() (v device) {
	d.t.Helper()
	d.must("POST", "/devices/"+clientMAC+"/connect", "", &v)
	return v
}

// disconnect pauses.
func (d *daemon) disconnect() (v device) {
	d.t.Helper()
	d.must("POST", "/devices/"+clientMAC+"/disconnect", "", &v)
	return v
}

// admit sells a plan and connects.
func (d *daemon) admit(plan string) session {
	d.t.Helper()
	v := d.sell(plan)
	d.connect()
	return v
}

// becomes waits until a session is in a state.
func (d *daemon) becomes(id int64, state string) (v session) {
	d.t.Helper()
	eventually(d.t, soon, fmt.Sprintf("session %d is %s", id, state), func() error {
		if v = d.session(id); v.State != state {
			return fmt.Errorf("%+v", v)
		}
		return nil
	})
	return v
}

// command runs gatewayd's command line in the gateway's namespace.
func (l *lab) command(args ...string) (code int, out, errs string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, gatewaydPath(l.t), args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := l.gateway.do(cmd.Run); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			l.t.Fatal(err)
		}
		code = ended.ExitCode()
	}
	return code, o.String(), e.String()
}
