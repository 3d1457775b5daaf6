package ports

import (
	"fmt"
	"math/bits"
	"net"
	"os"
	"syscall"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DefaultBuffer is the size in bytes of a socket buffer, in each direction. It
// holds a hundred super-packets, or some ten thousand of the smallest.
const DefaultBuffer = 8 << 20

// openSocket opens a packet socket on the interface that speaks frames as
// package link describes them, and that receives or only sends.
//
// It is bound twice: first to no protocol, which receives nothing, and once its
// options are set to all protocols. What it returns is a blocking duplicate: a
// descriptor that the Go runtime polls would wake this process for every frame
// that the forwarder is to read. One of several lets nothing in yet.
func openSocket(l netlink.Link, opt Options, receives bool) (*os.File, error) {
	name, index := l.Attrs().Name, l.Attrs().Index
	conn, err := packet.Listen(&net.Interface{Index: index, Name: name}, packet.Raw, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket on %s: %w", name, err)
	}
	defer conn.Close()
	if opt.Promiscuous {
		if err := conn.SetPromiscuous(true); err != nil {
			return nil, fmt.Errorf("make %s promiscuous: %w", name, err)
		}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reach the packet socket on %s: %w", name, err)
	}
	dup := -1
	ctlErr := raw.Control(func(fd uintptr) {
		if err = configureSocket(int(fd), index, opt, receives); err != nil {
			return
		}
		if dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err != nil {
			err = os.NewSyscallError("fcntl", err)
			return
		}
		err = os.NewSyscallError("fcntl", syscall.SetNonblock(dup, false))
	})
	if err == nil {
		err = ctlErr
	}
	if err != nil {
		if dup >= 0 {
			unix.Close(dup)
		}
		return nil, fmt.Errorf("set up the packet socket on %s: %w", name, err)
	}
	return os.NewFile(uintptr(dup), "port "+name), nil
}

func configureSocket(fd, index int, opt Options, receives bool) error {
	options := []struct {
		name         string
		level, which int
		value        int
	}{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{"PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		// The kernel doubles what it is given.
		{"SO_RCVBUFFORCE", unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize(opt.ReceiveBuffer) / 2},
		{"SO_SNDBUFFORCE", unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferSize(opt.SendBuffer) / 2},
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.which, o.value); err != nil {
			return fmt.Errorf("setsockopt %s: %w", o.name, err)
		}
	}
	if !receives {
		return nil
	}
	if opt.Sockets > 1 {
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing}); err != nil {
			return fmt.Errorf("setsockopt SO_ATTACH_FILTER: %w", err)
		}
	}
	all := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index}
	if err := unix.Bind(fd, all); err != nil {
		return fmt.Errorf("bind to all protocols: %w", err)
	}
	return nil
}

func bufferSize(n int) int {
	if n <= 0 {
		return DefaultBuffer
	}
	return n
}

// networkOrder turns a 16-bit value of this little-endian machine around.
func networkOrder(v uint16) uint16 { return bits.ReverseBytes16(v) }
