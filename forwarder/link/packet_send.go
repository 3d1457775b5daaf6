package link

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendWait is how many milliseconds a Send waits, once, for room in a full
// socket buffer.
const sendWait = 1

// Send implements Link by the transmit ring, or by sendmmsg(2) where a frame of the
// batch does not fit there; both take them in one call, and in order.
func (p *Packet) Send(frames [][]byte, taken []bool) error {
	if p.out.carries(frames) {
		return p.sendRing(frames, taken)
	}
	return p.sendCalls(frames, taken)
}

// sendCalls is Send by sendmmsg(2).
//
// sendmmsg stops at the first frame that the kernel refuses and reports why
// only when nothing went before it. So the rest is offered again, starting at
// the frame in question: either it goes now or its error is known, and the one
// behind it is next.
func (p *Packet) sendCalls(frames [][]byte, taken []bool) error {
	waited := false
	for done := 0; done < len(frames); {
		batch := frames[done:min(done+Batch, len(frames))]
		for i, f := range batch {
			p.txVectors[i].Base = unsafe.SliceData(f)
			p.txVectors[i].SetLen(len(f))
		}
		for at := 0; at < len(batch); {
			n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(p.fd),
				uintptr(unsafe.Pointer(&p.tx[at])), uintptr(len(batch)-at), unix.MSG_DONTWAIT, 0, 0)
			if errno == unix.EINTR {
				continue
			}
			if errno == 0 {
				for i := range int(n) {
					taken[done+at+i] = true
				}
				at += int(n)
				continue
			}
			if errno == unix.EAGAIN && !waited {
				waited = true
				waitForRoom(p.fd)
				continue
			}
			if err := gone(errno); err != nil {
				clear(taken[done+at : len(frames)])
				return fmt.Errorf("send to port: %w", err)
			}
			if errno == unix.EAGAIN { // a full buffer refuses them all
				rest := taken[done+at : len(frames)]
				clear(rest)
				p.stats.Full += uint64(len(rest))
				return nil
			}
			p.stats.refuse(errno)
			taken[done+at] = false
			at++
		}
		done += len(batch)
	}
	runtime.KeepAlive(frames)
	return nil
}

// waitForRoom blocks until the socket has room or sendWait is over.
func waitForRoom(fd int) {
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	_, _ = unix.Poll(poll[:], sendWait) // the next sendmmsg says what came of it
}
