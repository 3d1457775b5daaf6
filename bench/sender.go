package main

import (
	"sync/atomic"
	"time"
)

// A sender sends a stream from a namespace's port, from one thread.
type sender struct {
	sent atomic.Uint64 // frames the kernel took
	lost atomic.Uint64 // frames dropped on their way out of the sender
	quit atomic.Bool
	done chan error
}

// send starts a sender on the last core. A rate of 0 is as fast as the core
// allows; others are packets per second, in steps of a millisecond.
func send(l *lab, s stream, o offer, rate int) *sender {
	x := &sender{done: make(chan error, 1)}
	t := s.mould(l.routerMAC)
	go func() { x.done <- within(l.client, func() error { return x.loop(t, o, rate) }) }()
	return x
}

// stop ends the sender and returns how many frames the kernel took.
func (x *sender) stop() (uint64, error) {
	x.quit.Store(true)
	err := <-x.done
	return x.sent.Load(), err
}

func (x *sender) loop(t *mould, o offer, rate int) error {
	v, err := newVolley(t, o)
	if err != nil {
		return err
	}
	defer v.close()
	begin := time.Now()
	flow, tried := 0, 0
	for !x.quit.Load() {
		n := batch
		if rate > 0 {
			if n = min(int(time.Since(begin).Microseconds())*rate/1e6-tried, batch); n <= 0 {
				time.Sleep(time.Millisecond)
				continue
			}
		}
		for i := range n {
			t.write(v.frames[i], (flow+i)%t.flows())
		}
		taken, dropped, err := v.fire(n)
		if err != nil {
			return err
		}
		x.sent.Add(uint64(taken))
		x.lost.Add(uint64(dropped))
		tried += taken + dropped
		flow = (flow + taken + dropped) % t.flows()
	}
	return nil
}
