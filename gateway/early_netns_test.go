//go:build netns

package gateway_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"syscall"
	"testing"
	"time"
)

// RFC 4787 REQ-14: fragments in any order, up, down and by a hairpin; the kernels
// put them together. The bills are what arrived.
func TestKernelsReassembleFragmentsOfAnyOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.start()
	v := d.admit(anHour)
	up, down := l.settle()
	here, there := l.client.listenUDP(clientIP+":0"), l.server.listenUDP(serverIP+":0")
	mapped := mapping(t, here, there).(*net.UDPAddr)
	id := uint16(0)
	for _, order := range [][]int{{2, 1, 0}, {1, 0, 2}, {1, 2, 0}, {0, 2, 1}} {
		for _, row := range []struct {
			ns       *namespace
			from, to net.PacketConn
			dst      *net.UDPAddr
		}{{l.client, here, there, there.LocalAddr().(*net.UDPAddr)}, {l.server, there, here, mapped}, {l.client, here, here, mapped}} {
			id++
			sent := bytes.Repeat([]byte{byte(id), 1, 2, 3}, 1000)
			row.ns.sendFragments(row.from.LocalAddr().(*net.UDPAddr), row.dst, id, sent, order)
			check(t, row.to.SetReadDeadline(time.Now().Add(soon)))
			buf := make([]byte, 65536)
			n, source, err := row.to.ReadFrom(buf)
			if err != nil || !bytes.Equal(buf[:n], sent) {
				t.Fatalf("order %v: %d bytes from %v: %v: %v", order, n, source, err, d.status().Drops)
			}
		}
	}
	atServer, atClient := l.settle()
	s := d.session(v.ID)
	turned := uint64(4 * (4008 + 3*20))
	if got, want := s.UpBytes, atServer.bytes-up.bytes+turned; got != want {
		t.Errorf("up: billed %d bytes, %d arrived or turned round", got, want)
	}
	if got, want := s.DownBytes, atClient.bytes-down.bytes; got != want {
		t.Errorf("down: billed %d bytes, %d arrived", got, want)
	}
	if drops := d.status().Drops; drops["stray_fragment"]+drops["fragments_full"] != 0 {
		t.Errorf("drops %v", drops)
	}
}

// sendFragments sends a datagram in fragments of 1480 bytes, in an order.
func (n *namespace) sendFragments(from, to *net.UDPAddr, id uint16, payload []byte, order []int) {
	n.t.Helper()
	body := make([]byte, 8, 8+len(payload)) // without a checksum
	binary.BigEndian.PutUint16(body, uint16(from.Port))
	binary.BigEndian.PutUint16(body[2:], uint16(to.Port))
	binary.BigEndian.PutUint16(body[4:], uint16(8+len(payload)))
	body = append(body, payload...)
	check(n.t, n.do(func() error {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		for _, i := range order {
			at, end := i*1480, min((i+1)*1480, len(body))
			word := uint16(at / 8)
			if end < len(body) {
				word |= 0x2000
			}
			ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, syscall.IPPROTO_UDP, 0, 0} // the kernel fills in length and checksum
			binary.BigEndian.PutUint16(ip[4:], id)
			binary.BigEndian.PutUint16(ip[6:], word)
			ip = append(append(append(ip, from.IP.To4()...), to.IP.To4()...), body[at:end]...)
			if err := syscall.Sendto(fd, ip, 0, &syscall.SockaddrInet4{Addr: [4]byte(to.IP.To4())}); err != nil {
				return err
			}
		}
		return nil
	}))
}
