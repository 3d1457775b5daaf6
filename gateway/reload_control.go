package gateway

import (
	"context"
	"fmt"
	"time"

	"gatewayd/gateway/api"
	"gatewayd/gateway/config"
)

// asking is how control asks the keeper, which alone may read the config, for a
// reload: one at a time.
type asking struct {
	turn    chan struct{}      // held by who asks
	last    uint64             // the number of what was asked last, of no other control's
	answers chan reloading     // those that have a number
	keeper  func(uint64) error // asks it; nil: the config is a program's own
}

func newAsking() asking {
	return asking{turn: make(chan struct{}, 1), last: uint64(time.Now().UnixNano()), answers: make(chan reloading, 16)}
}

// reload has the config file read again, and returns when what it changes is in force.
func (c *control) reload(ctx context.Context) (api.Reloaded, error) {
	a := &c.asking
	if a.keeper == nil {
		return api.Reloaded{}, api.ErrNoConfig
	}
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return api.Reloaded{}, fmt.Errorf("reload: %w", ctx.Err())
	}
	defer func() { <-a.turn }()
	a.last++
	if err := a.keeper(a.last); err != nil {
		return api.Reloaded{}, fmt.Errorf("ask for a reload: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return api.Reloaded{}, fmt.Errorf("reload: %w", ctx.Err())
		case r := <-a.answers:
			switch {
			case r.Ask != a.last: // of a call that has given up
			case r.Refused != "":
				return api.Reloaded{}, badConfig(r.Refused)
			default:
				return r.Report, nil
			}
		}
	}
}

// badConfig is why a config was refused, and nothing else.
type badConfig string

func (b badConfig) Error() string        { return string(b) }
func (b badConfig) Is(target error) bool { return target == api.ErrBadConfig }

// followConfig takes over what the keeper read, in its order, until ctx ends.
func (c *control) followConfig(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-c.reloads:
			if r.Config != nil {
				c.adopt(r.Config)
			}
			if r.Ask == 0 {
				continue
			}
			select {
			case c.asking.answers <- r:
			default: // nobody waits for so many
			}
		}
	}
}

// adopt has everything here run by another config, which differs from the one
// before in what can change only.
func (c *control) adopt(cfg *config.Config) {
	c.voice.set(cfg.Log)
	c.cfg.Store(cfg)
	c.instruct(cfg)
	c.leasing.stir()
	if err := c.manager.Adopt(sessionOptions(cfg)); err != nil {
		c.log.Warn("the new speeds are in force as soon as the forwarder takes them in", "error", err)
	}
}
