package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// again is how often a knock is repeated.
const again = 50 * time.Millisecond

// answered says by which protocols the server was reached and answered.
type answered struct{ tcp, udp, icmp bool }

// knock tries to reach the server by TCP, UDP and ICMP echo, again and again,
// until all were answered or the time is up.
func (c *client) knock(ctx context.Context, during time.Duration) (answered, error) {
	ctx, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	var tcp, udp, icmp atomic.Bool
	datagrams, err := c.at.listenPacket("udp4", net.JoinHostPort(clientIP, "0"))
	if err != nil {
		return answered{}, fmt.Errorf("knock: %w", err)
	}
	defer datagrams.Close()
	pings, err := c.at.listenPacket("ip4:icmp", clientIP)
	if err != nil {
		return answered{}, fmt.Errorf("knock: %w", err)
	}
	defer pings.Close()
	var tries sync.WaitGroup
	defer tries.Wait()
	defer cancel()
	for range 4 { // the kernel repeats a SYN only once a second
		tries.Go(func() { tcp.Store(c.connects(ctx) || tcp.Load()) })
	}
	server := net.IPAddr{IP: net.ParseIP(serverIP)}
	tries.Go(func() {
		exchange(ctx, datagrams, &net.UDPAddr{IP: server.IP, Port: echoPort}, []byte("knock"), &udp,
			func(b []byte) bool { return string(b) == "knock" })
	})
	id := uint16(os.Getpid())
	tries.Go(func() {
		exchange(ctx, pings, &server, echoRequest(id), &icmp, func(b []byte) bool { return isReply(b, id) })
	})
	for !(tcp.Load() && udp.Load() && icmp.Load()) && sleep(ctx, again) == nil {
	}
	return answered{tcp.Load(), udp.Load(), icmp.Load()}, nil
}

// connects reports whether the web server accepts a connection.
func (c *client) connects(ctx context.Context) bool {
	conn, err := c.at.dial(ctx, "tcp4", net.JoinHostPort(serverIP, strconv.Itoa(webPort)))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// exchange sends text until ctx ends, or an answer comes that is right.
func exchange(ctx context.Context, c net.PacketConn, to net.Addr, text []byte, came *atomic.Bool, right func([]byte) bool) {
	buf := make([]byte, 2048)
	for ctx.Err() == nil && !came.Load() {
		_, _ = c.WriteTo(text, to)
		_ = c.SetReadDeadline(time.Now().Add(again))
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				break
			}
			if right(buf[:n]) {
				came.Store(true)
				return
			}
		}
	}
}

func echoRequest(id uint16) []byte {
	b := gopacket.NewSerializeBuffer()
	echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: 1}
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{ComputeChecksums: true}, echo, gopacket.Payload("knock")); err != nil {
		panic("demo: its own echo request: " + err.Error())
	}
	return b.Bytes()
}

func isReply(b []byte, id uint16) bool {
	var m layers.ICMPv4
	return m.DecodeFromBytes(b, gopacket.NilDecodeFeedback) == nil && m.TypeCode.Type() == layers.ICMPv4TypeEchoReply && m.Id == id
}
