package gateway

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
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
