package gateway

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// pulse is how one of the keeper's loops shows that it goes round: it is asked,
// and answers when it comes by.
type pulse chan struct{}

// answer is for a loop that comes by and does not wait.
func (p pulse) answer() {
	select {
	case <-p:
	default:
	}
}

// pulses are those of all loops without which the keeper does not watch over
// anything: each child's, and the ports'.
func (k *keeper) pulses() []pulse {
	return []pulse{k.forward.pulse, k.control.pulse, k.store.pulse, k.watched}
}

// goesRound says whether every loop came by before ctx ended.
func (k *keeper) goesRound(ctx context.Context) bool {
	for _, p := range k.pulses() {
		select {
		case p <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// systemdListens says whether a service manager wants to know how the gateway is
// (sd_notify(3)). Children are not told of it: childEnviron leaves it out.
func systemdListens() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// watchdogTime is after how long without word the service manager starts the
// keeper again (sd_watchdog_enabled(3)); without a watchdog as if there was one.
func watchdogTime() time.Duration {
	if limit, err := daemon.SdWatchdogEnabled(false); err == nil && limit > 0 {
		return limit
	}
	return 30 * time.Second
}

// report tells the service manager how the gateway is until ctx ends: once, that
// it is ready; the verdict whenever it changes; and four times in limit that all is
// well, as long as the keeper's loops go round. A keeper that hangs falls silent.
func (k *keeper) report(ctx context.Context, limit time.Duration) {
	var said string
	var failed bool
	tell := func(lines ...string) {
		if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil && !failed {
			k.log.Error("systemd does not hear how the gateway is", "error", err)
			failed = true
		}
	}
	// A start takes longer while a store is mended; it may as long as that goes on.
	well := []string{daemon.SdNotifyWatchdog, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", limit.Microseconds())}
	tick := time.NewTicker(limit / 4)
	defer tick.Stop()
	ready := k.announced
	for {
		if now := k.verdict(); now != said {
			said = now
			tell("STATUS=" + strings.Join(strings.Fields(said), " "))
		}
		select {
		case <-ctx.Done():
			tell(daemon.SdNotifyStopping, "STATUS=ending")
			return
		case <-ready:
			ready, well = nil, well[:1]
			tell(daemon.SdNotifyReady)
		case <-k.changed:
		case <-tick.C:
			asked, end := context.WithTimeout(ctx, limit/4)
			if k.goesRound(asked) {
				tell(well...)
			}
			end()
		}
	}
}

// verdict is the state of the gateway in one line: control's, unless it is away.
func (k *keeper) verdict() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.said != "":
		return k.said
	case k.trouble != "":
		return k.trouble
	case k.readyControl:
		return "control is started again; who is connected stays so"
	}
	for _, p := range []*process{&k.store, &k.control, &k.forward} {
		if p.failed != "" {
			return "starting: " + p.word + " does not run: " + p.failed
		}
	}
	return "starting"
}

// stir makes report look again.
func (k *keeper) stir() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}
