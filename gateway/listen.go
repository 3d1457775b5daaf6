package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// formerPatience is how long New waits for a former instance to end.
const formerPatience = 5 * time.Second

// listenAPI opens the API's socket for its owner alone. A socket file without
// a listener is a dead gateway's.
func listenAPI(path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open API socket: %w", err)
	}
	for end := time.Now().Add(formerPatience); ; time.Sleep(100 * time.Millisecond) {
		c, err := net.DialTimeout("unix", path, time.Second)
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(end) {
			return nil, fmt.Errorf("open API socket: another gatewayd answers at %s: stop it first, or set api.socket to another path", path)
		}
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("open API socket: %s exists and is not a socket: remove it, or set api.socket to another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("open API socket: %w", err)
		}
	}
	old := unix.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("open API socket: %w", err)
	}
	return l, nil
}

// listenMetrics opens the TCP socket for scrapes. The address need not be the
// box's yet: the host link's appears later.
func listenMetrics(ctx context.Context, address string) (*net.TCPListener, error) {
	free := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
		level, option := unix.SOL_IP, unix.IP_FREEBIND
		if strings.HasSuffix(network, "6") {
			level, option = unix.SOL_IPV6, unix.IPV6_FREEBIND
		}
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); e != nil {
			return e
		}
		return err
	}}
	l, err := free.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}
