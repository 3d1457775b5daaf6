package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// attempts is how often a pair is measured until both its runs are proven.
const attempts = 3

// A measurement is one proven run of one figure on one side.
type measurement struct {
	Value   float64 `json:"value"`
	Proof   counts  `json:"proof"`   // what the side counted itself during the run
	Arrived arrival `json:"arrived"` // what the far ends counted
}

// A void run does not count.
type void struct {
	Repeat int    `json:"repeat"`
	Figure string `json:"figure"`
	Side   string `json:"side"`
	Why    string `json:"why"`
}

// A result is a figure's runs, a pair a repeat: Kernel[i] and Gatewayd[i] followed
// each other.
type result struct {
	figure           figure
	kernel, gatewayd []measurement
	unproven         bool // a pair could not be had: not measured again
}

// A series measures figures on two sides.
type series struct {
	kernel, gatewayd side
	repeats          int
	lasts            time.Duration // of a bulk run
	say              io.Writer     // progress

	results []result
	voids   []void
}

var errVoid = errors.New("not proven")

// measure measures everything; an error that wraps errVoid leaves results that
// lack pairs.
func (s *series) measure(ctx context.Context, list []figure) error {
	for _, f := range list {
		s.results = append(s.results, result{figure: f})
	}
	var problems []error
	for repeat := range s.repeats {
		for i := range s.results {
			r := &s.results[i]
			if r.unproven {
				continue
			}
			if err := s.pair(ctx, r, repeat); errors.Is(err, errVoid) {
				r.unproven = true
				problems = append(problems, err)
			} else if err != nil {
				return err
			}
		}
	}
	return errors.Join(problems...)
}

// pair adds a proven pair to a result.
func (s *series) pair(ctx context.Context, r *result, repeat int) error {
	first, second := s.kernel, s.gatewayd
	if repeat%2 == 1 {
		first, second = second, first
	}
	why := ""
	for range attempts {
		runs := map[side]measurement{}
		for _, sd := range []side{first, second} {
			fmt.Fprintf(s.say, "repeat %d of %d: %s: %s ", repeat+1, s.repeats, r.figure.title, sd.name())
			m, err := once(ctx, sd, r.figure, s.lasts)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(s.say, "void: %v\n", err)
				why = err.Error()
				s.voids = append(s.voids, void{repeat + 1, r.figure.key, sd.name(), why})
				break
			}
			fmt.Fprintf(s.say, "%s %s\n", number(m.Value), r.figure.unit)
			runs[sd] = m
		}
		if len(runs) == 2 {
			r.kernel = append(r.kernel, runs[s.kernel])
			r.gatewayd = append(r.gatewayd, runs[s.gatewayd])
			return nil
		}
	}
	return fmt.Errorf("repeat %d of %s: %w in %d attempts: %s", repeat+1, r.figure.key, errVoid, attempts, why)
}

// once measures a figure on a side and proves the run.
func once(ctx context.Context, sd side, f figure, lasts time.Duration) (m measurement, err error) {
	l := sd.lab()
	begin, err := l.rest(ctx)
	if err != nil {
		return m, err
	}
	before, err := sd.counts(ctx)
	if err != nil {
		return m, err
	}
	if m.Value, err = f.measure(ctx, l, lasts); err != nil {
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
	m.Proof = after.since(before)
	m.Arrived = arrival{end.Up.since(begin.Up), end.Down.since(begin.Down)}
	return m, sd.prove(m.Proof, m.Arrived, f)
}
