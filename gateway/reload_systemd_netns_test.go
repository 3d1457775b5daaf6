//go:build netns

package gateway_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// systemctl reload is gatewayd reload, and fails as that does; a signal does the same,
// and systemd sees the end of it. Nothing is started again.
func TestSystemdReloadsTheGateway(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.boot()
	b.run("systemctl", "start", "gatewayd")
	d := b.keeper(0)
	pid := d.cmd.Process.Pid
	d.admit(anHour)
	puts := func(lines ...string) {
		t.Helper()
		l.rewrites(lines...)
		b.run("cp", "/lab/gatewayd.yaml", "/etc/gatewayd/gatewayd.yaml")
	}
	is := func(key, value string) {
		t.Helper()
		eventually(t, soon, "the service is active again and has "+key, func() error {
			state, c := b.property("ActiveState"), d.configState()
			if state != "active" || !strings.Contains(fmt.Sprint(c), value) {
				return fmt.Errorf("%s, %+v", state, c)
			}
			return nil
		})
		if now := b.keeper(0).cmd.Process.Pid; now != pid {
			t.Errorf("the keeper was %d, and is %d", pid, now)
		}
	}
	puts("limits: {clients: 100}")
	b.run("systemctl", "reload", "gatewayd")
	is("clients", "[limits.clients]")

	puts("limits: {clients: none}")
	if out, err := b.try("systemctl", "reload", "gatewayd"); err == nil {
		t.Errorf("a config that is not right is reloaded: %s", out)
	}
	is("a refusal", "is not a whole number")

	puts("limits: {nat_flows: 8192}")
	check(t, syscall.Kill(pid, syscall.SIGHUP))
	is("flows", "[limits.nat_flows]")
	for range 20 {
		check(t, syscall.Kill(pid, syscall.SIGHUP))
	}
	puts("limits: {queue_memory: 10 MB}")
	b.run("systemctl", "reload", "gatewayd")
	is("memory", "[limits.queue_memory]")
	l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", serverIP)
	if n := b.property("NRestarts"); n != "0" {
		t.Errorf("systemd has started it again %s times", n)
	}
}
