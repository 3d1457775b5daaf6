package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An offer is a way of sending.
type offer string

const (
	byMessages offer = "sendmmsg" // on an AF_PACKET socket
	byRing     offer = "AF_XDP"   // on a socket that only sends, in copy mode
)

// offers are those that this kernel has.
func offers() []offer {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return []offer{byMessages}
	}
	_ = unix.Close(fd) // nothing was done with it
	return []offer{byMessages, byRing}
}

// briefly is how an offer is tried.
func briefly(o offer) terms {
	return terms{warm: 100 * time.Millisecond, lasts: 200 * time.Millisecond, offer: o}
}

// A choice is what each offer gave on a side, before its first run.
type choice struct {
	Trial     string            `json:"trial"`
	Side      string            `json:"side"`
	Delivered map[offer]float64 `json:"delivered_mpps"`
	Chosen    offer             `json:"chosen"`
	stream    stream            // of the trial
}

// choices are what the sides of all settings are offered.
type choices struct {
	offers []offer // that there are
	hasty  bool    // a choice holds for the same stream in other settings
	made   []choice
	try    func(ctx context.Context, sd side, t trial, how terms) (mpps float64, err error)
}

// choose returns the offer of which a side delivers most in a flood. All repeats
// have the one that was chosen before the first, so that a side's runs differ in
// nothing.
func (s *series) choose(ctx context.Context, sd side, t trial) (offer, error) {
	to := s.choices
	if len(to.offers) == 1 {
		return to.offers[0], nil
	}
	c := choice{t.key, sd.name(), map[offer]float64{}, to.offers[0], t.traffic()}
	c.stream.first = 0 // differs from run to run
	for _, made := range to.made {
		if made.Side == c.Side && (made.Trial == c.Trial || to.hasty && made.stream == c.stream) {
			return made.Chosen, nil
		}
	}
	for _, o := range to.offers {
		mpps, err := to.try(ctx, sd, t, briefly(o))
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			return "", fmt.Errorf("%s on %s: %w: trying %s: %w", t.key, sd.name(), errVoid, o, err)
		}
		fmt.Fprintf(s.say, "%s, trying %s: %s: %s %s Mpps\n", t.setting.title, o, t.title, sd.name(), number(mpps))
		if c.Delivered[o] = mpps; mpps > c.Delivered[c.Chosen] {
			c.Chosen = o
		}
	}
	to.made = append(to.made, c)
	return c.Chosen, nil
}

// try measures a flood on a side without proving it: the runs that follow are proven.
func try(ctx context.Context, sd side, t trial, how terms) (mpps float64, err error) {
	if err := sd.prepare(ctx, t); err != nil {
		return 0, err
	}
	o, err := t.measure(ctx, sd.lab(), how)
	return o.values[delivered], err
}

// offered says by what each side was flooded, a line a trial.
func (r *report) offered() (lines []string) {
	if len(r.Senders) == 1 {
		return []string{fmt.Sprintf("all floods were sent by %s: this kernel has no %s", byMessages, byRing)}
	}
	last := ""
	for _, c := range r.Choices {
		var gave []string
		for _, o := range slices.Sorted(maps.Keys(c.Delivered)) {
			gave = append(gave, number(c.Delivered[o])+" by "+string(o))
		}
		text := fmt.Sprintf("%s: %s (%s)", c.Side, c.Chosen, strings.Join(gave, ", "))
		if c.Trial == last {
			lines[len(lines)-1] += "; " + text
		} else {
			lines = append(lines, c.Trial+" is sent by what delivered more Mpps in a short try: "+text)
		}
		last = c.Trial
	}
	return lines
}
