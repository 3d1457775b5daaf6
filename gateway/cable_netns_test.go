//go:build netns

package gateway_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// The clocks run on, so that the session lets its packets come as far as the cable.
func TestNothingIsBilledWhileTheCableIsOut(t *testing.T) {
	t.Parallel()
	inBothModes(t, nothingIsBilledWhileTheCableIsOut)
}

func nothingIsBilledWhileTheCableIsOut(t *testing.T, newLab makeLab) {
	t.Parallel()
	l := newLab(t, "sessions: {pause_on_carrier_loss: false, pause_on_silent_gateway: 0}")
	out := "unresolved" // the next router
	if l.bridges() {
		out = "no_link"
	}
	sw := l.switched()
	d := l.start()
	v := d.admit(anHour)
	l.passes()
	here, there := l.client.listenUDP(clientIP+":0"), l.server.listenUDP(serverIP+":0")
	send := func(from net.PacketConn, to net.Addr) {
		for range 500 {
			_, _ = from.WriteTo(make([]byte, 1000), to) // what cannot be sent is lost
		}
	}
	send(here, there.LocalAddr())
	check(t, there.SetReadDeadline(time.Now().Add(3*soon)))
	_, mapped, err := there.ReadFrom(make([]byte, 2000))
	check(t, err)
	for _, row := range []struct {
		port     string
		from     net.PacketConn
		to       net.Addr
		expected string
	}{
		{"eth0", here, there.LocalAddr(), out},
		{"eth1", there, mapped, "no_link"},
	} {
		l.settle()
		before := d.session(v.ID)
		sw.ns.run("ip", "link", "set", "to-"+row.port, "down")
		eventually(t, 3*soon, "status says that the cable is out", func() error {
			if said := strings.Join(d.status().Degraded, "; "); !strings.Contains(said, row.port+" has no link") {
				return fmt.Errorf("%q", said)
			}
			return nil
		})
		send(row.from, row.to)
		eventually(t, 3*soon, "the datagrams are dropped", func() error {
			if drops := d.status().Drops; drops["resolve_full"]+drops[row.expected] < 400 {
				return fmt.Errorf("%v", drops)
			}
			return nil
		})
		if now := d.session(v.ID); now.UpBytes != before.UpBytes || now.DownBytes != before.DownBytes {
			t.Errorf("%s: billed %d up and %d down of what cannot leave", row.port, now.UpBytes-before.UpBytes, now.DownBytes-before.DownBytes)
		}
		sw.ns.run("ip", "link", "set", "to-"+row.port, "up")
		l.passes()
		d.well()
	}
}
