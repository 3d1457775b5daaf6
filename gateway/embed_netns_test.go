//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// embedder starts this very program as one that embeds a gateway: it has no
// handler for SIGTERM, and one of its own for SIGINT.
func (l *lab) embedder(env ...string) *daemon {
	l.t.Helper()
	own, err := os.Executable()
	check(l.t, err)
	d := &daemon{l: l, expected: true, http: api(l.dir + "/gatewayd.sock")}
	words := append([]string{"GATEWAYD_TEST_EMBED=" + l.writeConfig()}, env...)
	d.program = l.gateway.start("env", append(words, own)...)
	eventually(l.t, 4*soon, "the embedded gateway is ready", func() error {
		var s status
		if _, err := d.ask("GET", "/status", "", &s); err != nil || !s.Ready {
			return fmt.Errorf("%+v %v: %s", s, err, d.out.String())
		}
		return nil
	})
	return d
}

// Signals, and a service manager's socket, are the embedding program's own.
func TestAnEmbedderKeepsItsSignals(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.internet()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: l.dir + "/notify", Net: "unixgram"})
	check(t, err)
	defer manager.Close()
	d := l.embedder("NOTIFY_SOCKET=" + l.dir + "/notify")
	d.admit(anHour)
	d.passes(l.client)

	check(t, d.cmd.Process.Signal(os.Interrupt))
	d.says("embedder: interrupted")
	d.passes(l.client)
	children := d.children()
	check(t, d.cmd.Process.Signal(syscall.SIGTERM))
	d.wait(2 * soon)
	if how := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !how.Signaled() || how.Signal() != syscall.SIGTERM {
		t.Errorf("without a handler SIGTERM ended it as %v", d.cmd.ProcessState)
	}
	if len(children) != 2 {
		t.Errorf("its children were %v, want forwarder and store", children)
	}
	gone(t, children)

	// Close ends Run and all that it has, and no more.
	d = l.embedder()
	d.passes(l.client) // it is admitted again by its first packet
	children = d.children()
	for _, says := range []string{"embedder: interrupted", "embedder: closed: <nil>", "embedder: ran: <nil>"} {
		if says != "embedder: ran: <nil>" {
			check(t, d.cmd.Process.Signal(os.Interrupt))
		}
		d.says(says)
	}
	gone(t, children)
	if left := d.children(); len(left) != 0 {
		t.Errorf("closed, it has the children %v", left)
	}
	if v6 := l.gateway.setting("ipv6/conf/eth1/disable_ipv6"); v6 != "0" {
		t.Errorf("closed, disable_ipv6 of the LAN port is %s, as it was while the gateway had it", v6)
	}

	check(t, manager.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	said := make([]byte, 4096)
	if n, err := manager.Read(said); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a service manager heard %q %v, which is the program's to say", said[:n], err)
	}
}
