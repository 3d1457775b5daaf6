package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bulk is TCP goodput over so many flows, as the receiver counts it, and what
// arrives on the wire for each second that a core worked.
func bulk(flows int, down bool, congestion string) func(context.Context, *lab, terms) (outcome, error) {
	return func(ctx context.Context, l *lab, how terms) (o outcome, err error) {
		before, err := l.now()
		if err != nil {
			return o, err
		}
		gbits, err := l.iperf3(ctx, flows, down, congestion, how.lasts)
		if err != nil {
			return o, err
		}
		_, worked, a, err := l.until(before)
		o.values = map[string]float64{goodput: gbits, perCPU: float64(a.Up.Bytes+a.Down.Bytes) * 8 / 1e9 / worked.Seconds()}
		return o, err
	}
}

// iperf3 runs a client of the lab's server and returns what the receiver got,
// Gbit/s.
func (l *lab) iperf3(ctx context.Context, flows int, down bool, congestion string, lasts time.Duration) (float64, error) {
	args := []string{"--json", "--client", serverIP, "--connect-timeout", "3000",
		"--time", strconv.Itoa(max(int(lasts.Seconds()), 1)), "--parallel", strconv.Itoa(flows), "--congestion", congestion}
	if down {
		args = append(args, "--reverse")
	}
	limit, cancel := context.WithTimeout(ctx, lasts+3*patience)
	defer cancel()
	for {
		out, err := run(limit, l.client, "iperf3", args...)
		var report struct {
			Error string
			End   struct {
				Received struct {
					BitsPerSecond float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			}
		}
		jsonErr := json.Unmarshal(out, &report)
		switch {
		case strings.HasPrefix(report.Error, "unable to connect") && sleep(limit, 100*time.Millisecond) == nil:
			continue // after a test the server listens anew
		case err != nil || jsonErr != nil || report.Error != "":
			return 0, errors.Join(err, jsonErr, errors.New("iperf3: "+report.Error))
		}
		return report.End.Received.BitsPerSecond / 1e9, nil
	}
}

// roundTrips is the round trip of pings at an idle gateway, µs.
func roundTrips(ctx context.Context, l *lab, how terms) (outcome, error) {
	return l.pings(ctx, 10*time.Millisecond, how.lasts)
}

// loaded is the round trip of pings beside TCP in one flow down, µs.
func loaded(congestion string) func(context.Context, *lab, terms) (outcome, error) {
	return func(ctx context.Context, l *lab, how terms) (outcome, error) {
		const before = 500 * time.Millisecond // until bulk has its speed
		done := make(chan error, 1)
		go func() {
			_, err := l.iperf3(ctx, 1, true, congestion, how.lasts+time.Second)
			done <- err
		}()
		err := sleep(ctx, before)
		var o outcome
		if err == nil {
			o, err = l.pings(ctx, 2*time.Millisecond, how.lasts)
		}
		return o, errors.Join(err, <-done)
	}
}

// pings sends a ping at every tick and returns the percentiles of their round
// trips, µs.
func (l *lab) pings(ctx context.Context, every, lasts time.Duration) (o outcome, err error) {
	interval := strconv.FormatFloat(every.Seconds(), 'f', -1, 64)
	out, err := run(ctx, l.client, "ping", "-n", "-i", interval, "-c", strconv.Itoa(int(lasts/every)), serverIP)
	if err != nil {
		return o, err
	}
	times, err := readPings(string(out))
	if err != nil {
		return o, err
	}
	slices.Sort(times)
	rank := func(part float64) float64 { return times[int(math.Ceil(part*float64(len(times))))-1] }
	o.values = map[string]float64{p50: rank(0.5), p99: rank(0.99)}
	return o, nil
}

// readPings reads each round trip of what ping prints, µs.
func readPings(text string) ([]float64, error) {
	var times []float64
	for line := range strings.Lines(text) {
		_, after, found := strings.Cut(line, "time=")
		if !found {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(after), " ")
		ms, err := strconv.ParseFloat(number, 64)
		if err != nil || unit != "ms" {
			return nil, fmt.Errorf("read ping's line %q", strings.TrimSpace(line))
		}
		times = append(times, ms*1000)
	}
	if len(times) == 0 {
		return nil, errors.New("ping printed no round trip")
	}
	return times, nil
}
