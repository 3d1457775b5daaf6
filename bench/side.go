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
	// counts reads what the side itself has counted, by name.
	counts(ctx context.Context) (counts, error)
	// prove says whether the side did its whole job while its counts rose by
	// so much and so much arrived: nil, or why the run is void.
	prove(rose counts, arrived arrival, f figure) error
	// stop ends what the side started, and its lab.
	stop() error
}

// counts are a side's own counters; they only grow.
type counts map[string]uint64

func (c counts) since(before counts) counts {
	rose := counts{}
	for name, n := range c {
		if n -= before[name]; n != 0 {
			rose[name] = n
		}
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
