package demo

import (
	"context"
	"errors"
	"time"
)

// meter is the far ends' own count of what passed the gateway for the client:
// each direction where it arrives.
type meter struct {
	s        *stage
	up, down *span
}

// measure counts from now on.
func (s *stage) measure() *meter {
	return &meter{s, s.network.internetEnd.begin(), s.network.clientEnd.begin()}
}

// read is what has passed so far.
func (m *meter) read() (up, down span) {
	return m.s.network.internetEnd.read(m.up), m.s.network.clientEnd.read(m.down)
}

// bytes is what has passed so far, both directions together.
func (m *meter) bytes() uint64 {
	up, down := m.read()
	return up.arrived().bytes + down.arrived().bytes
}

// quiet waits until nothing has moved at the far ends for a while.
func (m *meter) quiet(ctx context.Context, still time.Duration) error {
	return errors.Join(m.s.network.internetEnd.quiet(ctx, m.up, still), m.s.network.clientEnd.quiet(ctx, m.down, still))
}

// end counts no more.
func (m *meter) end() (up, down span) {
	return m.s.network.internetEnd.end(m.up), m.s.network.clientEnd.end(m.down)
}
