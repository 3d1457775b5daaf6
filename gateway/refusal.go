package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	holdTime  = 45 * time.Second // less than the unit's TimeoutStartSec
	lookAgain = time.Second
)

// refusal keeps in a file, over the starts of a service, why the last one was
// refused.
type refusal struct{ file string }

// refusals is that of this process; without a service manager it keeps nothing.
func refusals() refusal {
	dir := os.Getenv("RUNTIME_DIRECTORY") // systemd.exec(5)
	if !systemdListens() || dir == "" {
		return refusal{}
	}
	return refusal{filepath.Join(dir, "refused")}
}

// hold gives a refused start back to the service manager, which starts it again a
// second later, with several lines in a log on a card that dies of writing. So
// only a new reason comes back at once, for whoever asked for the start to see; the
// one of the time before does after holdTime, or as soon as look says otherwise
// than at first. Whoever ends ctx asks anew.
func (r refusal) hold(ctx context.Context, why error, look func() error) {
	if r.file == "" {
		return
	}
	_, _ = daemon.SdNotify(false, "STATUS=refused: "+strings.Join(strings.Fields(why.Error()), " "))
	if last, _ := os.ReadFile(r.file); string(last) != why.Error() {
		_ = os.WriteFile(r.file, []byte(why.Error()), 0o600) // without it the next one is new, too
		return
	}
	first := fmt.Sprint(look())
	for end := time.After(holdTime); fmt.Sprint(look()) == first; {
		select {
		case <-ctx.Done():
			r.forget()
			return
		case <-end:
			return
		case <-time.After(lookAgain):
		}
	}
}

// forget makes every reason new.
func (r refusal) forget() {
	if r.file != "" {
		_ = os.Remove(r.file)
	}
}
