package gateway

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusalsComeBackSlowly: how long a refused start is held, after an earlier
// one for a reason.
func TestRefusalsComeBackSlowly(t *testing.T) {
	const why = "no port eth1"
	for _, row := range []struct {
		name    string
		last    string        // the reason before; empty: none
		changes time.Duration // when a look finds something else; 0: never
		asked   time.Duration // when somebody ends it; 0: nobody
		held    time.Duration
		keeps   bool
	}{
		{"the first", "", 0, 0, 0, true},
		{"another reason", "no port eth0", 0, 0, 0, true},
		{"the same", why, 0, 0, holdTime, true},
		{"the same, mended meanwhile", why, 10 * time.Second, 0, 10 * time.Second, true},
		{"the same, asked for anew", why, 0, 10500 * time.Millisecond, 10500 * time.Millisecond, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := refusal{filepath.Join(t.TempDir(), "refused")}
			if row.last != "" {
				if err := os.WriteFile(r.file, []byte(row.last), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if row.asked > 0 {
					var end context.CancelFunc
					ctx, end = context.WithTimeout(ctx, row.asked)
					defer end()
				}
				began := time.Now()
				r.hold(ctx, errors.New(why), func() error {
					if row.changes > 0 && time.Since(began) >= row.changes {
						return nil
					}
					return errors.New(why)
				})
				if held := time.Since(began); held != row.held {
					t.Errorf("held for %v, want %v", held, row.held)
				}
			})
			if kept, _ := os.ReadFile(r.file); (string(kept) == why) != row.keeps {
				t.Errorf("%q is kept", kept)
			}
			r.forget()
			if _, err := os.Stat(r.file); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after all is well: %v", err)
			}
		})
	}
}

// TestRefusalsWithoutAServiceManager come back at once and leave nothing.
func TestRefusalsWithoutAServiceManager(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct{ socket, dir string }{{"", dir}, {"/run/none", ""}} {
		t.Setenv("NOTIFY_SOCKET", row.socket)
		t.Setenv("RUNTIME_DIRECTORY", row.dir)
		for range 2 {
			refusals().hold(t.Context(), errors.New("no"), func() error { return errors.New("no") })
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
