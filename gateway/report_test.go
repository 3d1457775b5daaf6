package gateway

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/gateway/config"
)

// reporting is a keeper whose loops are the test's, and what it tells a service
// manager.
func reporting(t *testing.T, socket string, limit time.Duration) (*keeper, <-chan string) {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	k := &keeper{
		cfg: new(config.Config), log: slog.New(slog.NewTextHandler(io.Discard, nil)), announced: make(chan struct{}), changed: make(chan struct{}, 1),
		watched: make(pulse), forward: process{word: wordForward, pulse: make(pulse)},
		control: process{word: wordControl, pulse: make(pulse)}, store: process{word: wordStore, pulse: make(pulse)},
	}
	said := make(chan string, 1000)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			said <- string(buf[:n])
		}
	}()
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { k.report(ctx, limit); close(ended) }()
	t.Cleanup(func() {
		end()
		<-ended
		hears(t, said, "STOPPING=1")
	})
	return k, said
}

// hears waits until a line is told.
func hears(t *testing.T, said <-chan string, want string) {
	t.Helper()
	for limit := time.After(20 * time.Second); ; {
		select {
		case m := <-said:
			if slices.ContainsFunc(strings.Split(m, "\n"), func(line string) bool { return strings.HasPrefix(line, want) }) {
				return
			}
		case <-limit:
			t.Fatalf("%s is not told", want)
		}
	}
}

// goRound answers for loops until the test ends.
func goRound(t *testing.T, loops ...pulse) {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	for _, p := range loops {
		go func() {
			for {
				select {
				case <-p:
				case <-end:
					return
				}
			}
		}()
	}
}

func TestSystemdIsTold(t *testing.T) {
	for _, row := range []struct{ name, socket string }{
		{"at a path", filepath.Join(t.TempDir(), "notify")},
		{"at an abstract name", "@" + filepath.Join(t.TempDir(), "notify")},
	} {
		t.Run(row.name, func(t *testing.T) {
			k, said := reporting(t, row.socket, 20*time.Millisecond)
			goRound(t, k.pulses()...)
			hears(t, said, "STATUS=starting")
			hears(t, said, "EXTEND_TIMEOUT_USEC=20000")
			close(k.announced)
			hears(t, said, "READY=1")
			hears(t, said, "WATCHDOG=1")
			k.hear(&k.control, message{Verdict: "ready, but DEGRADED:\na  cable"})
			hears(t, said, "STATUS=ready, but DEGRADED: a cable")
			k.ended(&k.control, nil)
			hears(t, said, "STATUS=starting")
			k.hear(&k.store, message{Failed: "no room"})
			hears(t, said, "STATUS=starting: store does not run: no room")
		})
	}
}

// A keeper of whose loops one hangs is silent, and speaks again when it goes on.
func TestAKeeperThatHangsIsSilent(t *testing.T) {
	const limit = 20 * time.Millisecond
	for i, name := range []string{"forward", "control", "store", "who watches the ports"} {
		t.Run(name, func(t *testing.T) {
			k, said := reporting(t, filepath.Join(t.TempDir(), "notify"), limit)
			loops := k.pulses()
			hangs := loops[i]
			goRound(t, slices.Delete(slices.Clone(loops), i, i+1)...)
			close(k.announced)
			hears(t, said, "READY=1")
			for quiet := time.After(10 * limit); ; {
				select {
				case m := <-said:
					t.Errorf("it says %s", m)
					continue
				case <-quiet:
				}
				break
			}
			goRound(t, hangs)
			hears(t, said, "WATCHDOG=1")
		})
	}
}

func TestAKeeperWhoseStateIsLockedIsSilent(t *testing.T) {
	k, said := reporting(t, filepath.Join(t.TempDir(), "notify"), 20*time.Millisecond)
	goRound(t, k.pulses()...)
	close(k.announced)
	hears(t, said, "WATCHDOG=1")
	k.mu.Lock()
	defer k.mu.Unlock()
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); { // what was on its way arrives
		select {
		case <-said:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
	t.Error("it goes on telling")
}

func TestChildrenAreNotToldOfTheServiceManager(t *testing.T) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "GO") { // TestMain's, and who runs the tests may set some
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "INVOCATION_ID", "LISTEN_FDS"} {
		t.Setenv(name, "1")
	}
	t.Setenv("GOTRACEBACK", "all")
	got := strings.Join(childEnviron(wordStore), " ")
	if want := childEnv + "=store GOTRACEBACK=all"; !strings.HasPrefix(got, want) || strings.Contains(got, "NOTIFY") ||
		strings.Contains(got, "WATCHDOG") || strings.Contains(got, "INVOCATION") || strings.Contains(got, "LISTEN") {
		t.Errorf("a child's environment is %s, want %s and the time zone", got, want)
	}
}
