package store

import (
	"context"
	"time"
)

const (
	paceShare = 500 * time.Microsecond // of work, then a rest that is as long
	paceRest  = 100 * time.Millisecond // at most: a disk that stalled needs no more
	paceLook  = 4 << 10                // bytes of records between two looks at the time
)

// pace has long work leave processor and disk to requests: it works for a share of time
// and rests for as long. What computes without a rest keeps others out for 10 ms at a
// time, because so seldom is it interrupted, and so seldom is there a look for requests
// when all processors compute. A nil pace does not rest.
type pace struct {
	ctx    context.Context
	hurry  func() bool // somebody waits for the end of the work: no rests
	began  time.Time   // of this share
	unseen int         // bytes since the last look
}

// pace is that of work beside requests, until ctx ends. Without rests goes what changes
// wait for, or will soon.
func (d *disk) pace(ctx context.Context) *pace {
	return &pace{ctx: ctx, hurry: func() bool { return d.segments.Load() > mostSegments/2 || d.isBroken() }, began: time.Now()}
}

// did counts n bytes of work, and rests when a share is over. The error is that of ctx.
func (p *pace) did(n int) error {
	if p == nil {
		return nil
	}
	if p.unseen += n; p.unseen < paceLook {
		return nil
	}
	p.unseen = 0
	took := time.Since(p.began)
	if took < paceShare {
		return nil
	}
	if !p.hurry() {
		select {
		case <-p.ctx.Done():
		case <-time.After(min(took, paceRest)):
		}
	}
	p.began = time.Now()
	return p.ctx.Err()
}
