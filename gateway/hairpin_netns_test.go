//go:build netns

package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

const (
	bobMAC = "02:00:00:00:00:0b"
	bobIP  = "10.10.0.11"
)

// RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7: two clients reach each other by
// the WAN address. Both are billed what the wire carried, to the byte; the kernels
// at both ends are the witnesses.
func TestClientsReachEachOtherByTheWANAddress(t *testing.T) {
	for _, row := range []struct {
		name string
		on   bool
	}{{"with offloads", true}, {"without offloads", false}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "metrics: {listen: 127.0.0.1:9464}")
			l.offloads(row.on)
			d := l.start()
			bob := l.neighbour(bobMAC, bobIP)
			a, b := d.admit(anHour), d.sellTo(bobMAC, bobIP, anHour)
			d.must("POST", "/devices/"+bobMAC+"/connect", "", nil)
			up, down := l.settle()

			atAlice, atBob, there := l.client.listenUDP(clientIP+":0"), bob.listenUDP(bobIP+":0"), l.server.listenUDP(serverIP+":0")
			ofAlice, ofBob := mapping(t, atAlice, there), mapping(t, atBob, there)
			crosses(t, atBob, ofAlice, atAlice, ofBob, 100)
			crosses(t, atAlice, ofBob, atBob, ofAlice, 4000) // in fragments
			crosses(t, atAlice, ofAlice, atAlice, ofAlice, 100)

			closed := bob.listenUDP(bobIP + ":0") // nobody listens behind this mapping in a moment
			ofClosed := mapping(t, closed, there)
			closed.Close()
			check(t, l.client.do(func() error { return refusedAt(ofClosed.String()) }))

			port := tcpMapping(t, l, 5201)
			l.iperf3 = l.client.start("iperf3", "-s", "-p", "5201", "--forceflush")
			for _, way := range []string{"--bidir", "-R"} {
				l.iperf3.listensAgain()
				bob.run("iperf3", "-c", wanIP, "-p", fmt.Sprint(port), "-n", "50M", "--connect-timeout", "15000", way)
			}

			atServer, atClients := l.settle()
			va, vb := d.session(a.ID), d.session(b.ID)
			if got, want := va.DownBytes+vb.DownBytes, atClients.bytes-down.bytes; got != want {
				t.Errorf("down: billed %d bytes, %d arrived: %+d", got, want, int64(got-want))
			}
			s := l.scraped()
			if got, want := va.UpBytes+vb.UpBytes, atServer.bytes-up.bytes+uint64(s["gateway_hairpin_bytes_total"]); got != want {
				t.Errorf("up: billed %d bytes, %d arrived or turned round: %+d", got, want, int64(got-want))
			}
			if s["gateway_hairpin_bytes_total"] < 100<<20 {
				t.Errorf("%.0f bytes turned round", s["gateway_hairpin_bytes_total"])
			}
			check(t, s.balance())
			if n := l.txDropped(); n != 0 {
				t.Errorf("the ports dropped %d packets", n)
			}
		})
	}
}

// crosses sends n bytes and fails unless they come from where the sender is mapped.
func crosses(t *testing.T, from net.PacketConn, to net.Addr, at net.PacketConn, mapped net.Addr, n int) {
	t.Helper()
	sent := bytes.Repeat([]byte("hairpin "), n/8)
	_, err := from.WriteTo(sent, to)
	check(t, err)
	check(t, at.SetReadDeadline(time.Now().Add(soon)))
	buf := make([]byte, 65536)
	got, source, err := at.ReadFrom(buf)
	check(t, err)
	if source.String() != mapped.String() || !bytes.Equal(buf[:got], sent) {
		t.Errorf("%d bytes came from %v, want %d from %v", got, source, len(sent), mapped)
	}
}

// refusedAt sends datagrams until the kernel says that nobody listens there.
func refusedAt(address string) error {
	c, err := net.Dial("udp4", address)
	if err != nil {
		return err
	}
	defer c.Close()
	for end := time.Now().Add(soon); time.Now().Before(end); {
		if _, err = c.Write([]byte("anybody")); err == nil {
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			_, err = c.Read(make([]byte, 64))
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w, not refused", address, err)
}

// tcpMapping has the client connect from a port and returns what that is on the WAN.
func tcpMapping(t *testing.T, l *lab, port int) (mapped int) {
	t.Helper()
	var at net.Listener
	check(t, l.server.do(func() (err error) {
		at, err = net.Listen("tcp4", serverIP+":0")
		return err
	}))
	defer at.Close()
	check(t, l.client.do(func() error {
		d := net.Dialer{Timeout: soon, LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientIP), Port: port},
			Control: func(_, _ string, raw syscall.RawConn) (err error) { // so that somebody can listen there next
				if e := raw.Control(func(fd uintptr) {
					err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
				}); e != nil {
					return e
				}
				return err
			}}
		c, err := d.Dial("tcp4", at.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		other, err := at.Accept()
		if err != nil {
			return err
		}
		mapped = other.RemoteAddr().(*net.TCPAddr).Port
		return other.Close()
	}))
	return mapped
}
