//go:build netns

package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadyAtOnceAndEndedAtOnce(t *testing.T) {
	l := newLab(t)
	d := l.start()
	figureOf(t, "ready with an empty store", d.readyIn)
	if d.readyIn > soon {
		t.Errorf("ready in %v, want 1 s", d.readyIn)
	}
	for _, part := range []string{"eth1", "eth0", l.dir + "/gatewayd.sock"} {
		said := d.out.String()
		if _, line, _ := strings.Cut(said, "gatewayd: ready"); !strings.Contains(strings.SplitN(line, "\n", 2)[0], part) {
			t.Errorf("its line does not name %s: %s", part, said)
		}
	}
	began := time.Now()
	eventually(t, soon, "the box answers on the LAN", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", lanIP)
		return err
	})
	t.Logf("the box answers on the LAN %v after that", time.Since(began))

	v := d.sell(anHour)
	up, down := l.settle()
	began = time.Now()
	d.connect()
	s := l.stream(time.Millisecond, 700)
	s.flows()
	time.Sleep(1500 * time.Millisecond)
	took := d.stop()                              // under traffic
	most := uint(time.Since(began) / time.Second) // that may be billed
	figureOf(t, "SIGTERM to the end of all", took)
	if took > soon {
		t.Errorf("SIGTERM ended it in %v, want 2 s", took)
	}
	s.end()
	u, w := l.settle()

	d = l.start()
	if v = d.session(v.ID); v.UpBytes != u.bytes-up.bytes || v.DownBytes != w.bytes-down.bytes || v.TimeCons > most {
		t.Errorf("on disk are %d bytes up, %d down and %d s; arrived %d and %d", v.UpBytes, v.DownBytes, v.TimeCons, u.bytes-up.bytes, w.bytes-down.bytes)
	}
	l.client.run("ping", "-c", "10", "-i", "0.1", "-W", "2", serverIP) // it is readmitted
	d.stop()
	if left, _ := filepath.Glob(l.dir + "/gatewayd.sock*"); len(left) > 0 {
		t.Errorf("the end leaves %v", left)
	}
}

func TestSignalsEndIt(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			d := l.start()
			d.expected = true
			children := d.children()
			check(t, d.cmd.Process.Signal(signal))
			d.wait(2 * soon)
			if code := d.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit %d, want 0", code)
			}
			gone(t, children)
			if said := d.out.String(); strings.Contains(said, "level=ERROR") || strings.Contains(said, "panic") || strings.Contains(said, "broken pipe") {
				t.Errorf("it said %s", said)
			}
		})
	}
}

// A service manager signals all processes of a service at once; those that
// watch over none end in order, by their keeper's end.
func TestOnlyTheKeeperActsOnSignals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.admit(anHour)
	children := d.children()
	for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGTERM, syscall.SIGHUP} {
		for name, pid := range children {
			if err := syscall.Kill(pid, signal); err != nil {
				t.Errorf("%v to %s: %v", signal, name, err)
			}
		}
	}
	l.client.run("ping", "-c", "5", "-i", "0.1", "-W", "2", serverIP)
	d.stop()
	if said := d.out.String(); strings.Contains(said, "child ended") {
		t.Errorf("a child ended by a signal: %s", said)
	}
}

func TestASecondInstanceIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.admit(anHour)
	said := l.refused()
	if !strings.Contains(said, "another gatewayd answers at "+l.dir+"/gatewayd.sock") {
		t.Errorf("a second one says %s", said)
	}
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP) // the first one does not care
	if s := d.status(); !s.Ready || len(s.Degraded) > 0 {
		t.Errorf("the first one is %+v", s)
	}

	// Another one, for another socket and store, but in the same place. It has
	// to leave the ports as they are.
	config := maps.Clone(l.config)
	l.config["api"], l.config["store"] = "{socket: "+l.dir+"/second.sock}", "{path: "+l.dir+"/second}"
	if said := l.refused(); !strings.Contains(said, "another gatewayd runs in this network namespace") {
		t.Errorf("a second one in the same namespace says %s", said)
	}
	l.config, l.newest = config, d
	if left, _ := filepath.Glob(l.dir + "/second.sock*"); len(left) > 0 {
		t.Errorf("the second one took ports: %v", left)
	}
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)

	// Another one, for other ports and another socket, but the same store.
	other := newLab(t)
	other.config["store"] = l.config["store"]
	theirs := other.launch()
	eventually(t, 2*soon, "the second one says that the store is taken", func() error {
		var s status
		code, err := theirs.ask("GET", "/status", "", &s)
		if err != nil || code != http.StatusOK || !strings.Contains(strings.Join(s.Degraded, " "), "store") {
			return fmt.Errorf("%d %+v %v", code, s, err)
		}
		return nil
	})
	if code, err := theirs.ask("POST", "/devices", `{"mac":"`+clientMAC+`"}`, nil); code != http.StatusServiceUnavailable {
		t.Errorf("a change without a store: %d %v, want 503", code, err)
	}
	theirs.stop()
}

func TestADeadOnesSocketIsTakenOver(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	d.expected = true
	children := d.children()
	check(t, syscall.Kill(d.cmd.Process.Pid, syscall.SIGKILL))
	gone(t, children)
	if _, err := os.Stat(l.dir + "/gatewayd.sock"); err != nil {
		t.Fatalf("a killed one leaves no socket: %v", err)
	}
	l.start()
}

func TestAWrongConfigIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	good, err := os.ReadFile(l.writeConfig())
	check(t, err)
	path := filepath.Join(l.dir, "wrong.yaml")
	for _, row := range []struct {
		name, text string
		says       []string
	}{
		{"an unknown key", string(good) + "colour: red\n", []string{fmt.Sprint(path, ":", len(strings.Split(string(good), "\n"))), "colour", "^"}},
		{"a port that is not there", strings.Replace(string(good), "eth1", "eth7", 1), []string{"eth7", "eth1"}},
		{"a port that is no Ethernet", strings.Replace(string(good), "eth1", "lo", 1), []string{"lo"}},
		{"no ports", "mode: route\n", []string{"lan.interface", "wan.interface"}},
		{"no YAML", "\tlan\n", []string{path}},
		{"a key of a later day", string(good) + "forwards: [{port: 80}]\n", []string{"forwards"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			check(t, os.WriteFile(path, []byte(row.text), 0o600))
			for _, command := range []string{"run", "check"} {
				code, _, said := l.command(command, "--config", path)
				if code != 1 {
					t.Errorf("%s: exit %d, want 1", command, code)
				}
				for _, part := range row.says {
					if !strings.Contains(said, part) {
						t.Errorf("%s does not say %q: %s", command, part, said)
					}
				}
			}
		})
	}
	if code, _, said := l.command("run", "--config", l.dir+"/none.yaml"); code != 1 || !strings.Contains(said, "none.yaml") {
		t.Errorf("no config: exit %d: %s", code, said)
	}
	if code, _, said := l.command("run", "--colour"); code != 2 || !strings.Contains(said, "colour") {
		t.Errorf("an unknown flag: exit %d, want 2: %s", code, said)
	}
	for _, word := range []string{"forward", "control", "store"} {
		if code, _, said := l.command(word); code == 0 || !strings.Contains(said, "gatewayd run") {
			t.Errorf("%s by hand: exit %d: %s", word, code, said)
		}
	}
}

func TestTheCommandLineFromFirstToLast(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	config, socket := l.writeConfig(), l.dir+"/gatewayd.sock"
	if code, _, said := l.command("status", "--socket", socket); code != 3 {
		t.Errorf("status without a daemon: exit %d, want 3: %s", code, said)
	}
	if code, _, said := l.command("check", "--config", config); code != 0 {
		t.Errorf("check: exit %d: %s", code, said)
	}
	if left, _ := filepath.Glob(l.dir + "/*"); len(left) != 1 { // the config
		t.Errorf("check made %v", left)
	}
	d := l.start()
	if code, _, said := l.command("check", "--config", config); code != 0 {
		t.Errorf("check beside a running one: exit %d: %s", code, said)
	}
	_, _ = l.client.try("ping", "-c", "2", "-i", "0.2", "-W", "1", serverIP) // the gateway comes to know it
	for _, step := range []struct {
		words string
		code  int
	}{
		{"status", 0},
		{"devices show " + clientMAC, 0},
		{"connect " + clientIP, 1},
		{"sessions create --device " + clientIP + " --type data --data 1MB --down 5Mbit --up 3Mbit", 0},
		{"sessions create --device " + clientIP + " --type time --time 1h --global", 0},
		{"connect " + clientIP + " --notify welcome", 0},
		{"connect " + clientIP, 1},
		{"sessions list --device " + clientMAC, 0},
		{"devices list", 0},
		{"devices add --mac " + clientMAC + " --ip " + clientIP, 0},
	} {
		if code, out, said := l.command(append(strings.Fields(step.words), "--socket", socket)...); code != step.code {
			t.Errorf("gatewayd %s: exit %d, want %d: %s%s", step.words, code, step.code, out, said)
		}
	}
	l.client.run("ping", "-c", "2", "-i", "0.1", "-W", "2", serverIP)
	_, text, _ := l.command("devices", "show", clientMAC, "--json", "--socket", socket)
	var v device
	if err := json.Unmarshal([]byte(text), &v); err != nil || !v.Connected || v.Session == nil || v.Session.UpBytes == 0 {
		t.Errorf("devices show --json: %s: %v", text, err)
	}
	if code, _, said := l.command("disconnect", clientIP, "--socket", socket); code != 0 {
		t.Errorf("disconnect: exit %d: %s", code, said)
	}
	if _, err := l.client.try("ping", "-c", "2", "-i", "0.1", "-W", "1", serverIP); err == nil {
		t.Error("the client passes after disconnect")
	}
	d.stop()
}

// TestPacketsGoFirst looks at the priority of every thread, and at how late its
// timers may be.
func TestPacketsGoFirst(t *testing.T) {
	t.Parallel()
	inBothModes(t, packetsGoFirst)
}

func packetsGoFirst(t *testing.T, newLab makeLab) {
	t.Parallel()
	d := newLab(t).start()
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	check(t, err)
	for name, pid := range d.children() {
		want, slack := 20-own, "50000" // the kernel says 20 less nice
		if name == "forward" {
			want, slack = -10, "1000"
		}
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		check(t, err)
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			check(t, err)
			fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on
			if nice := fields[19-3]; nice != fmt.Sprint(want) {
				t.Errorf("%s: nice of %s is %s, want %d", name, task, nice, want)
			}
			late, err := os.ReadFile(filepath.Join("/proc", filepath.Base(filepath.Dir(task)), "timerslack_ns"))
			check(t, err)
			if got := strings.TrimSpace(string(late)); got != slack {
				t.Errorf("%s: timers of %s may be %s ns late, want %s", name, task, got, slack)
			}
		}
	}
}
