package link

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A TAP is the host link, or a port that is a TAP device: the kernel, or
// whatever it has bridged the device with, is at the other end.
type TAP struct {
	fd     int
	mem    *buffers
	frames [Batch][]byte
	stats  Stats
}

// NewTAP makes a link of a descriptor of /dev/net/tun that is attached to a TAP
// device with IFF_NO_PI and IFF_VNET_HDR and the 10-byte header, and makes it
// non-blocking. The link owns fd from then on; on an error it still belongs to
// the caller.
func NewTAP(fd int) (*TAP, error) {
	const want = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return nil, fmt.Errorf("read the flags of TAP descriptor %d: %w", fd, err)
	}
	if got := ifr.Uint16(); got&want != want {
		return nil, fmt.Errorf("descriptor %d has TUN flags %#x, of which %#x are needed", fd, got, want)
	}
	if n, err := unix.IoctlGetInt(fd, unix.TUNGETVNETHDRSZ); err != nil || n != HeaderLen {
		return nil, fmt.Errorf("descriptor %d has a header of %d bytes, not %d: %w", fd, n, HeaderLen, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("make TAP descriptor %d non-blocking: %w", fd, err)
	}
	mem, err := newBuffers()
	if err != nil {
		return nil, err
	}
	return &TAP{fd: fd, mem: mem}, nil
}

// FD implements Link.
func (t *TAP) FD() int { return t.fd }

// Receive implements Link by one read(2) a frame, until none waits or the batch
// is full.
func (t *TAP) Receive() ([][]byte, error) {
	kept, bytes := 0, 0
	for range Batch {
		buf := t.mem.frame[kept]
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(t.fd),
			uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		switch {
		case errno == 0 && n > MaxFrame:
			t.stats.Truncated++
			continue
		case errno == 0:
			t.frames[kept] = buf[:n]
			kept++
			if bytes += int(n); bytes < batchBytes {
				continue
			}
		case errno == unix.EAGAIN && kept == 0:
			return nil, nil
		case errno == unix.EAGAIN:
		case errno == unix.EINTR:
			continue
		default:
			if err := gone(errno); err == nil {
				t.stats.Malformed++ // the kernel has dropped this one; the next may do
				continue
			} else if kept == 0 {
				return nil, fmt.Errorf("receive from TAP: %w", err)
			}
		}
		break
	}
	return t.frames[:kept], nil
}

// Send implements Link by one write(2) a frame.
func (t *TAP) Send(frames [][]byte, taken []bool) error {
	for i := 0; i < len(frames); {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(t.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(frames[i]))), uintptr(len(frames[i])))
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EIO { // tun(4) says so of a device that is not up
			errno = unix.ENETDOWN
		}
		if err := gone(errno); err != nil {
			clear(taken[i:len(frames)])
			return fmt.Errorf("send to TAP: %w", err)
		}
		if errno != 0 {
			t.stats.refuse(errno)
		}
		taken[i] = errno == 0
		i++
	}
	runtime.KeepAlive(frames)
	return nil
}

// Stats returns the counters. It belongs to the link's goroutine.
func (t *TAP) Stats() Stats { return t.stats }

// Close implements Link.
func (t *TAP) Close() error {
	if t.fd < 0 {
		return nil
	}
	fd := t.fd
	t.fd = -1
	err := t.mem.release()
	if e := unix.Close(fd); e != nil {
		err = fmt.Errorf("close TAP: %w", e)
	}
	return err
}
