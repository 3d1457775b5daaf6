package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asCommand, in the environment, has this test binary be gatewayd with these words.
const asCommand = "GATEWAYD_TEST_AS_COMMAND"

func TestAsCommand(t *testing.T) {
	words := os.Getenv(asCommand)
	if words == "" {
		t.Skip("a program of the other tests")
	}
	os.Args = append([]string{"gatewayd"}, strings.Fields(words)...)
	main()
}

// terminal is a pseudo-terminal that a gatewayd runs on.
type terminal struct {
	t        *testing.T
	far      *os.File // what a person types and sees
	near     *os.File // the program's
	cmd      *exec.Cmd
	ended    chan struct{}
	mu       sync.Mutex
	seen     bytes.Buffer
	settings unix.Termios // before the program ran
}

// newTerminal makes a terminal of so many columns and rows.
func newTerminal(t *testing.T, columns, rows uint16) *terminal {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(far.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(far.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	near, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, far: far, near: near, ended: make(chan struct{})}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	term.resize(columns, rows)
	term.settings = term.now()
	go func() {
		part := make([]byte, 4096)
		for {
			n, err := far.Read(part)
			term.mu.Lock()
			term.seen.Write(part[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return term
}

// onTerminal runs a command line on a terminal.
func onTerminal(t *testing.T, columns, rows uint16, words string) *terminal {
	t.Helper()
	term := newTerminal(t, columns, rows)
	term.cmd = exec.Command(os.Args[0], "-test.run=^TestAsCommand$")
	term.cmd.Env = append(os.Environ(), asCommand+"="+words)
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = term.near, term.near, term.near
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(term.ended)
		_ = term.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = term.cmd.Process.Kill()
		<-term.ended
	})
	return term
}

func (term *terminal) resize(columns, rows uint16) {
	term.t.Helper()
	if err := unix.IoctlSetWinsize(int(term.far.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		term.t.Fatal(err)
	}
}

// now is how the terminal is set.
func (term *terminal) now() unix.Termios {
	term.t.Helper()
	settings, err := unix.IoctlGetTermios(int(term.near.Fd()), unix.TCGETS)
	if err != nil {
		term.t.Fatal(err)
	}
	return *settings
}

func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.seen.String()
}

// screen is what stands there now, a line a row, without the marks of a title; nil while
// no whole frame was drawn.
func (term *terminal) screen() []string {
	frames := strings.Split(term.text(), toTopLeft)
	for _, frame := range slices.Backward(frames[1:]) {
		rows, err := unix.IoctlGetWinsize(int(term.near.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			term.t.Fatal(err)
		}
		lines := strings.Split(strings.NewReplacer(reversed, "", plain, "", toFirstScreen, "").Replace(frame), "\r\n")
		if len(lines) == int(rows.Row) && len(lines[len(lines)-1]) == int(rows.Col)-1 {
			return lines
		}
	}
	return nil
}

// shows waits until the screen is as ok says.
func (term *terminal) shows(what string, ok func(screen []string) bool) []string {
	term.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		screen := term.screen()
		if screen != nil && ok(screen) {
			return screen
		}
		if time.Now().After(end) {
			text := term.text()
			term.t.Fatalf("the screen never shows %s, but\n%s\nafter %q", what, strings.Join(screen, "\n"), text[max(0, len(text)-500):])
		}
	}
}

// types types keys.
func (term *terminal) types(keys string) {
	term.t.Helper()
	if _, err := term.far.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// ends waits for the program's end, which leaves the terminal as it was.
func (term *terminal) ends(code int) {
	term.t.Helper()
	select {
	case <-term.ended:
	case <-time.After(30 * time.Second):
		term.t.Fatal("it does not end")
	}
	if got := term.cmd.ProcessState.ExitCode(); got != code {
		term.t.Errorf("it ended with %d, want %d", got, code)
	}
	term.restored()
}

// restored wants the terminal as it was.
func (term *terminal) restored() {
	term.t.Helper()
	if term.now() != term.settings {
		term.t.Errorf("the terminal is left as %+v, it was %+v", term.now(), term.settings)
	}
	for end := time.Now().Add(30 * time.Second); !strings.Contains(term.text(), toFirstScreen); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			term.t.Fatalf("it left the terminal on its second screen, or without a cursor: %q", term.text())
		}
	}
}

// serveTop answers GET /top by f, which is asked with the order and how many, from several
// goroutines, and returns the socket.
func serveTop(t *testing.T, f func(order, limit string) (status int, body string)) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := f(r.URL.Query().Get("sort"), r.URL.Query().Get("limit"))
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return socket
}

// manyClients is a daemon's answer of as many clients as are asked for, called after their
// order.
func manyClients(order, limit string) (int, string) {
	var n int
	_, _ = fmt.Sscan(limit, &n)
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", order, i)
	}
	return 200, topAnswer(names...)
}

func TestTopOnATerminal(t *testing.T) {
	t.Parallel()
	term := onTerminal(t, 80, 24, "top --interval 1h --socket "+serveTop(t, manyClients)) // nothing comes by itself
	begins := func(row int, text string) func([]string) bool {
		return func(screen []string) bool { return strings.HasPrefix(screen[row], text) }
	}
	screen := term.shows("who receives most", begins(6, "down0 "))
	if !strings.HasPrefix(screen[0], "ready  (") || !strings.HasPrefix(screen[5], "CLIENT ") || !strings.HasPrefix(screen[22], "down16 ") ||
		!strings.HasPrefix(screen[23], "Q quit  sort: d down* u up q queue delay") {
		t.Errorf("the screen shows\n%s", strings.Join(screen, "\n"))
	}
	for i, line := range screen {
		if want := 80 - i/23; len(line) != want { // nothing in the last place of all
			t.Errorf("line %d has %d places, want %d: %q", i, len(line), want, line)
		}
	}
	if now := term.now(); now.Lflag&(unix.ICANON|unix.ECHO) != 0 {
		t.Errorf("keys are echoed, or come by lines: %+v", now)
	}
	if !strings.Contains(term.text(), reversed+"CLIENT ") {
		t.Error("the title does not stand out")
	}
	for _, o := range topOrders {
		term.types(string(o.key))
		screen := term.shows("those first who were asked for by "+string(o.key), begins(6, o.word+"0 "))
		if !strings.Contains(screen[23], " "+o.what+"*") {
			t.Errorf("it does not say that it is sorted by %s: %q", o.what, screen[23])
		}
	}
	term.types("\x1b[D?z") // which say nothing
	term.resize(120, 40)
	term.shows("more of them, and more of each", func(screen []string) bool {
		return len(screen) == 40 && strings.HasPrefix(screen[38], "name32 ") && strings.Contains(screen[5], "MARKS")
	})
	term.resize(20, 3)
	term.shows("what fits", func(screen []string) bool { return len(screen) == 3 && strings.HasPrefix(screen[2], "Q quit") })
	term.types("Q")
	term.ends(exitDone)
}

// Whatever ends it, the terminal is given back.
func TestTheTerminalIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(term *terminal){
		"Q":       func(term *terminal) { term.types("Q") },
		"Ctrl-C":  func(term *terminal) { term.types("\x03") },
		"Ctrl-D":  func(term *terminal) { term.types("\x04") },
		"SIGINT":  func(term *terminal) { _ = term.cmd.Process.Signal(syscall.SIGINT) },
		"SIGTERM": func(term *terminal) { _ = term.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(term *terminal) { _ = term.cmd.Process.Signal(syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term := onTerminal(t, 80, 24, "top --socket "+serveTop(t, manyClients))
			term.shows("clients", func([]string) bool { return true })
			if term.now() == term.settings {
				t.Fatal("the terminal was never taken")
			}
			end(term)
			term.ends(exitDone)
		})
	}
	t.Run("the last look", func(t *testing.T) {
		t.Parallel()
		term := onTerminal(t, 80, 24, "top --count 2 --interval 500ms --socket "+serveTop(t, manyClients))
		term.ends(exitDone)
	})
	t.Run("a panic", func(t *testing.T) {
		t.Parallel()
		term := newTerminal(t, 80, 24)
		func() {
			defer func() { _ = recover() }()
			s, err := openScreen(term.near, term.near)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if term.now() == term.settings {
				t.Error("the terminal was never taken")
			}
			panic("of a test")
		}()
		term.restored()
	})
}

// While the daemon is away what was shown last stays, and it says so.
func TestTopOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	term := onTerminal(t, 80, 24, "top --interval 500ms --socket "+serveTop(t, func(order, limit string) (int, string) {
		if away.Load() {
			return 503, `{"title":"Service Unavailable","status":503,"detail":"traffic: a backup is being restored; try again"}`
		}
		return manyClients(order, limit)
	}))
	term.shows("clients", func(screen []string) bool { return strings.HasPrefix(screen[0], "ready") })
	away.Store(true)
	term.shows("why, and whom it knew", func(screen []string) bool {
		return strings.HasPrefix(screen[0], "NOT OF NOW: traffic: a backup is being restored") && strings.HasPrefix(screen[6], "down0 ")
	})
	away.Store(false)
	term.shows("that it is back", func(screen []string) bool { return strings.HasPrefix(screen[0], "ready") })
	term.types("Q")
	term.ends(exitDone)
}

func TestTopOnATerminalWithoutADaemonIsExit3(t *testing.T) {
	t.Parallel()
	term := onTerminal(t, 80, 24, "top --socket "+filepath.Join(t.TempDir(), "none.sock"))
	<-term.ended
	if code := term.cmd.ProcessState.ExitCode(); code != exitUnreachable || strings.Contains(term.text(), toSecondScreen) {
		t.Errorf("exit %d, %q", code, term.text())
	}
}
