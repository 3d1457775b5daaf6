package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// attempts is how often a run is made until it is proven.
const attempts = 3

// warm is how long a flood lasts before it is measured.
const warm = 200 * time.Millisecond

// enough is the part of a kernel's usual figure that it must have.
const enough = 0.8

// A measurement is one proven run of one trial on one side.
type measurement struct {
	Values  map[string]float64 `json:"values"`           // by figure
	Proof   counts             `json:"proof"`            // what the side counted itself during the run
	Arrived arrival            `json:"arrived"`          // what the far ends counted
	Sender  offer              `json:"sender,omitempty"` // of a flood
	Short   string             `json:"short,omitempty"`  // a kernel's: why it is void all the same
}

// A void run does not count.
type void struct {
	Repeat int    `json:"repeat"`
	Trial  string `json:"trial"`
	Side   string `json:"side"`
	Why    string `json:"why"`
}

// A round is a trial on all sides, each right after another.
type round map[string]measurement

// A result is a trial's proven rounds.
type result struct {
	trial    trial
	rounds   []round
	unproven bool           // a round could not be had: not measured again
	short    map[string]int // runs of a kernel that had less than enough, by side
}

// A length is how often trials are made and how long a run of them lasts.
type length struct {
	repeats int
	lasts   time.Duration
}

// A series measures trials on sides.
type series struct {
	sides   []side    // as they stand beside each other: gatewayd between the kernels
	length            // of most trials
	shapes  length    // of those that fill plans
	say     io.Writer // progress
	once    func(ctx context.Context, sd side, t trial, how terms) (measurement, error)
	choices *choices

	results []*result
	voids   []void
}

var errVoid = errors.New("not proven")

// of is the length that a trial has.
func (s *series) of(t trial) length {
	if t.shapes && t.traffic == nil {
		return s.shapes
	}
	return s.length
}

// measure measures everything; an error that wraps errVoid leaves results that
// lack rounds.
func (s *series) measure(ctx context.Context, list []trial) error {
	for _, t := range list {
		s.results = append(s.results, &result{trial: t, short: map[string]int{}})
	}
	var problems []error
	for repeat := range max(s.repeats, s.shapes.repeats) {
		for _, r := range s.results {
			if r.unproven || repeat >= s.of(r.trial).repeats {
				continue
			}
			if err := s.round(ctx, r, repeat); errors.Is(err, errVoid) {
				r.unproven = true
				problems = append(problems, err)
			} else if err != nil {
				return err
			}
		}
	}
	return errors.Join(problems...)
}

// round adds a proven round to a result: the sides in order, or in the other order.
func (s *series) round(ctx context.Context, r *result, repeat int) error {
	sides := slices.Clone(s.sides)
	if repeat%2 == 1 {
		slices.Reverse(sides)
	}
	all := round{}
	for _, sd := range sides {
		if sd.name() == stock && !r.trial.stock {
			continue
		}
		m, err := s.proven(ctx, sd, r, repeat)
		if err != nil {
			return err
		}
		all[sd.name()] = m
	}
	r.rounds = append(r.rounds, all)
	return nil
}

// proven measures until a run is proven.
func (s *series) proven(ctx context.Context, sd side, r *result, repeat int) (m measurement, err error) {
	how := terms{warm: warm, lasts: s.of(r.trial).lasts}
	if r.trial.traffic != nil {
		if how.offer, err = s.choose(ctx, sd, r.trial); err != nil {
			return m, err
		}
	}
	for range attempts {
		fmt.Fprintf(s.say, "%s, repeat %d of %d: %s: %s ", r.trial.setting.title, repeat+1, s.of(r.trial).repeats, r.trial.title, sd.name())
		m, err = s.once(ctx, sd, r.trial, how)
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
		if err == nil {
			m.Short = r.trial.shortage(sd.name(), m.Values)
		}
		switch {
		case err != nil:
		case m.Short == "" || r.short[sd.name()] >= attempts:
			fmt.Fprintln(s.say, r.trial.show(m.Values))
			return m, nil
		default:
			r.short[sd.name()]++
			err = errors.New(m.Short)
		}
		fmt.Fprintf(s.say, "void: %v\n", err)
		s.voids = append(s.voids, void{repeat + 1, r.trial.key, sd.name(), err.Error()})
		if m.Short != "" && r.short[sd.name()] >= attempts {
			return m, nil // it will not have more, and says so
		}
	}
	return m, fmt.Errorf("repeat %d of %s on %s: %w in %d attempts: %w", repeat+1, r.trial.key, sd.name(), errVoid, attempts, err)
}

// shortage says that a kernel has less than enough of what it usually has.
func (t trial) shortage(side string, values map[string]float64) string {
	for _, f := range t.figures {
		if usual, known := f.usual[side]; known && values[f.key] < enough*usual {
			return fmt.Sprintf("the %s has %s %s, which is less than %.0f %% of the usual %s",
				side, number(values[f.key]), f.unit, 100*enough, number(usual))
		}
	}
	return ""
}

// show is a run's values in a line.
func (t trial) show(values map[string]float64) (line string) {
	for i, f := range t.figures {
		v, has := values[f.key]
		if !has {
			continue
		}
		if i > 0 {
			line += ", "
		}
		line += strings.TrimSpace(number(v) + " " + f.unit)
	}
	return line
}

// once measures a trial on a side and proves the run.
func once(ctx context.Context, sd side, t trial, how terms) (m measurement, err error) {
	if err := sd.prepare(ctx, t); err != nil {
		return m, err
	}
	if t.shapes {
		if err := sd.plan(ctx, t.given()); err != nil {
			return m, err
		}
	}
	how.plan, how.drain = sd.plan, sd.drain
	l := sd.lab()
	begin, err := l.rest(ctx)
	if err != nil {
		return m, err
	}
	before, err := sd.counts(ctx)
	if err != nil {
		return m, err
	}
	gotUp, gotDown, err := l.got()
	if err != nil {
		return m, err
	}
	o, err := t.measure(ctx, l, how)
	if err != nil {
		return m, err
	}
	end, err := l.rest(ctx)
	if err != nil {
		return m, err
	}
	after, err := sd.counts(ctx)
	if err != nil {
		return m, err
	}
	lastUp, lastDown, err := l.got()
	if err != nil {
		return m, err
	}
	rose := after.since(before)
	m.Values, m.Proof, m.Sender = o.values, rose.sums, how.offer
	m.Arrived = arrival{end.Up.since(begin.Up), end.Down.since(begin.Down)}
	o.gotUp, o.gotDown = less(lastUp, gotUp), less(lastDown, gotDown)
	if used, own := rose.sums[ownCPU]; own {
		m.Values[ownPacket] = float64(used) / float64(m.Arrived.Up.Packets+m.Arrived.Down.Packets)
	}
	if part, counted := o.values[arrivedOf]; t.below && counted && part != 1 {
		return m, fmt.Errorf("%.4f of what was sent arrived, below saturation", part)
	}
	return m, sd.prove(rose, m.Arrived, t, o)
}
