//go:build netns

package gateway_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

// RFC 4787, section 5 and REQ-8: who may send to a mapping is what the config
// says. Every kernel here is Linux's own.
func TestFilteringIsSelectable(t *testing.T) {
	for _, row := range []struct {
		filtering string
		letsIn    []string
	}{
		{"endpoint-independent", []string{"another address", "another port", "the one it sent to"}},
		{"address", []string{"another port", "the one it sent to"}},
		{"address-and-port", []string{"the one it sent to"}},
	} {
		t.Run(row.filtering, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "nat: {filtering: "+row.filtering+"}")
			d := l.start()
			v := d.admit(anHour)
			here, there := l.client.listenUDP(clientIP+":0"), l.server.listenUDP(serverIP+":0")
			up, down := l.settle()
			mapped := mapping(t, here, there)
			for _, from := range []struct {
				name string
				conn net.PacketConn
			}{
				{"another address", l.server.listenUDP(routerIP + ":0")},
				{"another port", l.server.listenUDP(serverIP + ":0")},
				{"the one it sent to", there},
			} {
				_, err := from.conn.WriteTo([]byte(from.name), mapped)
				check(t, err)
			}
			var came []string
			buf := make([]byte, 64)
			eventually(t, soon, "each has come or was dropped", func() error {
				if n := int(d.status().Drops["filtered"]); len(came)+n != 3 {
					check(t, here.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
					if n, _, err := here.ReadFrom(buf); err == nil {
						came = append(came, string(buf[:n]))
					}
					return fmt.Errorf("%q came, %d were dropped", came, n)
				}
				return nil
			})
			slices.Sort(came) // one flow may pass another
			if !slices.Equal(came, row.letsIn) {
				t.Errorf("let in %q, want %q: %v", came, row.letsIn, d.status().Drops)
			}
			d.billed(v.ID, up, down)
		})
	}
}

// mapping sends a datagram and returns where it came from on the WAN.
func mapping(t *testing.T, here, there net.PacketConn) net.Addr {
	t.Helper()
	_, err := here.WriteTo([]byte("a mapping"), there.LocalAddr())
	check(t, err)
	check(t, there.SetReadDeadline(time.Now().Add(soon)))
	_, mapped, err := there.ReadFrom(make([]byte, 64))
	check(t, err)
	return mapped
}

// RFC 5382, REQ-4: a SYN that nobody asked for is not answered for 6 s, then
// with ICMP port unreachable, which the kernel that sent it takes for a refusal.
func TestAKernelsUnsolicitedSYNIsRefusedAfterSixSeconds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start().admit(anHour)
	began := time.Now()
	err := l.server.do(func() error {
		c, err := net.DialTimeout("tcp4", wanIP+":22", 4*soon)
		if err == nil {
			c.Close()
		}
		return err
	})
	if took := time.Since(began); !errors.Is(err, syscall.ECONNREFUSED) || took < 6*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
