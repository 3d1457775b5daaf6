package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the gateway gets to start, and to end.
const patience = 5 * time.Second

// settings is the config that the gateway runs with.
const settings = `lan: {interface: ` + lanLink + `, address: ` + lanIP + lanPrefix + `}
wan: {interface: ` + wanLink + `, address: ` + wanIP + wanPrefix + `, gateway: ` + routerIP + `}
host: {ports: none}
store: {path: %[1]s/store}
api: {socket: %[1]s/gatewayd.sock}
log: {level: info}
`

// gatewayd is the program under demonstration: this same binary, run as a
// person would run it, in the middle namespace.
type gatewayd struct {
	dir   string
	lock  *os.File // of dir: held while the demo lives
	where *namespace
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has
}

// newGatewayd makes its directory and its config.
func newGatewayd(where *namespace) (*gatewayd, error) {
	parent := os.TempDir()
	if len(parent) > 60 { // a socket's path has at most 107 bytes
		parent = "/tmp"
	}
	sweepDirectories(parent)
	dir, err := os.MkdirTemp(parent, fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("make a directory for the gateway: %w", err)
	}
	g := &gatewayd{dir: dir, where: where}
	if g.lock, err = os.Open(dir); err == nil {
		err = unix.Flock(int(g.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = os.WriteFile(g.config(), fmt.Appendf(nil, settings, dir), 0o600)
	}
	if err != nil {
		g.remove()
		return nil, fmt.Errorf("prepare the gateway: %w", err)
	}
	return g, nil
}

// sweepDirectories removes what killed demos left: nobody holds its lock. A
// new directory is locked within moments.
func sweepDirectories(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range left {
		f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		st, err := f.Stat()
		if err == nil && time.Since(st.ModTime()) > time.Minute && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		f.Close()
	}
}

func (g *gatewayd) config() string { return filepath.Join(g.dir, "gatewayd.yaml") }
func (g *gatewayd) socket() string { return filepath.Join(g.dir, "gatewayd.sock") }
func (g *gatewayd) log() string    { return filepath.Join(g.dir, "log") }

// start runs it until it says that it is ready.
func (g *gatewayd) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := os.Create(g.log())
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	defer log.Close()
	ready, said, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	defer ready.Close()
	g.cmd = exec.Command(self, "run", "--config", g.config())
	g.cmd.Stdout, g.cmd.Stderr = said, log
	g.cmd.Dir = g.dir
	// An interrupt from the terminal is the demo's to pass on. Pdeathsig
	// follows the thread that starts it, which waits for its end.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error, 1)
	g.ended = make(chan struct{})
	go func() {
		defer close(g.ended)
		_ = g.where.do(func() error {
			err := g.cmd.Start()
			said.Close()
			started <- err
			if err != nil {
				return err
			}
			return g.cmd.Wait()
		})
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(ready).ReadString('\n')
		line <- text
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case text := <-line:
		if !strings.HasPrefix(text, "gatewayd: ready") {
			return fmt.Errorf("the gateway ended before it was ready:\n%s", g.lastWords())
		}
		return nil
	case <-late.C:
		return fmt.Errorf("the gateway is not ready after %v:\n%s", patience, g.lastWords())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lastWords is the end of its log.
func (g *gatewayd) lastWords() string {
	text, _ := os.ReadFile(g.log())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "  | " + strings.Join(lines[max(0, len(lines)-12):], "\n  | ")
}

// close ends it and removes its directory. It returns what it did not do by
// itself.
func (g *gatewayd) close() error {
	var err error
	if g.cmd != nil && g.cmd.Process != nil {
		_ = g.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-g.ended:
		case <-time.After(patience):
			err = fmt.Errorf("the gateway did not end %v after SIGTERM and was killed", patience)
			_ = g.cmd.Process.Kill()
			<-g.ended
		}
		err = errors.Join(err, g.endChildren())
	}
	return errors.Join(err, g.remove())
}

// endChildren waits for the gateway's own processes, and kills those that
// outlive it.
func (g *gatewayd) endChildren() error {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		left := g.processes()
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return fmt.Errorf("processes %v outlived the gateway and were killed", left)
		}
	}
}

// processes are those of this program in the gateway's namespace.
func (g *gatewayd) processes() (pids []int) {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || strings.TrimSuffix(exe, " (deleted)") != self || !g.holds(dir) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// holds reports whether the process at dir is in the gateway's namespace.
func (g *gatewayd) holds(dir string) bool {
	var its, ours unix.Stat_t
	return unix.Stat(dir+"/ns/net", &its) == nil && unix.Fstat(int(g.where.handle), &ours) == nil &&
		its.Ino == ours.Ino && its.Dev == ours.Dev
}

// isControl reports whether pid is the gateway's deciding process.
func (g *gatewayd) isControl(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	line, err := os.ReadFile(dir + "/cmdline")
	return err == nil && bytes.HasSuffix(line, []byte("\x00control\x00")) && g.holds(dir)
}

func (g *gatewayd) remove() error {
	err := os.RemoveAll(g.dir)
	if g.lock != nil {
		g.lock.Close()
	}
	return err
}
