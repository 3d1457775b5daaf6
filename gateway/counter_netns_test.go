//go:build netns

package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// traffic is IPv4 packets as they are on the wire.
type traffic struct{ packets, bytes uint64 } // bytes of layer 3

// counter counts the IPv4 packets that arrive at a far end's eth0, ahead of
// its kernel: once by nftables, for which a super-packet is one packet, and
// once by a program that counts the packets it stands for.
type counter struct {
	t    *testing.T
	ns   *namespace
	wire *ebpf.Map // packets, bytes; and of IPv6, without neighbour discovery, for one and for many
}

// kinds is what nftables counts apart.
var kinds = map[string]string{
	"ip": "meta protocol ip", "ip6": "meta protocol ip6", "arp": "meta protocol arp",
	"tcp": "meta l4proto tcp", "udp": "meta l4proto udp", "icmp": "ip protocol icmp", "shop": "tcp dport 8081",
	"lease": "udp dport 67", "looped": "udp dport 68",
	"borrowed": "ether saddr " + neighbourMAC + " ip6 saddr { " + clientIP6 + ", " + nextRouter6 + " }",
}

func newCounter(n *namespace) *counter {
	n.t.Helper()
	named, rules := "", ""
	for kind, match := range kinds {
		named += fmt.Sprintf("counter of_%s {}\n", kind)
		rules += fmt.Sprintf("%s counter name of_%s\n", match, kind)
	}
	if !inside { // where nftables has no family netdev
		n.run("nft", "table netdev count {\n"+named+"chain in { type filter hook ingress device eth0 priority 0;\n"+rules+"}\n}")
	}
	c := &counter{t: n.t, ns: n}
	var err error
	c.wire, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 6})
	check(n.t, err)
	n.t.Cleanup(func() { c.wire.Close() })
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: counting(c.wire.FD())})
	check(n.t, err)
	defer program.Close()
	check(n.t, n.do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		l, err := link.AttachTCX(link.TCXOptions{Interface: eth0.Index, Program: program, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			n.t.Cleanup(func() { l.Close() })
		}
		if errors.Is(err, ebpf.ErrNotSupported) { // before 6.6
			return classify(eth0.Index, program.FD())
		}
		return err
	}))
	return c
}

// classify attaches a counter by clsact and cls_bpf, for which its verdict means the
// same.
func classify(index, program int) error {
	at := netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: at}); err != nil {
		return err
	}
	return netlink.FilterAdd(&netlink.BpfFilter{Fd: program, Name: "count", DirectAction: true, FilterAttrs: netlink.FilterAttrs{
		LinkIndex: index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL}})
}

// Offsets in struct __sk_buff (linux/bpf.h).
const (
	skbLen      = 0
	skbProtocol = 16
	skbGSOSize  = 176
)

// counting is the program of a counter. A frame that a packet socket sent has
// gso_size but no gso_segs, so that the segments are counted here:
//
//	header   = IHL + (TCP: data offset, else 8), if gso_size, else 0
//	segments = (len - 14 - header + gso_size - 1) / gso_size, at least 1
//	packets += segments
//	bytes   += len - 14 + (segments - 1) * header
//
// IPv6, whose header of 40 bytes has no options here, is counted apart.
func counting(wire int) asm.Instructions {
	const eth = 14
	add := func(key int64, what asm.Register, next string) asm.Instructions {
		return asm.Instructions{
			asm.StoreImm(asm.RFP, -4, key, asm.Word).WithSymbol(next),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, wire),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "pass"),
			asm.StoreXAdd(asm.R0, what, asm.DWord),
		}
	}
	split := func(label string) asm.Instructions { // a super-packet, into what goes over the wire
		return asm.Instructions{
			asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word).WithSymbol(label),
			asm.Mov.Reg(asm.R9, asm.R8),
			asm.Sub.Reg(asm.R9, asm.R7),
			asm.Add.Reg(asm.R9, asm.R1),
			asm.Sub.Imm(asm.R9, 1),
			asm.Div.Reg(asm.R9, asm.R1),
			asm.Mov.Reg(asm.R1, asm.R9),
			asm.Sub.Imm(asm.R1, 1),
			asm.Mul.Reg(asm.R1, asm.R7),
			asm.Add.Reg(asm.R8, asm.R1),
		}
	}
	program := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // the loads from the packet want it there
		asm.LoadMem(asm.R0, asm.R6, skbProtocol, asm.Word),
		asm.HostTo(asm.BE, asm.R0, asm.Half),
		asm.JEq.Imm(asm.R0, 0x86dd, "six"),
		asm.JNE.Imm(asm.R0, 0x0800, "pass"),
		asm.LoadMem(asm.R8, asm.R6, skbLen, asm.Word), // R8: bytes
		asm.Sub.Imm(asm.R8, eth),
		asm.Mov.Imm(asm.R9, 1), // R9: segments
		asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "count"),

		asm.LoadAbs(eth, asm.Byte),
		asm.And.Imm(asm.R0, 0x0f),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R7, asm.R0), // R7: header
		asm.LoadAbs(eth+9, asm.Byte),
		asm.JNE.Imm(asm.R0, 6, "short"),
		asm.LoadInd(asm.R0, asm.R7, eth+12, asm.Byte),
		asm.RSh.Imm(asm.R0, 4),
		asm.LSh.Imm(asm.R0, 2),
		asm.Add.Reg(asm.R7, asm.R0),
		asm.Ja.Label("segments"),
		asm.Add.Imm(asm.R7, 8).WithSymbol("short"),
	}
	program = append(program, split("segments")...)
	program = append(program, add(0, asm.R9, "count")...)
	program = append(program, add(1, asm.R8, "bytes")...)
	program = append(program, asm.Ja.Label("pass"))
	program = append(program, asm.Instructions{
		asm.LoadAbs(eth+6, asm.Byte).WithSymbol("six"),
		asm.Mov.Reg(asm.R7, asm.R0), // R7: protocol
		asm.LoadAbs(eth+40, asm.Byte),
		asm.JNE.Imm(asm.R7, 58, "billed"),
		asm.JLT.Imm(asm.R0, 133, "billed"),
		asm.JLE.Imm(asm.R0, 137, "pass"),
		asm.LoadMem(asm.R8, asm.R6, skbLen, asm.Word).WithSymbol("billed"),
		asm.Sub.Imm(asm.R8, eth),
		asm.Mov.Imm(asm.R9, 1),
		asm.LoadAbs(0, asm.Byte),
		asm.And.Imm(asm.R0, 1),
		asm.JNE.Imm(asm.R0, 0, "group6"),
		asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "count6"),
		asm.JNE.Imm(asm.R7, 6, "short6"),
		asm.LoadAbs(eth+40+12, asm.Byte),
		asm.RSh.Imm(asm.R0, 4),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R7, asm.R0), // R7: header
		asm.Add.Imm(asm.R7, 40),
		asm.Ja.Label("segments6"),
		asm.Mov.Imm(asm.R7, 48).WithSymbol("short6"),
	}...)
	program = append(program, split("segments6")...)
	program = append(program, add(2, asm.R9, "count6")...)
	program = append(program, add(3, asm.R8, "bytes6")...)
	program = append(program, asm.Ja.Label("pass"))
	program = append(program, add(4, asm.R9, "group6")...)
	program = append(program, add(5, asm.R8, "groupBytes6")...)
	return append(program,
		asm.Mov.Imm(asm.R0, -1).WithSymbol("pass"), // TCX_NEXT
		asm.Return(),
	)
}

// read returns the packets on the wire so far.
func (c *counter) read() (now traffic) {
	c.t.Helper()
	check(c.t, c.wire.Lookup(uint32(0), &now.packets))
	check(c.t, c.wire.Lookup(uint32(1), &now.bytes))
	return now
}

// read6 is read of IPv6, neighbour discovery aside: for one station, and for many.
func (c *counter) read6() (one, many traffic) {
	c.t.Helper()
	check(c.t, c.wire.Lookup(uint32(2), &one.packets))
	check(c.t, c.wire.Lookup(uint32(3), &one.bytes))
	check(c.t, c.wire.Lookup(uint32(4), &many.packets))
	check(c.t, c.wire.Lookup(uint32(5), &many.bytes))
	return one, many
}

// nft returns what nftables has counted of a kind.
func (c *counter) nft(kind string) (now traffic) {
	c.t.Helper()
	var answer struct {
		Nftables []struct {
			Counter *struct {
				Packets uint64 `json:"packets"`
				Bytes   uint64 `json:"bytes"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	text := c.ns.run("nft", "--json", "list", "counter", "netdev", "count", "of_"+kind)
	check(c.t, json.Unmarshal([]byte(text), &answer))
	for _, item := range answer.Nftables {
		if item.Counter != nil {
			return traffic{item.Counter.Packets, item.Counter.Bytes}
		}
	}
	c.t.Fatalf("no counter %s in %s", kind, text)
	return now
}

// settle waits until nothing arrives at the far ends any more, and returns
// what has: up at the server, down at the client.
func (l *lab) settle() (up, down traffic) {
	l.t.Helper()
	for quiet, end := 0, time.Now().Add(3*soon); quiet < 15; time.Sleep(20 * time.Millisecond) {
		u, d := l.atServer.read(), l.atClient.read()
		if quiet++; u != up || d != down {
			quiet, up, down = 0, u, d
		}
		if time.Now().After(end) {
			l.t.Fatal("the far ends do not come to rest")
		}
	}
	return up, down
}

// txDropped is how many packets the gateway's ports did not send.
func (l *lab) txDropped() (sum int) {
	l.t.Helper()
	for _, port := range []string{"eth0", "eth1"} {
		var links []struct {
			Stats struct {
				Tx struct{ Dropped, Errors int } `json:"tx"`
			} `json:"stats64"`
		}
		check(l.t, json.Unmarshal([]byte(l.gateway.run("ip", "-s", "-j", "link", "show", "dev", port)), &links))
		sum += links[0].Stats.Tx.Dropped + links[0].Stats.Tx.Errors
	}
	return sum
}

// tables is what a namespace's nftables holds; nothing is an empty string.
func (n *namespace) tables() string {
	n.t.Helper()
	return strings.TrimSpace(n.run("nft", "list", "ruleset"))
}
