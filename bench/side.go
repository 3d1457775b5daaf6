package main

import (
	"context"
	"fmt"
	"time"
)

// A side does the gateway's job in its own lab.
type side interface {
	name() string
	lab() *lab
	// prepare makes it ready for a trial.
	prepare(ctx context.Context, t trial) error
	// plan gives every client a plan, at any time.
	plan(ctx context.Context, p plan) error
	// drain has what waits in it leave at once, where that may take long.
	drain(ctx context.Context) error
	// counts reads what the side itself has counted.
	counts(ctx context.Context) (reading, error)
	// prove says whether the side did its whole job while its counts rose by
	// so much and so much arrived: nil, or why the run is void.
	prove(rose reading, arrived arrival, t trial, o outcome) error
	// stop ends what the side started, and its lab.
	stop() error
}

// counts are a side's own counters, by name; they only grow.
type counts map[string]uint64

// A reading is what a side has counted.
type reading struct {
	sums counts
	each []uint64 // billed upwards, of each client, bytes; nil where nobody bills
	down []uint64 // likewise, downwards
}

func (r reading) since(before reading) reading {
	rose := reading{sums: counts{}}
	for name, n := range r.sums {
		if n -= before.sums[name]; n != 0 {
			rose.sums[name] = n
		}
	}
	rose.each, rose.down = less(r.each, before.each), less(r.down, before.down)
	return rose
}

// less subtracts counter by counter.
func less(after, before []uint64) (rose []uint64) {
	for i, n := range after {
		rose = append(rose, n-before[i])
	}
	return rose
}

// arrival is what arrived at the far ends during one run.
type arrival struct {
	Up   traffic `json:"up"`   // at the server
	Down traffic `json:"down"` // at the client
}

// rest waits until nothing arrives any more and returns all that did.
func (l *lab) rest(ctx context.Context) (arrival, error) {
	const quiet = 60 * time.Millisecond
	var last arrival
	var since time.Time // last is what had arrived
	for begin := time.Now(); ; time.Sleep(quiet / 4) {
		up, down, err := l.arrived()
		if err != nil {
			return last, err
		}
		now := arrival{up, down}
		switch {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case now != last || since.IsZero():
			last, since = now, time.Now()
		case time.Since(since) >= quiet:
			return now, nil
		}
		if time.Since(begin) > patience {
			return last, fmt.Errorf("packets still arrive %v after the run", patience)
		}
	}
}
