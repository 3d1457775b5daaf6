package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gatewayd/gateway/api"
	"gatewayd/gateway/capture"
	"gatewayd/sessions"
)

// captureRing is the size of each ring of copies, bytes.
const captureRing = capture.Ring

// capture begins to copy the frames of the device that key names.
func (c *control) capture(ctx context.Context, key string, most int) (api.Capture, error) {
	s, err := c.manager.Standing(ctx, key)
	if err != nil {
		return nil, err
	}
	if s.Device == nil {
		return nil, fmt.Errorf("capture %q: %w", key, sessions.ErrNoDevice)
	}
	cfg := c.cfg.Load()
	on, err := c.captures.Begin(capture.Client{Device: s.Device.ID, Slot: s.Slot, MAC: s.MAC, IP: s.Address,
		LAN: cfg.LAN.Port(), WAN: cfg.WAN.Port(), Bridge: cfg.Bridges()}, most)
	for ours, theirs := range map[error]error{capture.ErrTooMany: api.ErrCaptures, capture.ErrNoSlot: api.ErrAway, capture.ErrDeaf: sessions.ErrForwarder} {
		if errors.Is(err, ours) {
			return nil, fmt.Errorf("capture %q: %w", key, theirs)
		}
	}
	if err != nil {
		return nil, err
	}
	c.log.Info("capture begins", "device", s.Device.ID, "mac", s.MAC)
	return &loggedCapture{on, c, s.Device.ID}, nil
}

// loggedCapture tells the log of its end.
type loggedCapture struct {
	*capture.Capture
	control *control
	device  int64
}

func (l *loggedCapture) Write(ctx context.Context, to io.Writer, size int64, most time.Duration) (api.Captured, error) {
	done, err := l.Capture.Write(ctx, to, capture.Bounds{Size: size, For: most})
	if err != nil {
		done.Why = "its reader is gone"
	}
	l.control.log.Info("capture ended", "device", l.device, "why", done.Why, "packets", done.Packets, "lost", done.Lost)
	return api.Captured(done), err
}

// newCaptures ends what a control before this one has left captured.
func (c *control) newCaptures() *capture.Captures {
	return capture.New(c.table, c.forward.Ring, c.manager.Wall, c.clock.Now, "gatewayd "+Version())
}
