//go:build netns

package gateway_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// widths are the MTUs of the cables, bytes.
type widths struct{ lan, wan int }

// everyWidth is what is seen in the field: jumbo frames, PPPoE, tunnels, the least
// that every host takes, and the most that IPv4 knows.
var everyWidth = []widths{{9000, 1500}, {1500, 9000}, {9000, 9000}, {1500, 1492}, {1500, 1280}, {1280, 1280}, {1500, 576}, {576, 1500},
	{65535, 1500}, {65535, 65535}}

// edge is the longest packet that passes whole.
func (w widths) edge() int { return min(w.lan, w.wan) }

// widen gives both ends of both cables their MTUs, and has the far ends forget what
// they know of the path.
func (l *lab) widen(w widths) {
	l.t.Helper()
	lan, wan := fmt.Sprint(w.lan), fmt.Sprint(w.wan)
	l.client.run("ip", "link", "set", "eth0", "mtu", lan)
	l.gateway.run("ip", "link", "set", "eth1", "mtu", lan)
	l.gateway.run("ip", "link", "set", "eth0", "mtu", wan)
	l.server.run("ip", "link", "set", "eth0", "mtu", wan)
	l.forgetPaths()
}

// forgetPaths empties the far ends' caches of path MTUs.
func (l *lab) forgetPaths() {
	l.t.Helper()
	l.client.run("ip", "route", "flush", "cache")
	l.server.run("ip", "route", "flush", "cache")
}

// isWide waits until status and the host link say what the ports are.
func (d *daemon) isWide(w widths) {
	d.t.Helper()
	eventually(d.t, soon, fmt.Sprintf("the MTUs are %+v", w), func() error {
		now, host := d.status().Ports, min(w.lan, 65521) // what a TAP carries at most
		if now["lan"].MTU != w.lan || now["wan"].MTU != w.wan || now["host"].MTU != host {
			return fmt.Errorf("%+v", now)
		}
		if said := d.l.gateway.run("ip", "link", "show", "dev", now["host"].Name); !strings.Contains(said, fmt.Sprintf(" mtu %d ", host)) {
			return fmt.Errorf("the host link: %s", said)
		}
		return nil
	})
}

// balanced compares what all sessions were billed, and the gateway's own ICMP errors,
// with what arrived at the far ends since before.
func (d *daemon) balanced(upBefore, downBefore traffic) {
	d.t.Helper()
	up, down := d.l.settle()
	s := d.l.scraped()
	if err := s.balance(); err != nil {
		d.t.Error(err)
	}
	arrived := up.bytes - upBefore.bytes + down.bytes - downBefore.bytes
	if billed, own := uint64(s["gateway_billed_bytes_total"]), uint64(s["gateway_own_bytes_total"]); billed+own != arrived {
		d.t.Errorf("%d bytes billed and %d of the gateway's own, %d arrived: %+d", billed, own, arrived, int64(billed+own-arrived))
	}
	if n := d.l.txDropped(); n != 0 {
		d.t.Errorf("the ports dropped %d packets", n)
	}
}

// whole sends datagrams of up to the sizes of IP packets, which every router may fragment,
// both ways; each has to arrive as it was sent.
func (l *lab) whole(sizes ...int) {
	l.t.Helper()
	l.forgetPaths()
	here, there := l.client.listenUDP(clientIP+":0"), l.server.listenUDP(serverIP+":0")
	for _, c := range []net.PacketConn{here, there} {
		discover(l.t, c, unix.IP_PMTUDISC_DONT)
	}
	mapped := mapping(l.t, here, there)
	source := rand.NewChaCha8([32]byte{2})
	got := make([]byte, 1<<16)
	for _, size := range sizes {
		for _, way := range []struct {
			name     string
			from, to net.PacketConn
			address  net.Addr
		}{{"up", here, there, there.LocalAddr()}, {"down", there, here, mapped}} {
			sent := make([]byte, min(size-28, 65507))
			_, _ = source.Read(sent)
			_, err := way.from.WriteTo(sent, way.address)
			check(l.t, err)
			check(l.t, way.to.SetReadDeadline(time.Now().Add(soon)))
			if n, _, err := way.to.ReadFrom(got); err != nil || !bytes.Equal(got[:n], sent) {
				l.t.Fatalf("%s, %d bytes: %d arrived: %v: drops %v", way.name, size, n, err, l.newest.status().Drops)
			}
		}
	}
}

// discover sets how a socket goes about the path's MTU (IP_MTU_DISCOVER).
func discover(t *testing.T, c net.PacketConn, how int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	check(t, err)
	check(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, how)
	}))
	check(t, err)
}

// edges has programs look for the longest packet that passes, from the client and from
// the far side.
func (l *lab) edges(w widths) {
	l.t.Helper()
	edge := w.edge()
	told := fmt.Sprintf("mtu = %d", edge)
	if w.lan <= w.wan {
		told = fmt.Sprintf("mtu=%d", edge) // by the client's own kernel
	}
	rows := [][2]string{
		{fmt.Sprintf("-n -c 2 -M do -s %d %s", edge-29, serverIP), " 2 received"},
		{fmt.Sprintf("-n -c 2 -M do -s %d %s", edge-28, serverIP), " 2 received"},
	}
	if edge < 65535 {
		rows = append(rows, [][2]string{
			{fmt.Sprintf("-n -c 2 -M dont -s %d %s", edge-27, serverIP), " 2 received"},
			{fmt.Sprintf("-n -c 2 -M dont -s %d %s", min(4*edge, 65507), serverIP), " 2 received"},
			{fmt.Sprintf("-n -c 2 -M do -s %d %s", edge-27, serverIP), told},
		}...)
	}
	l.forgetPaths()
	l.pings(rows)

	port := mapping(l.t, l.client.listenUDP(clientIP+":0"), l.server.listenUDP(serverIP+":0")).(*net.UDPAddr).Port
	type tool struct {
		at      *namespace
		command string
		says    string
	}
	tools := []tool{
		{l.client, "tracepath -n -m 4 " + serverIP, fmt.Sprintf("Resume: pmtu %d hops 2", edge)},
		{l.client, "traceroute --mtu -n -q 1 -w 5 -m 4 " + serverIP, fmt.Sprintf("F=%d", edge)},
		{l.server, fmt.Sprintf("traceroute --mtu -U -s %s -p %d -n -q 1 -w 5 -m 4 %s", serverIP, port, wanIP), fmt.Sprintf("F=%d", edge)},
	}
	if edge > 65000 { // traceroute's most
		tools = tools[:1]
	}
	for _, row := range tools {
		eventually(l.t, 4*soon, row.command, func() error { // a program gives up on an answer after a second or two
			l.forgetPaths()
			if said, _ := row.at.try("sh", "-c", row.command+" 2>&1"); !strings.Contains(strings.Join(strings.Fields(said), " "), row.says) {
				return fmt.Errorf("want %q:\n%s", row.says, said)
			}
			return nil
		})
	}
	l.forgetPaths()
}

// announced matches a segment size in what tcpdump prints.
var announced = regexp.MustCompile(`mss (\d+)`)

// clamped loads both ways, in sound order, and looks at the segment sizes that each far
// end hears of.
func (l *lab) clamped(edge int) {
	l.t.Helper()
	heard := map[*namespace]*program{}
	for n, ip := range map[*namespace]string{l.client: clientIP, l.server: serverIP} {
		heard[n] = n.start("tcpdump", "-l", "-n", "-i", "eth0", "tcp[tcpflags] & tcp-syn != 0 and dst host "+ip)
		heard[n].says("listening on")
	}
	l.curlWithChecksum(2e6)
	for n, p := range heard {
		all := announced.FindAllStringSubmatch(p.out.String(), -1)
		for end := time.Now().Add(soon); len(all) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			all = announced.FindAllStringSubmatch(p.out.String(), -1)
		}
		if len(all) == 0 {
			l.t.Errorf("tcpdump says %s", p.out.String())
		}
		for _, m := range all {
			if m[1] != fmt.Sprint(edge-40) {
				l.t.Errorf("the %s hears of segments of %s bytes, want %d", map[bool]string{true: "client", false: "server"}[n == l.client], m[1], edge-40)
			}
		}
		p.end()
	}
}

// deafenToSizes has both far ends' kernels take every segment size that they hear of for
// the largest. What nft changes that way has no sound checksum, so that the far ends must
// leave theirs to each other.
func (l *lab) deafenToSizes() {
	l.t.Helper()
	for _, n := range []*namespace{l.client, l.server} {
		n.run("nft", "table ip deaf { chain in { type filter hook prerouting priority raw; tcp flags & syn == syn @th,176,16 set 65000; }; }")
	}
}

func TestEveryMTU(t *testing.T) {
	type row struct {
		widths
		on      bool
		workers int
	}
	var rows []row
	for _, w := range everyWidth {
		for _, on := range []bool{true, false} {
			rows = append(rows, row{w, on, 1}, row{w, on, 2})
		}
	}
	n, random := tries(t, len(rows))
	random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for _, row := range rows[:n] {
		t.Run(fmt.Sprintf("LAN %d, WAN %d, offloads %v, workers %d", row.lan, row.wan, row.on, row.workers), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, fmt.Sprint("workers: ", row.workers), "metrics: {listen: 127.0.0.1:9464}")
			l.offloads(row.on)
			l.widen(row.widths)
			l.server.setting("ipv4/icmp_ratelimit", "0")
			d := l.start()
			d.admit(anHour)
			d.isWide(row.widths)
			up, down := l.settle()

			edge := row.edge()
			l.clamped(edge)
			l.whole(edge-1, edge, edge+1, 2*edge+100, min(row.lan, 65000), min(row.wan, 65000), 100)
			l.edges(row.widths)
			l.iperfServer()
			if row.on && row.lan != row.wan {
				l.segmentsThatIgnoreTheClamp(d, row.widths)
			}
			for _, n := range []*namespace{l.client, l.server} {
				n.setting("ipv4/ip_no_pmtu_disc", "1") // iperf3 ends with the first ICMP error about its datagrams
			}
			l.iperf("-u", "-b", "20M", "-l", fmt.Sprint(min(2*edge, 8000)), "-t", "1")
			l.iperf("-u", "-b", "20M", "-l", fmt.Sprint(min(2*edge, 8000)), "-t", "1", "-R")
			d.balanced(up, down)
			if drops := d.status().Drops; drops["malformed"]+drops["bad_checksum"]+drops["stray_fragment"]+drops["fragments_full"]+drops["tx_refused"] != 0 {
				t.Errorf("drops %v", drops)
			}
		})
	}
}

// segmentsThatIgnoreTheClamp are TCP's of far ends that send as long ones as their own
// link takes: with path MTU discovery they are told, without they leave as fragments.
func (l *lab) segmentsThatIgnoreTheClamp(d *daemon, w widths) {
	l.t.Helper()
	l.deafenToSizes()
	counts := func() (told, added float64) {
		s := l.scraped()
		return s[`gateway_drops_total{reason="too_big"}`], s["gateway_added_packets_total"]
	}
	way := []string{"-n", "3M"}
	if w.lan < w.wan { // the server's are too long
		way = append(way, "-R")
	}
	told, _ := counts()
	l.iperf(way...)
	if now, _ := counts(); now == told {
		l.t.Error("no segment was too long")
	}
	l.forgetPaths()
	for _, n := range []*namespace{l.client, l.server} {
		n.setting("ipv4/ip_no_pmtu_disc", "1")
	}
	l.iperf3.end()
	l.iperfServer() // whose sockets are as it is from now on
	told, added := counts()
	l.iperf(way...)
	if now, more := counts(); now != told || more == added {
		l.t.Errorf("of segments that may be fragmented %.0f were refused, fragmenting added %.0f", now-told, more-added)
	}
	for _, n := range []*namespace{l.client, l.server} {
		n.setting("ipv4/ip_no_pmtu_disc", "0")
		n.run("nft", "delete table ip deaf")
	}
	l.forgetPaths()
}

// A narrower link behind the WAN: its router's errors reach who sent the packet, about
// the packet as he sent it.
func TestANarrowLinkBeyondTheWANIsFoundOut(t *testing.T) {
	t.Parallel()
	const beyond, narrow = "192.0.2.2", 1300
	for _, w := range []widths{{1500, 1500}, {9000, 9000}, {9000, 1500}} {
		t.Run(fmt.Sprintf("%+v", w), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, "metrics: {listen: 127.0.0.1:9464}")
			l.offloads(true)
			l.widen(w)
			far := newNamespace(t)
			l.server.cable("eth1", far)
			l.server.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth1")
			l.server.run("ip", "link", "set", "eth1", "mtu", fmt.Sprint(narrow), "up")
			l.server.setting("ipv4/ip_forward", "1")
			l.server.setting("ipv4/icmp_ratelimit", "0")
			far.run("ip", "link", "set", "eth0", "mtu", fmt.Sprint(narrow), "up")
			far.run("ip", "addr", "add", beyond+"/24", "dev", "eth0")
			far.run("ip", "route", "add", "default", "via", "192.0.2.1", "advmss", fmt.Sprint(w.wan-40)) // as if its own link were wide
			d := l.start()
			d.admit(anHour)
			up, down := l.settle()
			l.pings([][2]string{
				{fmt.Sprintf("-n -c 2 -M do -s %d %s", narrow-28, beyond), " 2 received"},
				{fmt.Sprintf("-n -c 2 -M do -s %d %s", narrow-27, beyond), fmt.Sprintf("From %s icmp_seq=1 Frag needed and DF set (mtu = %d)", routerIP, narrow)},
				{fmt.Sprintf("-n -c 2 -M dont -s 4000 %s", beyond), " 2 received"},
			})
			for _, row := range [][2]string{
				{"tracepath -n -m 5 " + beyond, fmt.Sprintf("Resume: pmtu %d hops 3", narrow)},
				{"traceroute --mtu -n -q 1 -w 5 -m 5 " + beyond, fmt.Sprintf("F=%d", narrow)},
			} {
				eventually(t, 4*soon, row[0], func() error {
					l.forgetPaths()
					if said, _ := l.client.try("sh", "-c", row[0]+" 2>&1"); !strings.Contains(strings.Join(strings.Fields(said), " "), row[1]) {
						return fmt.Errorf("want %q:\n%s", row[1], said)
					}
					return nil
				})
			}
			l.forgetPaths()
			far.web(beyond+":80", depot(2e6))
			file, err := os.CreateTemp(l.dir, "up")
			check(t, err)
			body, sum := noise(2e6)
			_, err = file.ReadFrom(body)
			check(t, err)
			check(t, file.Close())
			if got, want := l.client.run("curl", "-sS", "-T", file.Name(), "http://"+beyond+"/"), fmt.Sprintf("%d %x", int(2e6), sum.Sum(nil)); got != want {
				t.Errorf("up: %s arrived, want %s", got, want)
			}
			if said := l.client.run("ip", "route", "get", beyond); !strings.Contains(said, fmt.Sprintf("mtu %d", narrow)) {
				t.Errorf("the client has not learned the path's MTU from its upload: %s", said)
			}
			if got := l.client.run("sh", "-c", "curl -sS http://"+beyond+"/ | sha256sum"); !strings.HasPrefix(got, fmt.Sprintf("%x", sum.Sum(nil))) {
				t.Errorf("down: %s", got)
			}
			d.balanced(up, down)
		})
	}
}
