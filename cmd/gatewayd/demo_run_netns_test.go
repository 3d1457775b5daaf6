//go:build netns

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// demonstration is one run of `gatewayd demo` by a binary of its own, followed
// line by line.
type demonstration struct {
	t        *testing.T
	binary   string // a copy: what runs it is this demo's
	temp     string // where it makes temporary files; empty before and after
	confined bool   // where the kernel's firewalls cannot be used
	steps    []step // not done yet

	cmd  *exec.Cmd
	errs bytes.Buffer
	said strings.Builder

	namespaces map[uint64]string // by inode, as the demo names them
	mac        string            // the client's
	socket     string
	claims     [10]shown // from 1 on
	current    int       // the claim that is being tried; 0: none yet
	last       string    // line
}

// shown is what the demo said of a claim.
type shown struct {
	title, verdict string
	wrong          []string
}

// step is something to do once, as soon as the demo says a line.
type step struct {
	claim int    // it says it of this claim; 0 before the first
	at    string // and the line contains this
	do    act
}

type act func(*demonstration)

// newDemonstration prepares a run; steps are done while it runs.
func newDemonstration(t *testing.T, steps ...step) *demonstration {
	t.Helper()
	binary := os.Getenv("GATEWAYD_BINARY")
	if binary == "" {
		t.Fatal("GATEWAYD_BINARY is not set: it names the binary to try, as in GATEWAYD_BINARY=$PWD/bin/gatewayd")
	}
	program, err := os.ReadFile(binary)
	check(t, err)
	home, err := os.MkdirTemp("", "gwtest-") // short: a socket's path has at most 107 bytes
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	d := &demonstration{t: t, binary: filepath.Join(home, "gatewayd"), temp: filepath.Join(home, "tmp"),
		steps: steps, namespaces: map[uint64]string{}}
	syscall.ForkLock.RLock() // a child forked meanwhile would hold it open for writing: text file busy
	err = os.WriteFile(d.binary, program, 0o755)
	syscall.ForkLock.RUnlock()
	check(t, err)
	check(t, os.Mkdir(d.temp, 0o755))
	return d
}

// run runs the demo to its end, does the steps and returns the exit code.
func (d *demonstration) run() int {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	d.cmd = exec.CommandContext(ctx, d.binary, "demo")
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.temp)
	if d.confined {
		d.cmd.Path = "/proc/self/exe"
		d.cmd.Env = append(d.cmd.Env, confined+"="+d.binary)
	}
	d.cmd.Stderr = &d.errs
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Logf("the demo said:\n%s%s", d.said.String(), d.errs.String())
		}
	})
	out, err := d.cmd.StdoutPipe()
	check(d.t, err)
	check(d.t, d.cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		d.hear(lines.Text())
	}
	_ = d.cmd.Wait() // the code says it
	for _, s := range d.steps {
		d.t.Errorf("the demo never said %q of claim %d", s.at, s.claim)
	}
	return d.cmd.ProcessState.ExitCode()
}

var (
	claimLine     = regexp.MustCompile(`^(\d)/9  ([^:]+): `)
	namespaceLine = regexp.MustCompile(`^  namespace (\S+): `)
	clientLine    = regexp.MustCompile(`: the client, 10\.10\.0\.2, (\S+)$`)
	socketLine    = regexp.MustCompile(`--socket (\S+) status$`)
)

// hear notes a line and does what is to be done at it.
func (d *demonstration) hear(line string) {
	d.last = line
	fmt.Fprintln(&d.said, line)
	c := &d.claims[d.current]
	if m := claimLine.FindStringSubmatch(line); m != nil {
		d.current = int(m[1][0] - '0')
		d.claims[d.current].title = m[2]
	} else if m := namespaceLine.FindStringSubmatch(line); m != nil {
		d.hold(m[1])
		if m := clientLine.FindStringSubmatch(line); m != nil {
			d.mac = m[1]
		}
	} else if m := socketLine.FindStringSubmatch(line); m != nil {
		d.socket = m[1]
	} else if text, is := strings.CutPrefix(line, "  WRONG "); is {
		c.wrong = append(c.wrong, text)
	} else if line == "  holds" || strings.HasPrefix(line, "  DOES NOT HOLD: ") {
		c.verdict, _, _ = strings.Cut(strings.TrimSpace(line), ":")
	}
	for i := 0; i < len(d.steps); {
		if s := d.steps[i]; s.claim != d.current || !strings.Contains(line, s.at) {
			i++
			continue
		}
		do := d.steps[i].do
		d.steps = slices.Delete(d.steps, i, i+1)
		do(d)
	}
}

// hold notes a namespace. While the test holds it, no other gets its inode. An
// interrupted demo may have taken it down by now.
func (d *demonstration) hold(name string) {
	f, err := os.Open("/run/netns/" + name)
	if err != nil {
		return
	}
	d.t.Cleanup(func() { f.Close() })
	var ns unix.Stat_t
	if unix.Fstat(int(f.Fd()), &ns) == nil {
		d.namespaces[ns.Ino] = name
	}
}

// leftNothing fails the test if anything of the demo is still there.
func (d *demonstration) leftNothing() {
	d.t.Helper()
	if left, err := os.ReadDir(d.temp); err != nil || len(left) > 0 {
		d.t.Errorf("files are left: %v %v", left, err)
	}
	if left, _ := filepath.Glob(fmt.Sprintf("/run/netns/*-%d-*", d.cmd.Process.Pid)); len(left) > 0 {
		d.t.Errorf("names of namespaces are left: %v", left)
	}
	if pids := d.processes(); len(pids) > 0 {
		d.t.Errorf("processes are left: %v", pids)
	}
}

// processes are those of the demo's binary and all in its namespaces, with
// their command lines.
func (d *demonstration) processes() map[int]string {
	found := map[int]string{}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		exe, _ := os.Readlink(dir + "/exe")
		var ns unix.Stat_t
		_ = unix.Stat(dir+"/ns/net", &ns) // it may have ended by now
		if exe == d.binary || d.namespaces[ns.Ino] != "" {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			line, _ := os.ReadFile(dir + "/cmdline")
			found[pid] = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// command makes a call by the command line, where MAC is the client's address
// and RUNNING its session.
func command(line string) act {
	return func(d *demonstration) {
		args := strings.Fields(line)
		for i, a := range args {
			switch a {
			case "MAC":
				args[i] = d.mac
			case "RUNNING":
				var client device
				if err := json.Unmarshal(d.gatewayd("devices", "show", "10.10.0.2"), &client); err != nil || client.Session == nil {
					d.t.Errorf("%s: no session runs: %v", line, err)
					return
				}
				args[i] = strconv.FormatInt(client.Session.ID, 10)
			}
		}
		d.gatewayd(args...)
	}
}

func (d *demonstration) gatewayd(args ...string) []byte {
	return d.exec(d.binary, append([]string{"--socket", d.socket, "--json"}, args...)...)
}

// inside runs a program in one of the namespaces, CLIENT, GATEWAY or INTERNET;
// there these words are the namespaces' names. last is one more argument.
func inside(role, line string, last ...string) act {
	return func(d *demonstration) {
		args := append([]string{"netns", "exec", role}, append(strings.Fields(line), last...)...)
		for i, a := range args {
			for _, name := range d.namespaces {
				if strings.HasSuffix(name, "-"+strings.ToLower(a)) && a == strings.ToUpper(a) {
					args[i] = name
				}
			}
		}
		d.exec("ip", args...)
	}
}

// nft adds a rule to a new table of the internet's end, which has its hook's
// name.
func nft(hook, rule string) act {
	return inside("INTERNET", "nft", fmt.Sprintf("add table ip %[1]s; add chain ip %[1]s it { type filter hook %[1]s priority 0; }; add rule ip %[1]s it %[2]s", hook, rule))
}

// send sends a signal to one of the gateway's processes.
func send(process string, sent syscall.Signal) act {
	return func(d *demonstration) {
		for pid, line := range d.processes() {
			if strings.HasSuffix(line, " "+process) {
				if err := syscall.Kill(pid, sent); err != nil {
					d.t.Errorf("%v to %s: %v", sent, process, err)
				}
				return
			}
		}
		d.t.Errorf("no process is %s", process)
	}
}

func pause(during time.Duration) act { return func(*demonstration) { time.Sleep(during) } }

func inTurn(all ...act) act {
	return func(d *demonstration) {
		for _, do := range all {
			do(d)
		}
	}
}

// exec runs a program to its good end and returns what it printed.
func (d *demonstration) exec(name string, args ...string) []byte {
	d.t.Helper()
	cmd := exec.Command(name, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		d.t.Errorf("%s %s: %v: %s%s", name, strings.Join(args, " "), err, errs.Bytes(), out)
	}
	return out
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
