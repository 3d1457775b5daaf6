//go:build netns

package gateway_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A bridge translates nothing: both sides of a capture are the bill, of both families, and
// nobody else's frames are in it but what is for many.
func TestACaptureOnABridge(t *testing.T) {
	for _, workers := range []string{"1", "3"} {
		t.Run(workers+" workers", func(t *testing.T) {
			t.Parallel()
			l := newBridge(t, "workers: "+workers)
			l.offloads(false)
			d := l.start()
			servers := l.iperfServers(serverIP, nextRouter6)
			const otherMAC, otherIP = "02:00:00:00:00:0d", "10.10.0.3"
			other := l.neighbour(otherMAC, otherIP)
			v := d.sell(anHour)
			d.sellTo(otherMAC, otherIP, anHour)
			d.must("POST", "/devices/"+otherMAC+"/connect", "", nil)
			file := filepath.Join(l.dir, "a.pcapng")
			p := d.capture(clientIP, file, "--size", "1GB")
			_, _ = l.client.try("ping", "-c", "2", "-i", "0.1", "-W", "1", serverIP) // without a session
			connected := float64(time.Now().UnixNano()) / 1e9
			d.connect()
			other.run("ping", "-c", "3", "-i", "0.1", "-W", "5", serverIP)
			for _, far := range []string{serverIP, nextRouter6} {
				l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", "-s", "3000", far)
				for _, way := range []string{"-t1 -b 30M", "-t1 -R -b 30M", "-t1 -u -b 10M -l 1000"} {
					servers.test(l.client, far, strings.Fields(way)...)
				}
			}
			l.settle()
			said := p.over()
			v = d.session(v.ID)
			if !strings.Contains(said, " 0 lost") {
				t.Fatal(said)
			}
			all := reads(t, file)
			discovery := func(f copiedFrame) bool { return len(f.icmp6) == 3 && f.icmp6 >= "133" && f.icmp6 <= "137" }
			sent := func(f copiedFrame) bool { return f.macSrc == clientMAC && f.kind != "0x0806" && !discovery(f) }
			came := func(f copiedFrame) bool { return (f.dst == clientIP || f.dst == clientIP6) && !discovery(f) }
			for _, row := range []struct {
				what string
				want uint64
				is   func(copiedFrame) bool
			}{
				{"up, as it came", v.UpBytes, func(f copiedFrame) bool { return f.side == "lan" && sent(f) && f.at >= connected }},
				{"up, as it left", v.UpBytes, func(f copiedFrame) bool { return f.side == "wan" && sent(f) }},
				{"down, as it came", v.DownBytes, func(f copiedFrame) bool { return f.side == "wan" && came(f) }},
				{"down, as it left", v.DownBytes, func(f copiedFrame) bool { return f.side == "lan" && came(f) }},
				{"of another client", 0, func(f copiedFrame) bool { return f.src == otherIP || f.dst == otherIP }},
			} {
				if got, frames := sum(all, row.is); got != row.want {
					t.Errorf("%s: %d bytes in %d frames, want %d", row.what, got, frames, row.want)
				}
			}
			if _, n := sum(all, func(f copiedFrame) bool { return f.side == "lan" && sent(f) && f.at < connected }); n == 0 {
				t.Error("what had no session is not in it")
			}
			for _, side := range []string{"lan", "wan"} {
				if _, n := sum(all, func(f copiedFrame) bool { return f.side == side && f.kind == "0x0806" }); n < 2 {
					t.Errorf("%s: %d frames of ARP", side, n)
				}
			}
		})
	}
}

// Tags stay in it, super-packets of both families are sound, and nobody else's are there.
func TestACaptureOnABridgeHasTags(t *testing.T) {
	for name, config := range map[string][]string{"with rings": nil, "without": {"kernel: {without: [ring, transmit_ring]}"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newBridge(t, config...)
			l.offloads(true)
			d := l.start()
			d.admit(anHour)
			servers := l.iperfServers(nextRouter6)
			l.client.run("ping", "-c", "1", "-W", "5", nextRouter)
			file := filepath.Join(l.dir, "a.pcapng")
			p := d.capture(clientIP, file, "--size", "1GB")
			const nobodyIP = "10.10.0.77" // so that no kernel answers
			client, server := newRawPort(l.client), newRawPort(l.server)
			for _, tci := range []uint16{0x0007, 0xe00a} { // VLAN 7, VLAN 10 with priority 7
				client.sends(server, clientIP, nobodyIP, tci)
				server.sends(client, nextRouter, nobodyIP, tci)
			}
			for _, way := range []string{"-t1 -b 50M", "-t1 -R -b 50M", "-u -t1 -b 20M -l 8000", "-u -t1 -R -b 20M -l 1000"} {
				servers.test(l.client, nextRouter6, strings.Fields(way)...)
			}
			p.over()
			all := reads(t, file)
			text, err := os.ReadFile(file)
			if check(t, err); !bytes.Contains(text, []byte("the network's side of the bridge")) {
				t.Error("it does not say that it is of a bridge")
			}
			for _, side := range []string{"lan", "wan"} {
				for _, id := range []string{"7", "10"} {
					if size, n := sum(all, func(f copiedFrame) bool { return f.side == side && f.vlan == id }); n != 2 || size != 2*128 {
						t.Errorf("%s: %d frames of VLAN %s, %d bytes, want 2 and 256", side, n, id, size)
					}
				}
				if _, n := sum(all, func(f copiedFrame) bool { return f.side == side && f.src == clientIP6 && f.length > 1500 }); n == 0 {
					t.Errorf("%s: no super-packet over IPv6", side)
				}
			}
		})
	}
}
