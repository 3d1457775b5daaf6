package forwarder

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// work forwards until the crew is stopped. It waits for frames on the thread itself.
func (f *Forwarder) work() error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("forward: epoll: %w", err)
	}
	defer unix.Close(poll)
	bell, err := clients.FD(f.bell.File())
	if err != nil {
		return fmt.Errorf("forward: bell: %w", err)
	}
	watch := func(fd, what int, events uint32) error {
		return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(what)})
	}
	for port, l := range f.links {
		if _, elsewhere := l.(sendOnly); l != nil && !elsewhere {
			if err := watch(l.FD(), port, unix.EPOLLIN|unix.EPOLLET); err != nil { // edges: a port that is gone says so once
				return fmt.Errorf("forward: watch port %d: %w", port, err)
			}
			f.ready[port] = true
		}
	}
	// Nobody silences the bell: each ring is an edge for every worker.
	if err := watch(bell, clients.NumPorts, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return fmt.Errorf("forward: watch bell: %w", err)
	}
	if f.crew != nil {
		if err := watch(f.crew.beds[f.worker].bell, clients.NumPorts, unix.EPOLLIN|unix.EPOLLET); err != nil {
			return fmt.Errorf("forward: watch worker's bell: %w", err)
		}
	}
	var events [8]unix.EpollEvent
	for round := 0; !f.stop.Load(); round++ {
		if f.Round() {
			f.rest()
			if round%8 != 0 {
				continue
			}
		}
		wait := f.patience()
		if f.crew != nil {
			wait = f.lieDown(wait)
		}
		f.busy = f.busy && wait == 0
		n, err := f.await(poll, events[:], wait)
		if f.crew != nil {
			f.crew.beds[f.worker].asleep.Store(false)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("forward: wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) < clients.NumPorts {
				f.told(int(e.Fd), e.Events)
			}
		}
	}
	f.flushAll()
	f.publish()
	f.said.Attached.Store(0) // the counters are final
	return nil
}

// sighted is a link of which a look at memory can tell whether frames wait.
type sighted interface {
	Look() (waits, known bool)
}

// told takes in an event of a port. Frames that are seen without asking are no news;
// a fault is, and the link says which one when it is asked for frames and has none.
func (f *Forwarder) told(port int, events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		if _, seen := f.look(port); seen {
			return
		}
	}
	f.ready[port] = true
}

// look says whether frames are seen to wait at a port; known is whether not seeing
// any means that none do.
func (f *Forwarder) look(port int) (waits, known bool) {
	if l, ok := f.links[port].(sighted); ok {
		return l.Look()
	}
	return false, false
}

// waitsAt says whether a port may have frames.
func (f *Forwarder) waitsAt(port int) bool {
	if f.ready[port] {
		return true
	}
	waits, _ := f.look(port)
	return waits
}

// linger is for how long after a frame more are expected soon.
const linger = time.Second

// await waits for events. While more frames are expected the thread does so as if
// it worked: Go's runtime, told of a call that blocks, gives the processor to
// another thread and wakes its monitor, whose signal then interrupts the packets
// that were waited for. The collector need not wait for such a thread: its signal
// ends the wait.
func (f *Forwarder) await(poll int, events []unix.EpollEvent, wait time.Duration) (int, error) {
	told := f.now-f.served >= linger
	at, n := uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events))
	var got uintptr
	errno := unix.ENOSYS
	if !f.coarse {
		ts := [2]int64{int64(wait / time.Second), int64(wait % time.Second)} // struct __kernel_timespec, on 32 bits, too
		if told {
			got, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(poll), at, n, uintptr(unsafe.Pointer(&ts)), 0, 0)
		} else {
			got, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(poll), at, n, uintptr(unsafe.Pointer(&ts)), 0, 0)
		}
		f.coarse = errno == unix.ENOSYS || errno == unix.EPERM
	}
	if f.coarse { // before Linux 5.11: what waits for its rate leaves up to a millisecond late
		ms := uintptr((wait + time.Millisecond - 1) / time.Millisecond)
		if told {
			got, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll), at, n, ms, 0, 0)
		} else {
			got, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poll), at, n, ms, 0, 0)
		}
	}
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}

// lieDown says that this worker is about to wait for so long, and returns for how
// long it may.
func (f *Forwarder) lieDown(wait time.Duration) time.Duration {
	if wait == 0 {
		return 0
	}
	f.crew.beds[f.worker].asleep.Store(true)
	if f.waits() { // what is handed over from now on wakes it
		return 0
	}
	return wait
}

// patience is how long to wait for frames.
func (f *Forwarder) patience() time.Duration {
	if f.unscanned != 0 || f.settling || f.nat.Leaving() {
		return 0
	}
	for port := range f.links {
		if f.waitsAt(port) {
			return 0
		}
	}
	until := min(f.deadlines.next(), f.nextMind, f.pacer.due())
	if f.hint {
		until = min(until, f.rang+hintEvery)
	}
	return min(max(until-f.clock(), 0), 100*time.Millisecond)
}

// Round takes in what control changed, then one batch from each port that may
// have one; true if any had.
func (f *Forwarder) Round() bool {
	last := f.now
	f.now = f.clock()
	if f.busy {
		f.counters.Batches.Observe(f.now - last)
	}
	if stopped := f.header.Stop.Load() != 0; stopped != f.stopped {
		f.stopped = stopped
		f.endAll()
	}
	f.relink()
	f.measurePorts()
	f.readdress()
	f.reforward()
	f.sync()
	if f.crew != nil {
		f.follow()
	}
	f.tick()
	f.mind()
	f.divide()
	f.cap()
	f.releaseDue()
	busy := f.crew != nil && f.takeOver()
	for port, l := range f.links {
		if l == nil || !f.waitsAt(port) {
			continue
		}
		frames, err := l.Receive()
		if err != nil {
			f.lost(uint8(port))
			continue
		}
		if frames == nil {
			f.ready[port] = false
			continue
		}
		busy = true
		f.arrivals.frames += len(frames)
		f.lookAhead(port, frames)
		crowded := f.crowded(port, l)
		f.serve(uint8(port), frames, crowded)
	}
	f.followFirsts()
	f.nat.Expire(int64(f.now), 64)
	mappings, flows := f.nat.Counts()
	f.said.Mappings.Store(uint64(mappings))
	f.said.Flows.Store(uint64(flows))
	f.publish()
	if f.crew != nil {
		f.handOver()
	}
	f.said.Beat.Store(int64(f.now))
	if f.ring || f.hint && f.now-f.rang >= hintEvery {
		f.ring, f.hint, f.rang = false, false, f.now
		f.wake()
	}
	if f.busy = busy; busy {
		f.served = f.now
	}
	return busy
}

// mind does what is due a few times a second.
func (f *Forwarder) mind() {
	if f.now < f.nextMind {
		return
	}
	f.nextMind = f.now + 100*time.Millisecond
	f.mindNeighbours()
	f.sayUse()
	if f.worker == 0 {
		f.mindAnnouncements()
		f.post()
		if f.bridge != nil {
			f.mindLoop()
		}
	}
	f.strangers = strangers{} // who speaks on and on is heard on and on (heardOutside)
	f.mindLed()
	f.fragments.expire(f.now)
	f.giveUp()
	f.answerSYNs()
	for port, l := range f.links {
		if s, ok := l.(interface{ Stats() link.Stats }); ok {
			st := s.Stats()
			f.counters.Ports[port].Overflow = f.base[port].Overflow + st.KernelDrops
			f.counters.Ports[port].Truncated = f.base[port].Truncated + st.Truncated + st.Malformed
		}
		if l != nil && f.downed[port] {
			f.downed[port], f.ready[port] = false, true
		}
	}
}

// lost notes that a port did not serve; it is tried again soon, and if it serves
// then, says where the gateway is.
func (f *Forwarder) lost(port uint8) {
	f.ready[port], f.downed[port] = false, true
	f.announce(port)
}
