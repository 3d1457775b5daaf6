package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"gatewayd/gateway/api"
	"gatewayd/gateway/config"
)

// longestRefusal is how much is told of what is wrong with a config, bytes; a
// message has room for it, however it is quoted.
const longestRefusal = 8 << 10

// followConfig reads the config file again whenever control asks or a signal comes,
// until ctx ends.
func (k *keeper) followConfig(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.signals:
			k.reload(0)
		case ask := <-k.asked:
			k.reload(ask)
		}
	}
}

// reload reads the config file again and has all processes take over what can
// change. A file that is not right changes nothing. ask is whose answer it is.
func (k *keeper) reload(ask uint64) {
	defer k.reloads()()
	next, err := config.Load(k.path)
	if err != nil {
		k.log.Error("the config is refused, the one that runs stays in force", "error", err)
		text := refusalText(err)
		k.mu.Lock()
		k.file.Refused = text
		k.mu.Unlock()
		k.tell()
		k.inform(reloading{Ask: ask, Refused: text})
		return
	}
	k.adopt(next, ask)
}

// refusalText is why a config was refused, whole lines of it as long as a message takes them.
func refusalText(err error) string {
	text := err.Error()
	if len(text) <= longestRefusal {
		return text
	}
	text = text[:longestRefusal]
	return text[:max(strings.LastIndexByte(text, '\n'), 0)] + "\nand more: see gatewayd check"
}

// reloads tells a service manager that a reload begins, and returns what tells it of
// the end (sd_notify(3)); neither before it was told that the service is ready.
func (k *keeper) reloads() (done func()) {
	select {
	case <-k.announced:
	default:
		return func() {}
	}
	if !systemdListens() || k.inside != nil {
		return func() {}
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // systemd compares it with its own
	_, _ = daemon.SdNotify(false, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
	return func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }
}

// adopt has all processes run by another config as far as that can change while
// they do, and returns which keys did and which did not.
func (k *keeper) adopt(next *config.Config, ask uint64) api.Reloaded {
	k.adopting.Lock()
	defer k.adopting.Unlock()
	warnings := append(next.Warnings(), k.restartWarnings(next)...)

	k.mu.Lock()
	was, now := k.now, *k.now
	done := api.Reloaded{File: k.path, Warnings: warnings}
	done.Applied, done.NeedsRestart = now.Adopt(next)
	k.now = &now
	k.file = api.ConfigState{File: k.path, ReadAt: time.Now().UTC(), NeedsRestart: done.NeedsRestart}
	k.voice.set(now.Log)
	if k.store.wire != nil && now.Log != was.Log {
		k.hasToHear(&k.store, message{Log: &now.Log})
	}
	k.mu.Unlock()

	k.log.Info("the config was read again", "applied", strings.Join(done.Applied, " "), "needs_restart", strings.Join(done.NeedsRestart, " "))
	for _, w := range warnings {
		k.log.Warn(w)
	}
	k.claim(now.WAN.Own())
	if now.Metrics != was.Metrics {
		select {
		case k.remeasure <- struct{}{}:
		default:
		}
	}
	k.tell()
	k.inform(reloading{Ask: ask, Config: &now, Report: done})
	return done
}

// restartWarnings says what a restart with another config would be refused for.
func (k *keeper) restartWarnings(next *config.Config) (why []string) {
	for i, side := range sides(next) {
		if side.Name == sides(k.cfg)[i].Name {
			continue
		}
		if err := checkPort(side); err != nil {
			why = append(why, fmt.Sprintf("a restart would be refused: %v", err))
		}
	}
	return why
}

// inform tells control what came of a reload.
func (k *keeper) inform(r reloading) {
	if k.inside != nil {
		if r.Config != nil {
			k.inside.adopt(r.Config)
		}
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.control.wire != nil {
		k.hasToHear(&k.control, message{Reloaded: &r})
	}
}

// hasToHear tells a child what it cannot do without: one that does not listen is
// ended, and the next begins with it. Called with mu held.
func (k *keeper) hasToHear(p *process, m message) {
	err := p.wire.send(m)
	if err == nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // else it has just ended
		k.log.Error("a child does not listen and is started again", "child", p.word, "error", err)
	}
	p.wire.close()
}

// Reloaded is what came of Reload. Keys are dotted, such as bandwidth.total.down.
type Reloaded struct {
	Applied      []string // keys whose new values are in force
	NeedsRestart []string // keys whose values differ and stay as they are until another New
}

// Reload has a gateway run by another config without losing a packet, a flow or a
// session: what can change while it runs is in force when Reload returns, within
// 2 s; what cannot stays as it was, and is named. It is for any time between New
// and the end, from any goroutine. The error is
// config.Errors for a config that is not right, of which nothing is taken over, or
// ErrEnded.
func (g *Gateway) Reload(cfg *config.Config) (Reloaded, error) {
	if err := cfg.Check(); err != nil {
		return Reloaded{}, err
	}
	select {
	case <-g.ending.Done():
		return Reloaded{}, fmt.Errorf("reload: %w", ErrEnded)
	case <-g.over:
		return Reloaded{}, fmt.Errorf("reload: %w", ErrEnded)
	default:
	}
	next := *cfg
	next.WAN.Addresses.List = slices.Clone(cfg.WAN.Addresses.List)
	next.Host.Ports.List, next.Kernel.Without = slices.Clone(cfg.Host.Ports.List), slices.Clone(cfg.Kernel.Without)
	done := g.keeper.adopt(&next, 0)
	return Reloaded{done.Applied, done.NeedsRestart}, nil
}
