//go:build netns

package gateway_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// inVLANs has all that a far end sends leave in VLANs, the outer one last, and takes one
// off what arrives.
func (c *counter) inVLANs(tags ...int32) {
	c.t.Helper()
	push := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	for _, tag := range tags {
		push = append(push, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, 0x0081), asm.Mov.Imm(asm.R3, tag), asm.FnSkbVlanPush.Call()) // 802.1Q, big endian
	}
	for at, instructions := range map[ebpf.AttachType]asm.Instructions{
		ebpf.AttachTCXEgress:  push,
		ebpf.AttachTCXIngress: {asm.FnSkbVlanPop.Call()},
	} {
		instructions = append(instructions, asm.Mov.Imm(asm.R0, -1), asm.Return()) // TCX_NEXT
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: instructions})
		check(c.t, err)
		defer program.Close()
		check(c.t, c.ns.do(func() error {
			eth0, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			l, err := link.AttachTCX(link.TCXOptions{Interface: eth0.Index, Program: program, Attach: at})
			if err == nil {
				c.t.Cleanup(func() { l.Close() })
			}
			return err
		}))
	}
}

// Programs in a VLAN are billed what arrives, both ways, without its tags.
func TestTheBillOfAVLANIsWhatArrives(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprintf("offloads %v", on), func(t *testing.T) {
			t.Parallel()
			l := newBridge(t)
			l.offloads(on)
			l.atClient.inVLANs(7)
			l.atServer.inVLANs(7)
			d := l.start()
			servers := l.iperfServers(nextRouter, nextRouter6)
			up, down := l.settle()
			up6, down6 := l.wire6()
			v := d.admit(anHour)
			wire := newRawPort(l.server)
			l.client.run("ping", "-c", "3", "-i", "0.1", "-W", "5", "-s", "1000", nextRouter)
			wire.until("a packet comes in the VLAN", func(frame []byte, tag int) bool {
				return frame[12] == 8 && frame[13] == 0 && tag == 7
			})
			for _, far := range []string{nextRouter, nextRouter6} {
				for _, way := range []string{"-n 5M", "-n 5M -R -P2", "-u -b20M -l 1000 -n 1M"} {
					servers.test(l.client, far, strings.Fields(way)...)
				}
			}
			if now := d.billedBoth(v.ID, up, down, up6, down6, v); now.UpBytes < 5e6 || now.DownBytes < 5e6 { // iperf3 leaves some of its last unsent
				t.Errorf("billed %d bytes up, %d down, want what iperf3 has sent", now.UpBytes, now.DownBytes)
			}
			if n := l.txDropped(); n != 0 {
				t.Errorf("the ports dropped %d packets", n)
			}
		})
	}
}

// A frame in two VLANs goes nowhere and costs nothing.
func TestTwoTagsArriveNowhere(t *testing.T) {
	t.Parallel()
	l := newBridge4(t)
	d := l.start()
	v := d.admit(anHour)
	l.passes()
	up, down := l.settle()
	now, before := d.session(v.ID), d.status().Drops["tagged"]
	l.atClient.inVLANs(8, 7)
	l.atServer.inVLANs(8, 7)
	for n, far := range map[*namespace]string{l.client: nextRouter, l.server: clientIP} {
		if said, err := n.try("ping", "-c", "10", "-i", "0.05", "-W", "1", far); err == nil {
			t.Errorf("%s answers through two tags: %s", far, said)
		}
	}
	if n := d.status().Drops["tagged"] - before; n < 20 {
		t.Errorf("%d frames dropped for their tags, want 20", n)
	}
	if upNow, downNow := l.settle(); upNow != up || downNow != down {
		t.Errorf("there arrived %+v and %+v, of one tag %+v and %+v", upNow, downNow, up, down)
	}
	if after := d.session(v.ID); after.UpBytes != now.UpBytes || after.DownBytes != now.DownBytes {
		t.Errorf("of two tags %d bytes were billed up, %d down", after.UpBytes-now.UpBytes, after.DownBytes-now.DownBytes)
	}
}

// Packets as long as the ports take pass and are billed; of two MTUs the lesser one is
// found out from both sides, over both families.
func TestMTUsOfABridge(t *testing.T) {
	t.Parallel()
	for _, w := range []widths{{9000, 9000}, {9000, 1500}, {1500, 9000}, {1500, 1280}} {
		t.Run(fmt.Sprintf("%+v", w), func(t *testing.T) {
			t.Parallel()
			l := newBridge(t)
			l.widen(w)
			for _, n := range []*namespace{l.client, l.server} {
				n.setting("ipv4/icmp_ratelimit", "0")
				n.setting("ipv6/icmp/ratelimit", "0")
			}
			d := l.start()
			d.isWide(w)
			forwarder, edge := d.process("forward"), w.edge()
			up, down := l.settle()
			up6, down6 := l.wire6()
			v := d.admit(anHour)
			for _, row := range []string{
				fmt.Sprintf("-4 -M do -s %d %s", edge-28, nextRouter),
				fmt.Sprintf("-6 -M do -s %d %s", edge-48, nextRouter6),
				fmt.Sprintf("-4 -M dont -s %d %s", 2*edge, nextRouter), // fragments
			} {
				l.client.run("ping", append([]string{"-c", "2", "-i", "0.1", "-W", "5"}, strings.Fields(row)...)...)
			}
			d.billedBoth(v.ID, up, down, up6, down6, v)
			for _, row := range []struct {
				at      *namespace
				command string
			}{{l.client, "tracepath -4 " + nextRouter}, {l.client, "tracepath -6 " + nextRouter6}, {l.server, "tracepath -4 " + clientIP}, {l.server, "tracepath -6 " + clientIP6}} {
				want := fmt.Sprintf("Resume: pmtu %d hops 1 ", edge)
				eventually(t, 4*soon, row.command, func() error {
					l.forgetPaths()
					row.at.run("ip", "-6", "route", "flush", "cache")
					if said, _ := row.at.try("sh", "-c", row.command+" -n -m 4 2>&1"); !strings.Contains(strings.Join(strings.Fields(said), " ")+" ", want) {
						return fmt.Errorf("want %q:\n%s", want, said)
					}
					return nil
				})
			}
			if n := d.status().Drops["too_big"]; n == 0 != (w.lan == w.wan) {
				t.Errorf("%d packets were too big", n)
			}
			if now := d.process("forward"); now != forwarder {
				t.Errorf("the forwarder %d was replaced by %d", forwarder, now)
			}
		})
	}
}

// What is sent to everybody on the WAN is held to its rates, 250 frames a second and 2
// Mbit/s, nobody pays for it, and a client's TCP goes on beside it.
func TestAStormBesideTCPOverABridge(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		to, ip string // of the frames
		length int    // of their datagrams, bytes
	}{
		"broadcast, small": {"ff:ff:ff:ff:ff:ff", "255.255.255.255", 60},
		"multicast, long":  {"01:00:5e:00:00:fb", "224.0.0.251", 1400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rate, seconds, layer3 = 10_000, 2, 28
			l := newBridge4(t)
			d := l.start()
			l.server.web(serverIP+":80", depot(5e6))
			v := d.admit(anHour)
			l.passes()
			_, down := l.settle()
			before, storm := d.session(v.ID), l.atClient.nft("udp")
			began := time.Now()
			storming := l.server.start("trafgen", "-P", "1", "-n", fmt.Sprint(rate*seconds), "-b", fmt.Sprintf("%dpps", rate), "-o", "eth0",
				fmt.Sprintf("{ eth(sa=%s, da=%s), ipv4(saddr="+nextRouter+", daddr=%s, ttl=1), udp(sp=9, dp=9), fill(0x41, %d) }",
					newRawPort(l.server).mac, row.to, row.ip, row.length))
			eventually(t, soon, "the storm is held back", func() error {
				if n := d.status().Drops["storm"]; n == 0 {
					return errNotYet
				}
				return nil
			})
			l.client.run("curl", "-sS", "-m", "60", "-o", "/dev/null", "http://"+serverIP+"/")
			select {
			case <-storming.ended:
				t.Error("the storm had ended before")
			default:
			}
			storming.wait(4 * soon)
			_, downNow := l.settle()
			took := time.Since(began).Seconds()
			passed := l.atClient.nft("udp")
			passed = traffic{passed.packets - storm.packets, passed.bytes - storm.bytes}
			if most := uint64(250 * (took + 1)); passed.packets > most || passed.packets < 10 {
				t.Errorf("%d frames of the storm passed in %.1f s, want %d at most", passed.packets, took, most)
			}
			if most := uint64(250e3*took + 50e3 + 1500); passed.bytes > most {
				t.Errorf("%d bytes of the storm passed in %.1f s, want %d at most", passed.bytes, took, most)
			}
			if n := d.status().Drops["storm"]; n+passed.packets > rate*seconds || n < rate*seconds/4 {
				t.Errorf("of %d frames %d passed and %d were dropped", rate*seconds, passed.packets, n)
			}
			if got, want := d.session(v.ID).DownBytes-before.DownBytes, downNow.bytes-down.bytes-passed.bytes; got != want {
				t.Errorf("down: billed %d bytes, %d arrived beside the storm", got, want)
			}
			d.well()
			t.Logf("%d frames, %d bytes in %.1f s", passed.packets, passed.bytes, took)
		})
	}
}

// A client that speaks from another's IPv6 address, or from the router's, reaches nobody
// and pays nothing, and its owner is served and billed as before.
func TestABorrowedIPv6AddressGetsNothing(t *testing.T) {
	t.Parallel()
	const thiefIP6 = "2001:db8::d"
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			t.Parallel()
			l := newBridge(t, fmt.Sprint("workers: ", workers))
			d := l.start()
			l.settle()
			up6, _ := l.wire6()
			owner := d.admit(anHour)
			paid := d.sellTo(neighbourMAC, neighbourIP, anHour)
			d.must("POST", "/devices/"+neighbourMAC+"/connect", "", nil)
			thief := l.neighbour(neighbourMAC, neighbourIP)
			thief.run("ip", "addr", "add", thiefIP6+"/64", "dev", "eth0", "nodad")
			for _, n := range []*namespace{l.client, thief} {
				eventually(t, soon, "both speak IPv6", func() error {
					_, err := n.try("ping", "-c", "1", "-W", "1", nextRouter6)
					return err
				})
			}
			server := newRawPort(l.server).mac.String()
			ownerBefore, thiefBefore, spoofed := d.session(owner.ID), d.session(paid.ID), d.status().Drops["spoofed"]
			ether, ours := "Ether(src='"+neighbourMAC+"',dst='"+server+"')/", "/ICMPv6NDOptDstLLAddr(lladdr='"+neighbourMAC+"')"
			thief.run("/usr/bin/python3", "-c", "from scapy.all import *; sendp(["+strings.Join([]string{
				ether + "IPv6(src='" + clientIP6 + "',dst='" + nextRouter6 + "')/ICMPv6EchoRequest(id=777)",
				ether + "IPv6(src='" + clientIP6 + "',dst='" + nextRouter6 + "',hlim=255)/ICMPv6ND_NA(tgt='" + clientIP6 + "',R=0,O=1)" + ours,
				ether + "IPv6(src='" + nextRouter6 + "',dst='2001:db8:ffff::1')/UDP(sport=777,dport=777)/Raw(b'x'*100)",
				"Ether(src='" + neighbourMAC + "',dst='33:33:00:00:00:01')/IPv6(src='" + nextRouter6 + "',dst='ff02::1',hlim=255)/ICMPv6ND_NA(tgt='" + nextRouter6 + "',O=1)" + ours,
			}, ",")+"],iface='eth0',count=10,verbose=0)")
			eventually(t, soon, "what is borrowed is counted", func() error {
				if n := d.status().Drops["spoofed"] - spoofed; n < 40 {
					return fmt.Errorf("%d: %v", n, d.status().Drops)
				}
				return nil
			})
			// And a kernel that has been given the address.
			thief.run("ip", "addr", "add", clientIP6+"/64", "dev", "eth0", "nodad")
			thief.run("ip", "neigh", "replace", nextRouter6, "lladdr", server, "dev", "eth0")
			if said, err := thief.try("ping", "-c", "5", "-i", "0.05", "-W", "1", "-I", clientIP6, nextRouter6); err == nil {
				t.Errorf("it is answered: %s", said)
			}
			if n := l.atServer.nft("borrowed"); n.packets != 0 {
				t.Errorf("from borrowed addresses there arrived %+v", n)
			}
			l.client.run("ping", "-c", "5", "-i", "0.05", "-W", "5", "-s", "1000", nextRouter6)
			l.server.run("ping", "-c", "5", "-i", "0.05", "-W", "5", "-s", "1000", clientIP6)
			if n := d.session(owner.ID).DownBytes - ownerBefore.DownBytes; n != 10*1048 {
				t.Errorf("the owner pays %d bytes down, want %d", n, 10*1048)
			}
			if n := d.session(paid.ID).DownBytes - thiefBefore.DownBytes; n != 0 {
				t.Errorf("who borrowed pays %d bytes down", n)
			}
			eventually(t, soon, "both together pay what arrived", func() error {
				up, _ := l.wire6()
				if got := d.session(owner.ID).UpBytes + d.session(paid.ID).UpBytes; got != up.bytes-up6.bytes {
					return fmt.Errorf("%d bytes, %d arrived", got, up.bytes-up6.bytes)
				}
				return nil
			})
			if said := l.server.run("ip", "neigh", "show", clientIP6); !strings.Contains(said, clientMAC) {
				t.Errorf("the owner's address is said to be at %s", said)
			}
		})
	}
}

// Several workers bill their clients what arrives over IPv6, the reports of the groups
// that their kernels are in with it, also after a death.
func TestSeveralWorkersOverIPv6(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{2, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			t.Parallel()
			l := newBridge(t, fmt.Sprint("workers: ", workers))
			d := l.start()
			servers := l.iperfServers(nextRouter6)
			up6, down6 := l.wire6()
			c := d.guests(8)
			for i, n := range c.members {
				n.run("ip", "addr", "add", fmt.Sprintf("2001:db8::1:%d/64", i), "dev", "eth0", "nodad")
			}
			for _, when := range []string{"at first", "after a kill of forward"} {
				if when != "at first" {
					d.replaced("forward", d.kill("forward"))
				}
				c.each("ping", "-q", "-c", "5", "-i", "0.05", "-s", "1000", "-w", "30", nextRouter6)
				c.each("ping", "-q", "-c", "3", "-i", "0.05", "-s", "4000", "-w", "30", nextRouter6) // fragments
				servers.test(c.members[0], nextRouter6, "-n", "2M")
				servers.test(c.members[7], nextRouter6, "-n", "2M", "-R")
				eventually(t, 2*soon, when+" the bills are what arrived", func() error {
					up, down := l.wire6()
					gotUp, gotDown := c.billed()
					if gotUp != up.bytes-up6.bytes || gotDown != down.bytes-down6.bytes {
						return fmt.Errorf("billed %d bytes up, %d down; arrived %d, %d; drops %v", gotUp, gotDown, up.bytes-up6.bytes, down.bytes-down6.bytes, d.status().Drops)
					}
					return nil
				})
				if err := l.scraped().balance(); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			_, before := c.billed()
			for i, n := range c.members[1:] {
				n.run("ping", "-q", "-c", "2", "-i", "0.05", "-w", "30", fmt.Sprintf("2001:db8::1:%d", i))
			}
			if _, now := c.billed(); now != before {
				t.Errorf("neighbours pay %d bytes for what they say to each other", now-before)
			}
		})
	}
}
