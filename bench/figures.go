package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// A figure is one number that both sides have.
type figure struct {
	key, title, unit string
	less             bool    // less is better
	answers          bool    // packets come down too
	target           float64 // of gatewayd's over the kernel's; 0: none
	usual            float64 // the kernel's, where the machine is not busy; 0: not known
	measure          func(context.Context, *lab, time.Duration) (float64, error)
}

// figures are all that is measured, in order.
func figures(congestion string) []figure {
	return []figure{
		{key: "tcp_up_1", title: "TCP up, 1 flow", unit: "Gbit/s", answers: true, target: 0.7, usual: 8.9, measure: bulk(1, false, congestion)},
		{key: "tcp_down_1", title: "TCP down, 1 flow", unit: "Gbit/s", answers: true, target: 0.7, usual: 8.9, measure: bulk(1, true, congestion)},
		{key: "tcp_up_4", title: "TCP up, 4 flows", unit: "Gbit/s", answers: true, target: 0.7, usual: 9.3, measure: bulk(4, false, congestion)},
		{key: "tcp_down_4", title: "TCP down, 4 flows", unit: "Gbit/s", answers: true, target: 0.7, usual: 9.3, measure: bulk(4, true, congestion)},
		{key: "udp_64", title: "UDP 64 bytes, delivered", unit: "Mpps", target: 1, usual: 0.4, measure: flood},
		{key: "rtt_idle", title: "round trip, idle, p50", unit: "µs", less: true, answers: true, measure: roundTrip},
		{key: "udp_paced", title: "UDP 64 bytes, 50,000/s: delivered", unit: "of sent", measure: paced},
	}
}

// bulk is TCP goodput over so many flows, as the receiver counts it.
func bulk(flows int, down bool, congestion string) func(context.Context, *lab, time.Duration) (float64, error) {
	return func(ctx context.Context, l *lab, lasts time.Duration) (float64, error) {
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
}

// flood is how many small packets arrive a second, in millions, when one core
// sends as many as it can.
func flood(ctx context.Context, l *lab, lasts time.Duration) (mpps float64, err error) {
	s := send(l.client, datagram(l.gatewayMAC, newPort(), smallFrame), 0)
	defer func() {
		_, problem := s.stop()
		err = errors.Join(err, problem)
	}()
	const warm = 300 * time.Millisecond
	if err := sleep(ctx, warm); err != nil {
		return 0, err
	}
	begin := time.Now()
	before, err := l.atServer.read()
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, lasts); err != nil {
		return 0, err
	}
	after, err := l.atServer.read()
	return float64(after.Packets-before.Packets) / time.Since(begin).Seconds() / 1e6, err
}

// paced is the part that arrives of small packets sent far below saturation.
func paced(ctx context.Context, l *lab, lasts time.Duration) (float64, error) {
	const rate = 50_000
	before, err := l.atServer.read()
	if err != nil {
		return 0, err
	}
	s := send(l.client, datagram(l.gatewayMAC, newPort(), smallFrame), rate)
	waited := sleep(ctx, lasts/2)
	sent, err := s.stop()
	if err = errors.Join(waited, err); err != nil {
		return 0, err
	}
	all, err := l.rest(ctx)
	if sent == 0 {
		return 0, errors.Join(err, errors.New("nothing was sent"))
	}
	return float64(all.Up.Packets-before.Packets) / float64(sent), err
}

// newPort is a source port, so that a run is a flow that nobody has seen.
func newPort() uint16 { return uint16(20000 + rand.IntN(30000)) }

// roundTrip is the median round trip of pings at an idle gateway, µs.
func roundTrip(ctx context.Context, l *lab, lasts time.Duration) (float64, error) {
	const every = 10 * time.Millisecond
	out, err := run(ctx, l.client, "ping", "-n", "-i", "0.01", "-c", strconv.Itoa(int(lasts/every)/2), serverIP)
	if err != nil {
		return 0, err
	}
	times, err := readPings(string(out))
	if err != nil {
		return 0, err
	}
	return median(times), nil
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

// sleep waits, or returns why it did not.
func sleep(ctx context.Context, lasts time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(lasts):
		return nil
	}
}
