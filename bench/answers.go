package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// echo is the UDP port whose packets the server's port sends back (RFC 862); the
// client's port marks the flow that is answered, and drops them.
const echo = 7

// maxFlows is how many flows one run may have answered.
const maxFlows = 1 << 17

// answers are what has come back to a client's port: a word a flow, not 0 when it
// was answered, and in word maxFlows how many were.
type answers struct {
	words *ebpf.Map
	shown []byte // the map's memory
}

func newAnswers() (*answers, error) {
	words, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: maxFlows + 1, Flags: unix.BPF_F_MMAPABLE})
	if err != nil {
		return nil, fmt.Errorf("make the map of answers: %w", err)
	}
	shown, err := unix.Mmap(words.FD(), 0, (maxFlows+1)*8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the answers: %w", err), words.Close())
	}
	return &answers{words, shown}, nil
}

func (a *answers) close() error { return errors.Join(unix.Munmap(a.shown), a.words.Close()) }

func (a *answers) word(i int) *uint64 { return (*uint64)(unsafe.Pointer(&a.shown[i*8])) }

// clear forgets all answers; none may be on its way.
func (a *answers) clear() {
	for i := range maxFlows + 1 {
		atomic.StoreUint64(a.word(i), 0)
	}
}

// has says whether flow f was answered.
func (a *answers) has(f int) bool { return atomic.LoadUint64(a.word(f)) != 0 }

// count is how many flows were answered.
func (a *answers) count() int { return int(atomic.LoadUint64(a.word(maxFlows))) }

// How callAll goes about it.
const (
	window  = 512                   // flows that may wait for their answer
	silence = 20 * time.Millisecond // without an answer: all that wait are sent again
	tooLong = 15 * time.Second      // for all
)

// callAll sends one packet of each flow of a stream until each was answered, with
// at most window of them waiting, and returns how long it took and how many
// packets were sent again.
func callAll(ctx context.Context, l *lab, s stream) (took time.Duration, again int, err error) {
	if s.flows() > maxFlows {
		return 0, 0, fmt.Errorf("%d flows are more than %d", s.flows(), maxFlows)
	}
	l.answers.clear()
	err = within(l.client, func() (err error) {
		v, err := newVolley(s.mould(l.routerMAC), byMessages)
		if err != nil {
			return err
		}
		defer v.close()
		begin := time.Now()
		again, err = v.call(ctx, l.answers, s.flows())
		took = time.Since(begin)
		return err
	})
	return took, again, err
}

func (v *volley) call(ctx context.Context, a *answers, flows int) (again int, err error) {
	begin := time.Now()
	moved, seen := begin, 0
	for next := 0; ; {
		done := a.count()
		now := time.Now()
		switch {
		case done == flows:
			return again, nil
		case ctx.Err() != nil:
			return again, ctx.Err()
		case now.Sub(begin) > tooLong:
			return again, fmt.Errorf("%d of %d flows were answered in %v", done, flows, tooLong)
		case done != seen:
			moved, seen = now, done
		case now.Sub(moved) > silence:
			n, err := v.repeat(a, next)
			if again += n; err != nil {
				return again, err
			}
			moved = time.Now()
		}
		n := min(batch, flows-next, window-(next-done))
		if n <= 0 || n < min(batch, flows-next) {
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil) // the gateway may want this core
			continue
		}
		for i := range n {
			v.mould.write(v.frames[i], next+i)
		}
		taken, _, err := v.fire(n)
		if err != nil {
			return again, err
		}
		next += taken // one that was dropped is tried again
	}
}

// repeat sends again what has no answer of the flows before next.
func (v *volley) repeat(a *answers, next int) (again int, err error) {
	n := 0
	flush := func() error {
		_, _, err := v.fire(n)
		again += n
		n = 0
		return err
	}
	for f := range next {
		if a.has(f) {
			continue
		}
		v.mould.write(v.frames[n], f)
		if n++; n == batch {
			if err := flush(); err != nil {
				return again, err
			}
		}
	}
	if n > 0 {
		err = flush()
	}
	return again, err
}
