package demo

import (
	"context"
	"time"
)

// speedLimit measures a plan's rate at the far ends.
func speedLimit(ctx context.Context, s *stage, v *verdict) error {
	sold := plan{Type: "time_or_data", TimeSecs: 600, DataMB: 500, DownMbits: 20, UpMbits: 10}
	id, err := s.sell(ctx, sold)
	if err != nil {
		return err
	}
	m := s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	if err := s.sawRate(ctx, v, m, "download", s.client.download, sold.DownMbits); err != nil {
		return err
	}
	if err := s.sawRate(ctx, v, m, "upload", s.client.upload, sold.UpMbits); err != nil {
		return err
	}
	if err := m.quiet(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	if err := s.api.disconnect(ctx); err != nil {
		return err
	}
	_, err = s.account(ctx, "the speed limit", m, id)
	return err
}

// sawRate runs a transfer and holds what arrives at its far end against the
// plan's rate.
func (s *stage) sawRate(ctx context.Context, v *verdict, m *meter, what string, transfer func(context.Context) error, rate int) error {
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- transfer(running) }()
	defer func() { stop(); <-ended }()
	arrived := func() float64 {
		up, down := m.read()
		if what == "upload" {
			return float64(up.arrived().bytes)
		}
		return float64(down.arrived().bytes)
	}
	if err := sleep(ctx, 300*time.Millisecond); err != nil { // TCP finds the rate
		return err
	}
	before, began := arrived(), time.Now()
	if err := s.wait(ctx, "measuring the "+what, 3*time.Second); err != nil {
		return err
	}
	bytes, during := arrived()-before, time.Since(began)
	least, most := within(rate, during)
	v.saw(bytes >= least && bytes <= most, "the %s arrived at %.2f Mbit/s over %.1f s, want %.2f to %.2f of a plan of %d",
		what, mbits(bytes, during), during.Seconds(), mbits(least, during), mbits(most, during), rate)
	return nil
}

// dataPlan downloads more than a data plan holds.
func dataPlan(ctx context.Context, s *stage, v *verdict) error {
	const limit = 10_000_000
	id, err := s.sell(ctx, plan{Type: "data", DataMB: limit / 1e6, DownMbits: 50, UpMbits: 50})
	if err != nil {
		return err
	}
	m := s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.client.download(running) }()
	err = s.untilStill(ctx, "downloading without end", m, limit)
	s.internet.hangUp()
	stop()
	<-ended
	if err != nil {
		return err
	}
	used := m.bytes()
	v.saw(atLimit(used, limit), "the far ends counted %s bytes, want at most %s and less than one packet below", thousands(used), thousands(limit))
	near := s.network.clientEnd.begin()
	if _, err := s.client.knock(ctx, 700*time.Millisecond); err != nil {
		return err
	}
	tried := s.network.clientEnd.end(near)
	after := m.bytes() - used
	v.saw(after == 0 && tried.sent().packets > 0, "after that the client sent %d packets; %d bytes passed, want 0", tried.sent().packets, after)
	_, err = s.account(ctx, "cut off at the byte", m, id)
	return err
}

// untilStill waits until nothing has arrived at the far ends for a while.
func (s *stage) untilStill(ctx context.Context, what string, m *meter, total uint64) error {
	bar := s.report.progress(what, int64(total))
	defer bar.done()
	for before, since := m.bytes(), time.Now(); before == 0 || time.Since(since) < 700*time.Millisecond; {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if now := m.bytes(); now != before {
			before, since = now, time.Now()
			bar.reach(int64(now))
		}
	}
	return nil
}

// chaining uses one plan up and goes on with the next.
func chaining(ctx context.Context, s *stage, v *verdict) error {
	const first = 2_000_000 // bytes
	one, err := s.sell(ctx, plan{Type: "time_or_data", TimeSecs: 60, DataMB: first / 1e6, DownMbits: 20, UpMbits: 20})
	if err != nil {
		return err
	}
	next := plan{Type: "time", TimeSecs: 60, DownMbits: 5, UpMbits: 5}
	two, err := s.sell(ctx, next)
	if err != nil {
		return err
	}
	m := s.measure()
	if err := s.api.connect(ctx); err != nil {
		return err
	}
	numbered, err := s.client.stream(300, time.Millisecond)
	if err != nil {
		return err
	}
	defer numbered.end()
	bar := s.report.progress("a stream of 1000 numbered packets a second runs through the first plan's end", first*5/4)
	for now := uint64(0); now < first*5/4; now = m.bytes() {
		bar.reach(int64(now))
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			bar.done()
			return err
		}
	}
	bar.done()
	if err := numbered.halt(ctx); err != nil {
		return err
	}
	used := m.bytes()
	ended, err := s.api.session(ctx, one)
	if err != nil {
		return err
	}
	billed := ended.UpBytes + ended.DownBytes
	v.saw(used > first && ended.State == "consumed" && atLimit(billed, first),
		"the far ends counted %s bytes; the first plan is %s with %s of its %s", thousands(used), ended.State, thousands(billed), thousands(first))
	s.sawAll(v, numbered)
	if err := s.sawRate(ctx, v, m, "download", s.client.download, next.DownMbits); err != nil {
		return err
	}
	d, err := s.api.device(ctx)
	if err != nil {
		return err
	}
	v.saw(d.Connected && d.Session != nil && d.Session.ID == two && d.Session.StartedAt != nil,
		"the gateway says that the second session runs, with the moment of its start")
	if err := m.quiet(ctx, 100*time.Millisecond); err != nil {
		return err
	}
	if err := s.api.disconnect(ctx); err != nil {
		return err
	}
	_, err = s.account(ctx, "chaining", m, one, two)
	return err
}

// sawAll holds a stream that has halted against what arrived of it.
func (s *stage) sawAll(v *verdict, n *stream) {
	sent, back := n.end()
	there := s.internet.reached(n.id)
	v.saw(sent > 0 && there.count() == sent && back.count() == sent && there.twice+back.twice == 0,
		"of %d numbered packets %d reached the internet and %d came back, want all, none twice", sent, there.count(), back.count())
}
