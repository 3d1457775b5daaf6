package demo

import (
	"context"
	"time"
)

// tolerance is how exactly a plan's time ends.
const tolerance = 200 * time.Millisecond

// pace is the time between the packets that show whether the client is
// connected.
const pace = 5 * time.Millisecond

// pauseAndResume disconnects in the middle of a time plan.
func pauseAndResume(ctx context.Context, s *stage, v *verdict) error {
	const lasts = 4 * time.Second
	id, err := s.sell(ctx, plan{Type: "time", TimeSecs: uint(lasts / time.Second), DownMbits: 5, UpMbits: 5})
	if err != nil {
		return err
	}
	whole := s.measure()
	ticks, err := s.client.stream(100, pace)
	if err != nil {
		return err
	}
	defer ticks.end()
	m := s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	if err := s.wait(ctx, "connected for one and a half seconds", 1500*time.Millisecond); err != nil {
		return err
	}
	if err := s.api.disconnect(ctx); err != nil {
		return err
	}
	before, _ := m.end()
	m = s.measure()
	near := s.network.clientEnd.begin()
	if err := s.wait(ctx, "disconnected for two seconds; the client keeps sending", 2*time.Second); err != nil {
		return err
	}
	tried := s.network.clientEnd.end(near)
	up, down := m.end()
	passed := up.arrived().packets + down.arrived().packets
	v.saw(tried.sent().packets > 0 && passed == 0, "while disconnected the client sent %d packets; %d passed, want 0", tried.sent().packets, passed)
	m = s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	if err := s.untilSilent(ctx, "connected again, until the plan ends", m, lasts); err != nil {
		return err
	}
	after, _ := m.end()
	ticks.end()
	v.saw(before.lasted() > time.Second && after.lasted() > time.Second && onTime(before.lasted()+after.lasted(), lasts),
		"packets passed for %.3f s before and %.3f s after it: together %.3f s, want %.1f s to within %.1f s", before.lasted().Seconds(),
		after.lasted().Seconds(), (before.lasted() + after.lasted()).Seconds(), lasts.Seconds(), tolerance.Seconds())
	_, err = s.account(ctx, "pause and resume", whole, id)
	return err
}

// timePlan lets a time plan run out.
func timePlan(ctx context.Context, s *stage, v *verdict) error {
	const lasts = 5 * time.Second
	id, err := s.sell(ctx, plan{Type: "time", TimeSecs: uint(lasts / time.Second), DownMbits: 5, UpMbits: 5})
	if err != nil {
		return err
	}
	ticks, err := s.client.stream(100, pace)
	if err != nil {
		return err
	}
	defer ticks.end()
	m := s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	if err := s.untilSilent(ctx, "the client keeps sending until nothing passes", m, lasts); err != nil {
		return err
	}
	ticks.end()
	up, _ := m.read()
	v.saw(onTime(up.lasted(), lasts), "packets passed for %.3f s, want %.1f s to within %.1f s", up.lasted().Seconds(), lasts.Seconds(), tolerance.Seconds())
	_, err = s.account(ctx, "the end at the second", m, id)
	return err
}

// untilSilent waits until no packet of the client has arrived for a second, at
// most a second and a half longer than the plan lasts.
func (s *stage) untilSilent(ctx context.Context, what string, m *meter, lasts time.Duration) error {
	bar := s.report.progress(what, int64(lasts))
	defer bar.done()
	for began := time.Now(); time.Since(began) < lasts+1500*time.Millisecond; {
		up, _ := m.read()
		if up.arrived().packets > 0 && time.Since(up.last) > time.Second {
			return nil
		}
		bar.reach(int64(time.Since(began)))
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// onTime reports whether a plan's time was given, no more and no less.
func onTime(passed, sold time.Duration) bool { return (passed - sold).Abs() <= tolerance }
