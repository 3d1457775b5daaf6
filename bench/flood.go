package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// flood is how many packets arrive, a second and for each second that a core
// worked, in millions, when one core sends as many as it can.
func flood(traffic func() stream) func(context.Context, *lab, terms) (outcome, error) {
	return func(ctx context.Context, l *lab, how terms) (o outcome, err error) {
		t := traffic()
		o.wire = t.wire()
		s := send(l, t, how.offer, 0)
		defer func() {
			_, problem := s.stop()
			err = errors.Join(err, problem)
		}()
		for begin := time.Now(); time.Since(begin) < how.warm || s.sent.Load() < uint64(t.flows()); {
			if err := sleep(ctx, how.warm/10); err != nil {
				return o, err
			}
			if time.Since(begin) > patience {
				return o, fmt.Errorf("%d packets were sent in %v", s.sent.Load(), patience)
			}
		}
		before, err := l.now()
		if err != nil {
			return o, err
		}
		if err := sleep(ctx, how.lasts); err != nil {
			return o, err
		}
		lasted, worked, a, err := l.until(before)
		o.values = map[string]float64{
			delivered: float64(a.Up.Packets) / lasted.Seconds() / 1e6,
			perCPU:    float64(a.Up.Packets) / worked.Seconds() / 1e6,
		}
		return o, err
	}
}

// paced is the part that arrives of packets sent below saturation, and how many
// arrive for each second that a core worked, in millions.
func paced(traffic func() stream, rate int) func(context.Context, *lab, terms) (outcome, error) {
	return func(ctx context.Context, l *lab, how terms) (o outcome, err error) {
		t := traffic()
		o.wire = t.wire()
		before, err := l.now()
		if err != nil {
			return o, err
		}
		s := send(l, t, byMessages, rate)
		waited := sleep(ctx, how.lasts)
		_, worked, a, err := l.until(before)
		sent, problem := s.stop()
		if err = errors.Join(waited, err, problem); err != nil {
			return o, err
		}
		all, err := l.rest(ctx)
		if sent == 0 {
			return o, errors.Join(err, errors.New("nothing was sent"))
		}
		o.values = map[string]float64{
			arrivedOf: float64(all.Up.Packets-before.arrived.Up.Packets) / float64(sent),
			perCPU:    float64(a.Up.Packets) / worked.Seconds() / 1e6,
		}
		if s.lost.Load() == 0 {
			for client := range t.clients {
				o.sentBy = append(o.sentBy, t.sentBy(client, sent)*uint64(t.wire()))
			}
		}
		return o, err
	}
}

// newMappings is how many thousand mappings are opened and answered a second, when
// 64 clients open 50,000.
func newMappings(ctx context.Context, l *lab, _ terms) (outcome, error) {
	return open(ctx, l, stream{clients: some.clients, mappings: 50_000, remotes: 1, first: newPort(), port: echo, size: smallFrame})
}

// newRemotes is how many thousand remotes are answered a second, when each of 1000
// mappings speaks to 50 that it has not spoken to.
func newRemotes(ctx context.Context, l *lab, _ terms) (outcome, error) {
	s := stream{clients: some.clients, mappings: 1000, remotes: 1, first: newPort(), port: echo, size: smallFrame}
	if _, _, err := callAll(ctx, l, s); err != nil {
		return outcome{}, err
	}
	if _, err := l.rest(ctx); err != nil {
		return outcome{}, err
	}
	s.remotes = 50
	return open(ctx, l, s)
}

func open(ctx context.Context, l *lab, s stream) (o outcome, err error) {
	took, repeated, err := callAll(ctx, l, s)
	o.wire = s.wire()
	o.values = map[string]float64{perSecond: float64(s.flows()) / took.Seconds() / 1e3, again: float64(repeated)}
	return o, err
}

// manyFrom is where the source ports of a stream of many mappings begin, in every
// run: with others each time, a WAN address would run out of ports.
const manyFrom = 10000

// newPort is a source port, so that a run is a flow that nobody has seen. As many
// again as a stream may need lie above it.
func newPort() uint16 { return uint16(20000 + rand.IntN(30000)) }

// sleep waits, or returns why it did not.
func sleep(ctx context.Context, lasts time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(lasts):
		return nil
	}
}
