package forwarder

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder/link"
)

// Moderation. A worker that keeps up with its senders meets small batches, and who
// waits for the next one has to be woken by the core that sends. From restRate on it
// lets restFrames gather instead, unless there are many already.
const (
	restRate   = 100 // frames a millisecond
	restFrames = 8
	enough     = link.Batch / 2
	minRest    = 20 * time.Microsecond
	maxRest    = 50 * time.Microsecond
)

// arrivals is how many frames come.
type arrivals struct {
	frames int           // since the last look
	rate   float64       // frames a ms, over the last ms or so
	looked time.Duration // since boot
}

// rest is how long to let frames gather now; 0: not at all.
func (a *arrivals) rest(now time.Duration) time.Duration {
	got, ms := a.frames, float64(max(now-a.looked, 1))/float64(time.Millisecond)
	a.frames, a.looked = 0, now
	a.rate += (float64(got)/ms - a.rate) * min(ms, 1)
	if a.rate < restRate || got >= enough {
		return 0
	}
	return min(max(time.Duration(restFrames/a.rate*float64(time.Millisecond)), minRest), maxRest)
}

// rest lets frames gather after a round that had some.
func (f *Forwarder) rest() {
	d := f.arrivals.rest(f.clock())
	if d == 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0) // a signal may end it
}
