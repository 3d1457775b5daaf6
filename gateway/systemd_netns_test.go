//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// booted is a machine of its own, on which systemd is the first process and
// gatewayd a service as deploy/gatewayd.service says.
type booted struct {
	l    *lab
	init int // pid of its first process, here
}

// boot starts the machine in the gateway's place. lines are a drop-in of the
// service.
func (l *lab) boot(lines ...string) *booted {
	l.t.Helper()
	for _, key := range []string{"store", "api"} {
		delete(l.config, key) // the defaults, which are the unit's
	}
	l.writeConfig()
	unit, err := os.ReadFile("../deploy/gatewayd.service")
	check(l.t, err)
	files := map[string]string{
		"gatewayd.service":             string(unit),
		"gatewayd.service.d/test.conf": "[Service]\nStandardOutput=append:/lab/log\nStandardError=append:/lab/log\n" + strings.Join(lines, "\n") + "\n",
	}
	for _, target := range []string{"sysinit", "basic", "multi-user", "shutdown", "network-pre", "network"} {
		files[target+".target"] = "[Unit]\nDescription=" + target + "\nDefaultDependencies=no\n"
	}
	for name, text := range files {
		path := filepath.Join(l.dir, "units", name)
		check(l.t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(l.t, os.WriteFile(path, []byte(text), 0o644))
	}
	l.t.Cleanup(l.removeGroup)
	p := l.gateway.start("sh", "testdata/boot.sh", l.dir, gatewaydPath(l.t))
	b := &booted{l: l}
	l.t.Cleanup(func() {
		status, _ := b.try("systemctl", "status", "--full", "gatewayd")
		_ = p.cmd.Process.Kill()
		<-p.ended
		if l.t.Failed() {
			log, _ := os.ReadFile(l.dir + "/log")
			said := strings.Split(strings.TrimSpace(string(log)), "\n")
			l.t.Logf("boot: %s\nsystemd: %s\ngatewayd: %s", p.out.String(), status, strings.Join(said[max(0, len(said)-30):], "\n"))
		}
	})
	eventually(l.t, 4*soon, "systemd answers", func() error {
		select {
		case <-p.ended:
			l.t.Fatalf("systemd has ended: %s", p.out.String())
		default:
		}
		children := childrenOf(p.cmd.Process.Pid)
		if len(children) == 0 {
			return errNotYet
		}
		b.init = children[0]
		if _, err := b.try("test", "-d", "/lab/units"); err != nil {
			return err // it still sees this machine's files, and systemctl would ask this machine's systemd
		}
		_, err := b.try("systemctl", "show", "--property=Version")
		return err
	})
	return b
}

// removeGroup removes the machine's control group, which outlives it.
func (l *lab) removeGroup() {
	eventually(l.t, 2*soon, "the machine's control group is removed", func() error {
		_, err := l.gateway.try("unshare", "--mount", "sh", "-ec",
			`mount -t cgroup2 cgroup2 "$0/group"; cd "$0/group"; [ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} +`,
			l.dir, filepath.Base(l.dir))
		return err
	})
}

// childrenOf are the pids of a process's children.
func childrenOf(pid int) (children []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(text)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// try runs a program on the machine.
func (b *booted) try(words ...string) (string, error) {
	in := []string{"--target", fmt.Sprint(b.init), "--mount", "--pid", "--root", "--wd", "--cgroup", "env", "-i", "PATH=/usr/sbin:/usr/bin", "SYSTEMD_PAGER="}
	return b.l.gateway.try("nsenter", append(in, words...)...)
}

func (b *booted) run(words ...string) string {
	b.l.t.Helper()
	out, err := b.try(words...)
	if err != nil {
		b.l.t.Fatal(err)
	}
	return out
}

// property is what systemd says of the service.
func (b *booted) property(name string) string {
	b.l.t.Helper()
	return strings.TrimSpace(b.run("systemctl", "show", "--value", "--property="+name, "gatewayd"))
}

// keeper is the service's first process once the service is active and says that
// it is ready, the one after old.
func (b *booted) keeper(old int) *daemon {
	b.l.t.Helper()
	d := &daemon{l: b.l, expected: true, http: api(fmt.Sprintf("/proc/%d/root/run/gatewayd/gatewayd.sock", b.init))}
	eventually(b.l.t, 4*soon, "the service is active and ready", func() error {
		state, said := b.property("ActiveState"), b.property("StatusText")
		if state != "active" || said != "ready" {
			return fmt.Errorf("%s: %q", state, said)
		}
		for _, pid := range childrenOf(b.init) {
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); string(line) == "/usr/bin/gatewayd\x00run\x00" && pid != old {
				d.program = &program{t: b.l.t, cmd: &exec.Cmd{Process: &os.Process{Pid: pid}}}
				return nil
			}
		}
		return errors.New("it has no process of its own")
	})
	return d
}

// left are the pids of the service's processes.
func (b *booted) left() []string {
	all, _ := filepath.Glob("/proc/[0-9]*")
	root, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b.init))
	check(b.l.t, err)
	return slices.DeleteFunc(all, func(dir string) bool {
		space, _ := os.Readlink(dir + "/ns/pid")
		line, _ := os.ReadFile(dir + "/cmdline")
		return space != root || !strings.Contains(string(line), "gatewayd")
	})
}

func TestSystemdKeepsTheGatewayRunning(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.boot("WatchdogSec=10s")
	if said := b.run("systemd-analyze", "verify", "gatewayd.service"); said != "" {
		t.Errorf("systemd-analyze verify says %s", said)
	}
	b.run("systemctl", "enable", "--now", "gatewayd")
	d := b.keeper(0)
	d.childrenAre(map[string]string{"forward": "65530", "control": "65530", "store": "65530"})
	b.bounded(d)
	if v6 := l.gateway.setting("ipv6/conf/eth1/disable_ipv6"); v6 != "1" {
		t.Errorf("disable_ipv6 of the LAN port is %s: the service could not set it", v6)
	}
	v := d.admit(anHour)
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)

	for i, row := range []struct {
		name   string
		signal syscall.Signal
		result string // of the service, as systemd saw it
	}{
		{"killed", syscall.SIGKILL, "signal"},
		{"stopped, so that it says nothing", syscall.SIGSTOP, "watchdog"},
	} {
		t.Run("the keeper is "+row.name, func(t *testing.T) {
			old := d.cmd.Process.Pid
			l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP) // after the last checkpoint
			up, down := l.settle()
			before := d.session(v.ID)
			// Control is slow to see that its keeper is gone; it gets the time.
			check(t, syscall.Kill(d.process("control"), syscall.SIGSTOP))
			check(t, syscall.Kill(old, row.signal))
			began := time.Now()
			d = b.keeper(old)
			figureOf(t, "serves again after the keeper was "+row.name, time.Since(began))
			if n := b.property("NRestarts"); n != fmt.Sprint(i+1) {
				t.Errorf("systemd has started it again %s times, want %d", n, i+1)
			}
			again := d.session(v.ID)
			time.Sleep(3 * time.Second) // not billed
			if now := d.session(v.ID); now.TimeCons != again.TimeCons || now.State == "running" {
				t.Errorf("without a packet %+v became %+v", again, now)
			}
			u, w := l.settle()
			if got, want := again.UpBytes-before.UpBytes, u.bytes-up.bytes; got != want {
				t.Errorf("up: billed %d bytes, %d arrived", got, want)
			}
			if got, want := again.DownBytes-before.DownBytes, w.bytes-down.bytes; got != want {
				t.Errorf("down: billed %d bytes, %d arrived", got, want)
			}
			l.client.run("ping", "-c", "10", "-i", "0.1", "-W", "2", serverIP)
			if now := d.session(v.ID); now.State != "running" {
				t.Errorf("after its client's first packet: %+v", now)
			}
		})
	}

	b.run("systemctl", "stop", "gatewayd")
	if state, result := b.property("ActiveState"), b.property("Result"); state != "inactive" || result != "success" {
		t.Errorf("after systemctl stop it is %s: %s", state, result)
	}
	if pids := b.left(); len(pids) > 0 {
		t.Errorf("systemctl stop leaves %v", pids)
	}
	b.run("systemctl", "start", "gatewayd")
	b.keeper(0)
	l.client.run("ping", "-c", "10", "-i", "0.1", "-W", "2", serverIP)
	b.run("systemctl", "stop", "gatewayd")

	// A store elsewhere is refused with what allows it, and then works.
	b.run("sh", "-c", "echo 'store: {path: /srv/gatewayd}' >>/etc/gatewayd/gatewayd.yaml; mkdir -p /srv/gatewayd")
	b.run("systemctl", "start", "--no-block", "gatewayd")
	const allow = "ReadWritePaths=/srv/gatewayd"
	eventually(t, 4*soon, "the service says what allows the path", func() error {
		if said := b.property("StatusText"); !strings.Contains(said, "systemctl edit gatewayd") || !strings.HasSuffix(said, allow) {
			return errors.New(said)
		}
		return nil
	})
	b.run("sh", "-c", "printf '[Service]\n"+allow+"\n' >/etc/systemd/system/gatewayd.service.d/store.conf")
	b.run("systemctl", "daemon-reload")
	b.run("systemctl", "restart", "gatewayd")
	b.keeper(0).admit(anHour)
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)
	b.run("systemctl", "stop", "gatewayd")
	b.refusesSlowly()
}

// refusesSlowly starts the service with a bad config: at first it fails at once, then
// it is not started every second, and mended it serves.
func (b *booted) refusesSlowly() {
	t := b.l.t
	t.Helper()
	b.run("sh", "-c", "echo 'nonsense: 1' >>/etc/gatewayd/gatewayd.yaml")
	if _, err := b.try("systemctl", "start", "gatewayd"); err == nil {
		t.Error("a bad config is started with")
	}
	var starts string
	eventually(t, 4*soon, "the service says what it refuses, and waits", func() error {
		starts = b.property("NRestarts")
		if said := b.property("StatusText"); starts == "0" || !strings.HasPrefix(said, "refused: ") || !strings.Contains(said, "nonsense") {
			return fmt.Errorf("%s starts: %q", starts, said)
		}
		return nil
	})
	time.Sleep(5 * time.Second)
	if now := b.property("NRestarts"); now != starts {
		t.Errorf("in 5 s %s starts again became %s", starts, now)
	}
	b.run("sed", "-i", "/nonsense/d", "/etc/gatewayd/gatewayd.yaml")
	b.keeper(0)
	b.run("systemctl", "stop", "gatewayd")
}

// exposure is what systemd-analyze finds that the service could do, at most, in
// tenths: of 100, which is everything.
const exposure = 35

func TestTheServiceIsSandboxed(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", fmt.Sprintf("--threshold=%d", exposure),
		"../deploy/gatewayd.service").CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
}

// capabilities are the bits of those that the unit leaves the keeper.
var capabilities = map[string]uint{
	"chown": 0, "dac_override": 1, "fowner": 3, "kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8,
	"net_bind_service": 10, "net_admin": 12, "net_raw": 13, "sys_nice": 23, "bpf": 39,
}

// bounded checks that the keeper has what the unit says, and no more.
func (b *booted) bounded(d *daemon) {
	b.l.t.Helper()
	var all uint64
	for bit := range maps.Values(capabilities) {
		all |= 1 << bit
	}
	want := map[string]string{"CapBnd": fmt.Sprintf("%016x", all), "CapPrm": fmt.Sprintf("%016x", all), "CapEff": fmt.Sprintf("%016x", all),
		"CapInh": powerless["CapInh"], "CapAmb": powerless["CapAmb"], "NoNewPrivs": "1", "Seccomp": "2"}
	for _, is := range privileges(b.l.t, d.cmd.Process.Pid) {
		for key, want := range want {
			if is[key] != want {
				b.l.t.Errorf("%s of the keeper is %s, want %s", key, is[key], want)
			}
		}
	}
}
