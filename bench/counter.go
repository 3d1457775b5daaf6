package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// traffic is IPv4 packets as they are on the wire.
type traffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"` // layer 3
}

func (t traffic) since(before traffic) traffic {
	return traffic{t.Packets - before.Packets, t.Bytes - before.Bytes}
}

// discard is the UDP port whose packets a counter counts and drops (RFC 863):
// the far end does no work on them and answers none.
const discard = 9

// A counter counts what arrives at a far end's port, before the far end's own
// stack sees it.
type counter struct {
	counts  *ebpf.Map // one traffic per CPU
	each    *ebpf.Map // layer-3 bytes of each client; nil: not counted
	program *ebpf.Program
	link    link.Link
}

// newCounter attaches a counter to the port of a namespace; marks is where it marks
// answers, nil to send back what asks for one. It counts for each of so many
// clients, too. It needs TCX (Linux 6.6).
func newCounter(namespace string, marks *answers, clients int) (c *counter, err error) {
	c = &counter{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("count what arrives in %s: %w", namespace, err), c.close())
		}
	}()
	c.counts, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 16, MaxEntries: 1})
	if err != nil {
		return c, err
	}
	var each asm.Instructions
	if clients > 0 {
		c.each, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(clients)})
		if err != nil {
			return c, err
		}
		each = ofEach(c.each.FD(), clients, marks != nil)
	}
	c.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: whole(c.counts, marks, each),
	})
	if err != nil {
		return c, err
	}
	err = within(namespace, func() error {
		port, err := net.InterfaceByName(farPort)
		if err != nil {
			return err
		}
		c.link, err = link.AttachTCX(link.TCXOptions{Interface: port.Index, Program: c.program, Attach: ebpf.AttachTCXIngress})
		return err
	})
	return c, err
}

// whole is a counter's program.
func whole(counts *ebpf.Map, marks *answers, each asm.Instructions) asm.Instructions {
	if marks != nil {
		return append(counting(counts.FD(), each), marking(marks.words.FD())...)
	}
	return append(counting(counts.FD(), each), bouncing()...)
}

// Offsets in struct __sk_buff (linux/bpf.h), and verdicts.
const (
	skbLen      = 0
	skbProtocol = 16
	skbIfindex  = 40
	skbData     = 76
	skbDataEnd  = 80
	skbGSOSize  = 176

	tcxNext = -1
	tcxDrop = 2
)

// counting is the counter's program. gso_segs of what an AF_PACKET socket sent is
// not set, so the segments are counted from gso_size:
//
//	if protocol is not IPv4: next
//	bytes, packets = total length, 1
//	if gso_size: header = IHL + (TCP: data offset, else 8)
//	             bytes = len - 14
//	             packets = (bytes - header + gso_size - 1) / gso_size
//	             bytes += (packets - 1) * header
//	counts += packets, bytes
//	each, if it is counted for each client
//	if not UDP: next
//	if to port discard: drop
//
// and goes on with bouncing or marking, R6 being the context and R7 the length of
// the IP header.
func counting(counts int, each asm.Instructions) asm.Instructions {
	const eth = atIP
	program := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // LoadAbs and LoadInd want the context here
		asm.LoadMem(asm.R0, asm.R6, skbProtocol, asm.Word),
		asm.HostTo(asm.BE, asm.R0, asm.Half),
		asm.JNE.Imm(asm.R0, 0x0800, "next"),

		asm.LoadAbs(eth, asm.Byte),
		asm.And.Imm(asm.R0, 0x0f),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R7, asm.R0), // R7: length of the IP header
		asm.LoadAbs(eth+2, asm.Half),
		asm.Mov.Reg(asm.R8, asm.R0), // R8: bytes
		asm.Mov.Imm(asm.R9, 1),      // R9: packets
		asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "count"),

		asm.Mov.Imm(asm.R9, 8), // R9: length of the header that every segment has
		asm.LoadAbs(eth+9, asm.Byte),
		asm.JNE.Imm(asm.R0, 6, "segments"),
		asm.LoadInd(asm.R0, asm.R7, eth+12, asm.Byte),
		asm.RSh.Imm(asm.R0, 4),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R9, asm.R0),

		asm.Add.Reg(asm.R9, asm.R7).WithSymbol("segments"),
		asm.LoadMem(asm.R8, asm.R6, skbLen, asm.Word),
		asm.Sub.Imm(asm.R8, eth),
		asm.LoadMem(asm.R1, asm.R6, skbGSOSize, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R8),
		asm.Sub.Reg(asm.R2, asm.R9),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.Sub.Imm(asm.R2, 1),
		asm.Div.Reg(asm.R2, asm.R1),
		asm.Sub.Imm(asm.R2, 1), // segments after the first
		asm.Mul.Reg(asm.R9, asm.R2),
		asm.Add.Reg(asm.R8, asm.R9),
		asm.Mov.Reg(asm.R9, asm.R2),
		asm.Add.Imm(asm.R9, 1),

		asm.StoreImm(asm.RFP, -4, 0, asm.Word).WithSymbol("count"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, counts),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "next"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R9),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R0, 8, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R8),
		asm.StoreMem(asm.R0, 8, asm.R1, asm.DWord),
	}
	program = append(program, each...)
	return append(program,
		asm.LoadAbs(eth+9, asm.Byte).WithSymbol("counted"),
		asm.JNE.Imm(asm.R0, 17, "next"),
		asm.LoadInd(asm.R0, asm.R7, eth+2, asm.Half),
		asm.JNE.Imm(asm.R0, discard, "reply"),
		asm.Mov.Imm(asm.R0, tcxDrop),
		asm.Return(),

		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("next"),
		asm.Return(),
	)
}

// bouncing sends a packet to UDP port echo back where it came from: addresses and
// ports change places, and no checksum changes.
func bouncing() asm.Instructions {
	swap := func(one, other int16, size asm.Size) asm.Instructions {
		return asm.Instructions{
			asm.LoadMem(asm.R4, asm.R2, one, size), asm.LoadMem(asm.R5, asm.R2, other, size),
			asm.StoreMem(asm.R2, one, asm.R5, size), asm.StoreMem(asm.R2, other, asm.R4, size),
		}
	}
	program := asm.Instructions{
		asm.LoadInd(asm.R0, asm.R7, atIP+2, asm.Half).WithSymbol("reply"),
		asm.JNE.Imm(asm.R0, echo, "next"),
		asm.JNE.Imm(asm.R7, 20, "next"),
		asm.LoadMem(asm.R2, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, atPayload),
		asm.JGT.Reg(asm.R4, asm.R3, "next"),
	}
	for _, part := range []asm.Instructions{
		swap(0, 6, asm.Word), swap(4, 10, asm.Half), // Ethernet
		swap(atIP+12, atIP+16, asm.Word), swap(atUDP, atUDP+2, asm.Half),
	} {
		program = append(program, part...)
	}
	return append(program,
		asm.LoadMem(asm.R1, asm.R6, skbIfindex, asm.Word),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
	)
}

// marking marks the flow that a packet from UDP port echo answers, and drops it:
//
//	if words[flow] == 0: words[flow] = 1; words[maxFlows]++
func marking(words int) asm.Instructions {
	lookup := asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, words),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R1, 1),
	}
	exchange := asm.Xchg.Mem(asm.R0, asm.R1, asm.DWord, 0)
	exchange.Constant = 0xe1 // BPF_XCHG, which cilium/ebpf 0.22 forgets
	program := asm.Instructions{
		asm.LoadInd(asm.R0, asm.R7, atIP, asm.Half).WithSymbol("reply"),
		asm.JNE.Imm(asm.R0, echo, "next"),
		asm.LoadInd(asm.R0, asm.R7, atIP+8, asm.Word),
		asm.JGE.Imm(asm.R0, maxFlows, "drop"),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
	}
	program = append(program, lookup...)
	program = append(program,
		exchange,
		asm.JNE.Imm(asm.R1, 0, "drop"),
		asm.StoreImm(asm.RFP, -4, maxFlows, asm.Word),
	)
	program = append(program, lookup...)
	return append(program,
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, tcxDrop).WithSymbol("drop"),
		asm.Return(),
	)
}

// read returns what has arrived so far. It is exact at rest.
func (c *counter) read() (sum traffic, err error) {
	var each []traffic
	if err := c.counts.Lookup(uint32(0), &each); err != nil {
		return sum, fmt.Errorf("read a far end's counter: %w", err)
	}
	for _, t := range each {
		sum.Packets += t.Packets
		sum.Bytes += t.Bytes
	}
	return sum, nil
}

// close takes the counter away.
func (c *counter) close() error {
	var problems []error
	if c.link != nil {
		problems = append(problems, c.link.Close())
	}
	if c.program != nil {
		problems = append(problems, c.program.Close())
	}
	if c.each != nil {
		problems = append(problems, c.each.Close())
	}
	if c.counts != nil {
		problems = append(problems, c.counts.Close())
	}
	return errors.Join(problems...)
}
