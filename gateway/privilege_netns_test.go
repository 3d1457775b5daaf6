//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// privileges are the lines of /proc/PID/status that tell them, of each thread.
func privileges(t *testing.T, pid int) []map[string]string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	check(t, err)
	var threads []map[string]string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		lines := map[string]string{}
		for _, line := range strings.Split(string(text), "\n") {
			key, value, _ := strings.Cut(line, ":")
			lines[key] = strings.Join(strings.Fields(value), " ")
		}
		threads = append(threads, lines)
	}
	return threads // none when the process has ended
}

// powerless is what must stand there for each child; the user apart.
var powerless = map[string]string{
	"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapBnd": "0000000000000000",
	"CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2", "Groups": "",
}

// childrenAre checks what forward, control and store may do, once they serve, and
// as whom they do it.
func (d *daemon) childrenAre(uid map[string]string) {
	d.t.Helper()
	eventually(d.t, 2*soon, "all three children are without privileges", func() error {
		children := d.children()
		if len(children) != 3 {
			return fmt.Errorf("the children are %v", children)
		}
		for name, pid := range children {
			threads := privileges(d.t, pid)
			if len(threads) == 0 {
				return fmt.Errorf("%s has ended", name)
			}
			for _, is := range threads {
				for key, want := range powerless {
					if is[key] != want {
						return fmt.Errorf("%s of %s is %q, want %q", key, name, is[key], want)
					}
				}
				if want := strings.TrimSuffix(strings.Repeat(uid[name]+" ", 4), " "); is["Uid"] != want || is["Gid"] != want {
					return fmt.Errorf("%s runs as user %s and group %s, want %s", name, is["Uid"], is["Gid"], uid[name])
				}
			}
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(comm)) != "gatewayd" {
				return fmt.Errorf("ps shows %s as %q", name, comm)
			}
		}
		return nil
	})
}

// nobody is as whom all children run on a machine without a user for them.
func nobody(t *testing.T) map[string]string {
	t.Helper()
	id := "65530"
	if out, err := exec.Command("id", "-u", "gatewayd").Output(); err == nil {
		id = strings.TrimSpace(string(out))
	}
	return map[string]string{"forward": id, "control": id, "store": id}
}

func TestOnlyTheKeeperHasPrivileges(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	check(t, os.MkdirAll(l.dir+"/closed/deep", 0o700))
	check(t, os.Chmod(l.dir, 0o700))
	l.config["store"] = "{path: " + l.dir + "/closed/deep/store}"
	d := l.start()
	d.childrenAre(nobody(t))
	for _, is := range privileges(t, d.cmd.Process.Pid) {
		if is["NoNewPrivs"] != "0" || is["CapEff"] == powerless["CapEff"] || is["CapBnd"] == powerless["CapBnd"] {
			t.Errorf("the keeper's thread lost what is its own: %v", is)
		}
	}
	v := d.admit(anHour)
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)
	for _, name := range []string{"forward", "control", "store"} {
		d.replaced(name, d.kill(name))
	}
	d.childrenAre(nobody(t))
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)

	// The ports vanish and come back as others.
	pid := d.children()["forward"]
	l.gateway.run("ip", "link", "del", "eth1")
	l.gateway.cable("eth1", l.client)
	l.gateway.run("ip", "link", "set", "eth1", "up")
	l.client.run("ip", "link", "set", "eth0", "address", clientMAC, "up")
	l.client.run("ip", "addr", "add", clientIP+"/16", "dev", "eth0")
	l.client.run("ip", "route", "add", "default", "via", lanIP)
	d.replaced("forward", pid)
	eventually(t, 4*soon, "packets pass the new port", func() error {
		_, err := l.client.try("ping", "-c", "1", "-W", "1", serverIP)
		return err
	})
	d.childrenAre(nobody(t))
	d.stop()

	// As an earlier version, whose store was root's, left it.
	check(t, filepath.Walk(l.dir+"/closed", func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, 0, 0)
	}))
	d = l.start()
	d.childrenAre(nobody(t))
	if code, err := d.ask("GET", fmt.Sprintf("/sessions/%d", v.ID), "", nil); code != http.StatusOK {
		t.Errorf("the session that was sold before is %d: %v", code, err)
	}
	d.stop()
}

// A program that root alone may execute, where root alone gets.
func TestAProgramOfRootsAloneRuns(t *testing.T) {
	l := newLab(t)
	text, err := os.ReadFile(gatewaydPath(t))
	check(t, err)
	own := l.dir + "/gatewayd"
	check(t, os.Chmod(l.dir, 0o700))
	check(t, os.WriteFile(own, text, 0o700))
	t.Setenv("GATEWAYD_BINARY", own)
	d := l.start()
	d.childrenAre(nobody(t))
	d.admit(anHour)
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)
	d.stop()
}

func TestAStoreAmongOtherFilesRunsAsTheirOwner(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	check(t, os.MkdirAll(l.dir+"/store", 0o700))
	check(t, os.WriteFile(l.dir+"/store/letters.txt", []byte("dear"), 0o600))
	d := l.start()
	users := nobody(t)
	users["store"] = "0"
	d.childrenAre(users)
	eventually(t, 2*soon, "the status says why", func() error {
		if s := d.status(); !s.Ready || !strings.Contains(strings.Join(s.Degraded, " "), "letters.txt") {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	d.admit(anHour)
	d.stop()
	for path, want := range map[string]string{l.dir + "/store": "0", l.dir + "/store/letters.txt": "0"} {
		if out, err := exec.Command("stat", "-c", "%u", path).Output(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s is now %s's: %v", path, out, err)
		}
	}
}

// A container or a unit may hold back what gatewayd needs.
func TestWhatABoxHoldsBackIsNamed(t *testing.T) {
	l := newLab(t)
	config := l.writeConfig()
	check(t, errors.Join(os.Chmod(l.dir, 0o755), os.Chmod(config, 0o644))) // for who is not root
	run := []string{gatewaydPath(t), "run", "--config", config}
	for _, row := range []struct {
		name string
		line []string
		says string
	}{
		{"network administration", []string{"setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"},
			"without CAP_NET_ADMIN, CAP_NET_RAW: run it as root"},
		{"all but root's name", []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all"}, "CAP_SETPCAP, CAP_SETUID, CAP_SETGID"},
		{"root", []string{"setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"}, "run it as root"},
		{"the TUN device", []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /dev/net && exec "$@"`, "sh"}, "run modprobe tun"},
	} {
		t.Run(row.name, func(t *testing.T) {
			line := append(slices.Clone(row.line), run...)
			p := l.gateway.start(line[0], line[1:]...)
			said := p.wait(2 * soon)
			if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(said, row.says) {
				t.Errorf("exit %d, want 1 and %q: %s", code, row.says, said)
			}
		})
	}
}
