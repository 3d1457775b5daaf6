package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Keys of figures of what is shaped.
const (
	ofPlan    = "percent_of_plan"
	pingP50   = "ping_p50"
	pingP99   = "ping_p99"
	pingLost  = "ping_lost"
	marked    = "marked"
	jainOf    = "jain"
	offShare  = "off_share"
	heavyOver = "heavy_over_others"
	offPlan   = "off_plan"
	ownPacket = "own_cpu_per_packet"
)

// How a shaped run goes: pings of an idle gateway, flows until TCP has found the
// rate and a bucket is empty, then what is measured. What is offered a little more
// than its plan needs longer for a bucket of a second, as the policer's is.
const (
	pingEvery = 20 * time.Millisecond
	pingIdle  = time.Second
	found     = 2 * time.Second
	emptied   = 8 * time.Second
)

// A fill is TCP through plans, and pings beside it.
type fill struct {
	from       []int // the client of each flow
	down       bool
	congestion string
	pinger     int  // the client that pings
	rate       bits // what all that is measured may have together
	marks      bool // both ends speak ECN
}

// flowsOf are so many flows of the first client.
func flowsOf(n int) []int { return make([]int, n) }

// measure fills the plans, with pings beside it, and returns the part of the rate
// that arrived on the wire, by what a ping takes longer than the idle median, and
// what has arrived of each client meanwhile.
func (x fill) measure(ctx context.Context, l *lab, how terms) (o outcome, each []uint64, err error) {
	if x.marks {
		if err := l.ecn(1); err != nil {
			return o, nil, err
		}
		defer func() { err = errors.Join(err, l.ecn(2)) }()
	}
	idle, _, err := l.pingTimes(ctx, x.pinger, pingIdle)
	if err != nil {
		return o, nil, err
	}
	run, err := newLoad(ctx, l, x.from, x.down, x.congestion)
	if err != nil {
		return o, nil, err
	}
	defer func() { err = errors.Join(err, run.stop(), how.drain(ctx)) }()
	if err := sleep(ctx, found); err != nil {
		return o, nil, err
	}
	begin, err := l.look(x.down)
	if err != nil {
		return o, nil, err
	}
	var times []float64
	var lost float64
	pinged := make(chan error, 1)
	go func() {
		var err error
		times, lost, err = l.pingTimes(ctx, x.pinger, how.lasts)
		pinged <- err
	}()
	waited := sleep(ctx, how.lasts)
	end, err := l.look(x.down)
	if err = errors.Join(waited, err, run.stop(), <-pinged); err != nil {
		return o, nil, err
	}
	o.values = map[string]float64{
		ofPlan:   percent(end.there.Bytes-begin.there.Bytes, x.rate, end.at.Sub(begin.at)),
		pingP50:  (percentile(times, 0.5) - percentile(idle, 0.5)) / 1000,
		pingP99:  (percentile(times, 0.99) - percentile(idle, 0.5)) / 1000,
		pingLost: 100 * lost,
		marked:   float64(end.marked - begin.marked),
	}
	return o, less(end.each, begin.each), nil
}

// A look is what the far end of a load has received at one moment.
type look struct {
	at     time.Time
	there  traffic
	each   []uint64 // of each client; nil where it is not counted
	marked uint64   // packets with a mark (RFC 3168: Congestion Experienced)
}

// look looks at the client's port if packets go down, else at the server's.
func (l *lab) look(down bool) (s look, err error) {
	end, namespace := l.atServer, l.server
	if down {
		end, namespace = l.atClient, l.client
	}
	if s.marked, err = ce(namespace); err != nil {
		return s, err
	}
	if s.each, err = end.readEach(); err != nil {
		return s, err
	}
	s.there, err = end.read()
	s.at = time.Now()
	return s, err
}

// saturate measures one client's plan.
func (x fill) saturate(ctx context.Context, l *lab, how terms) (outcome, error) {
	o, _, err := x.measure(ctx, l, how)
	return o, err
}

// share measures how clients share what they have together: weights has what each
// that sends weighs, and heavy says that the first has more flows than others.
func (x fill) share(p plan, heavy bool) func(context.Context, *lab, terms) (outcome, error) {
	return func(ctx context.Context, l *lab, how terms) (outcome, error) {
		o, each, err := x.measure(ctx, l, how)
		if err != nil {
			return o, err
		}
		active := map[int]bool{}
		for _, client := range x.from {
			active[client] = true
		}
		var parts []float64 // bytes for each unit of weight
		for client, bytes := range each {
			if active[client] {
				parts = append(parts, float64(bytes)/float64(p.weight(client)))
			}
		}
		o.values[jainOf] = jain(parts)
		o.values[offShare] = offByWeight(parts, len(p.weights))
		if heavy {
			o.values[heavyOver] = parts[0] / mean(parts[1:])
		}
		return o, nil
	}
}

// recut changes the plan to four times as much and back, under load, and returns
// what part of what the plans gave in all has arrived.
func (x fill) recut(ctx context.Context, l *lab, how terms) (o outcome, err error) {
	run, err := newLoad(ctx, l, x.from, x.down, x.congestion)
	if err != nil {
		return o, err
	}
	defer func() {
		err = errors.Join(err, run.stop(), how.drain(ctx))
	}()
	if err := sleep(ctx, found); err != nil {
		return o, err
	}
	before, err := l.look(x.down)
	if err != nil {
		return o, err
	}
	const turns = 4
	given := 0.0 // bits
	for turn := range turns {
		rate := x.rate
		if turn%2 == 1 {
			rate *= 4
		}
		if err := how.plan(ctx, plan{rate: rate}); err != nil {
			return o, err
		}
		begin := time.Now()
		if err := sleep(ctx, how.lasts/turns); err != nil {
			return o, err
		}
		given += float64(rate) * time.Since(begin).Seconds()
	}
	after, err := l.look(x.down)
	o.values = map[string]float64{ofPlan: 100 * float64(after.there.Bytes-before.there.Bytes) * 8 / given}
	return o, err
}

// overfed offers each client's plan more than it may have, in packets of one size,
// upwards, and returns what part of all plans arrived, and how far the client that
// is furthest from its plan is off.
func overfed(clients int, rate bits) func(context.Context, *lab, terms) (outcome, error) {
	const size, more, least = 1414, 1.15, 105 // percent
	return func(ctx context.Context, l *lab, how terms) (o outcome, err error) {
		t := stream{clients: clients, mappings: clients, remotes: 1, first: newPort(), port: discard, size: size}
		o.wire = t.wire()
		packets := int(more * float64(rate.bytes()*int64(clients)) / float64(t.wire()))
		s := send(l, t, byMessages, packets)
		defer func() {
			_, problem := s.stop()
			err = errors.Join(err, problem, how.drain(ctx))
		}()
		if err := sleep(ctx, emptied); err != nil {
			return o, err
		}
		begin, err := l.look(false)
		if err != nil {
			return o, err
		}
		before, err := l.now()
		if err != nil {
			return o, err
		}
		sent := s.sent.Load()
		waited := sleep(ctx, how.lasts)
		sent = s.sent.Load() - sent
		_, worked, a, err := l.until(before)
		end, problem := l.look(false)
		if err = errors.Join(waited, err, problem); err != nil {
			return o, err
		}
		lasted := end.at.Sub(begin.at)
		if part := percent(sent*uint64(t.wire()), rate*bits(clients), lasted); part < least {
			return o, fmt.Errorf("the sender offered %.0f %% of the plans, and less than %d fills none: the machine is busy", part, least)
		}
		o.values = map[string]float64{
			ofPlan:  percent(end.there.Bytes-begin.there.Bytes, rate*bits(clients), lasted),
			offPlan: furthest(less(end.each, begin.each), float64(rate.bytes())*lasted.Seconds()),
			perCPU:  float64(a.Up.Packets) / worked.Seconds() / 1e6,
		}
		return o, nil
	}
}

// percent is what part of a rate so many bytes are.
func percent(bytes uint64, rate bits, lasted time.Duration) float64 {
	return 100 * float64(bytes) * 8 / (float64(rate) * lasted.Seconds())
}

// pingTimes sends a ping of a client every 20 ms and returns the round trips, µs,
// and which part had no answer.
func (l *lab) pingTimes(ctx context.Context, client int, lasts time.Duration) (times []float64, lost float64, err error) {
	sent := int(lasts / pingEvery)
	out, err := run(ctx, l.client, "ping", "-n", "-i", strconv.FormatFloat(pingEvery.Seconds(), 'f', -1, 64),
		"-c", strconv.Itoa(sent), "-I", memberAt(client).ip.String(), serverIP)
	if err != nil {
		return nil, 0, err
	}
	times, err = readPings(string(out))
	return times, 1 - float64(len(times))/float64(sent), err
}

// ecn sets the use of ECN (RFC 3168) at both ends: 1 asks for it, 2 grants it.
func (l *lab) ecn(mode int) error {
	set := func() error { return sysctls("ipv4/tcp_ecn=" + strconv.Itoa(mode)) }
	return errors.Join(within(l.client, set), within(l.server, set))
}

// ce is how many packets with a mark a namespace has received.
func ce(namespace string) (n uint64, err error) {
	err = within(namespace, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err == nil {
			n, err = readExt(string(text), "InCEPkts")
		}
		return err
	})
	return n, err
}

// readExt reads a counter of /proc/net/netstat: a line of names, a line of numbers.
func readExt(text, name string) (uint64, error) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "IpExt:" {
			continue
		}
		for i, n := range names {
			if n == name && i < len(fields) {
				return strconv.ParseUint(fields[i], 10, 64)
			}
		}
		names = fields
	}
	return 0, fmt.Errorf("/proc/net/netstat has no %s", name)
}
