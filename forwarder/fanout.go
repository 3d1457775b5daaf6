package forwarder

import (
	"golang.org/x/net/bpf"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// The kernel gives each frame of a port to one worker by these programs, which run
// on the network header (packet(7), PACKET_FANOUT_CBPF). A frame that one cannot
// read is worker 0's. What they say and what the workers say (home) is the same,
// which keeps frames from crossing; that is a matter of cost, not of truth.

// linkLayer is the offset of the Ethernet header (SKF_LL_OFF of linux/filter.h).
const linkLayer = 0xffe00000

const (
	firstPort = 1024  // that the translations use
	allPorts  = 64512 // from it on
)

// ICMP answers beside the echo reply (RFC 792, RFC 950).
const (
	timestampReply   = 14
	informationReply = 16
	addressMaskReply = 18
)

// portOwner is the worker to whose slice of external ports one belongs: the inverse
// of nat.Options.Slice. The ports below are nobody's, and worker 0's to drop.
func portOwner(port uint16, workers int) int {
	if port < firstPort {
		return 0
	}
	return int((uint32(port-firstPort)*uint32(workers) + uint32(workers) - 1) / allPorts)
}

// FanOutLAN gives a frame to the worker of its source MAC: clients.Spread.Of.
func FanOutLAN(s clients.Spread) []bpf.Instruction { return spreadMAC(s, linkLayer+6) }

// FanOutBridge gives a frame from the WAN of a bridge to the worker of its destination
// MAC; one for many to worker 0.
func FanOutBridge(s clients.Spread) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: linkLayer, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 1, SkipTrue: 1}, // the group bit
		bpf.RetConstant{Val: 0},
	}, spreadMAC(s, linkLayer)...)
}

// spreadMAC gives a frame to the worker of the MAC at an offset.
func spreadMAC(s clients.Spread, at uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: at + 4, Size: 2}, // the MAC's last two octets
		bpf.StoreScratch{Src: bpf.RegA, N: 0},
		bpf.LoadAbsolute{Off: at, Size: 4}, // its first four
		bpf.ALUOpConstant{Op: bpf.ALUOpXor, Val: s.Keys[0]},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: s.Keys[1]},
		bpf.TAX{},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 15},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.LoadScratch{Dst: bpf.RegX, N: 0},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: s.Keys[2]},
		bpf.TAX{},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 13},
		bpf.ALUOpX{Op: bpf.ALUOpXor},
		bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: s.Keys[1]},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 16},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: s.Workers},
		bpf.RetA{},
	}
}

// FanOutWAN gives a frame to the worker whose external port it is for, or, being an
// ICMP error, is about; fragments, and all without a port, to worker 0.
func FanOutWAN(workers int) []bpf.Instruction {
	const ( // where the parts begin
		icmp, quoted, port, id, answer, owner, nobody = 9, 18, 29, 31, 33, 34, 40
	)
	to := func(part, from int) uint8 { return uint8(part - from - 1) }
	return []bpf.Instruction{
		0: bpf.LoadAbsolute{Off: linkLayer + 12, Size: 2},
		1: bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.EtherTypeIPv4, SkipTrue: to(nobody, 1)},
		2: bpf.LoadAbsolute{Off: 6, Size: 2},
		3: bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: to(nobody, 3)}, // a fragment
		4: bpf.LoadMemShift{Off: 0},                                                // X: length of the header
		5: bpf.LoadAbsolute{Off: 9, Size: 1},
		6: bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.ICMP, SkipTrue: to(icmp, 6)},
		7: bpf.LoadIndirect{Off: 2, Size: 2}, // TCP's or UDP's destination; what is neither, anybody may drop
		8: bpf.Jump{Skip: uint32(to(owner, 8))},

		icmp: bpf.LoadIndirect{Off: 0, Size: 1},
		10:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.EchoReply, SkipTrue: to(answer, 10)},
		11:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: timestampReply, SkipTrue: to(answer, 11)},
		12:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: informationReply, SkipTrue: to(answer, 12)},
		13:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: addressMaskReply, SkipTrue: to(answer, 13)},
		14:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.Unreachable, SkipTrue: to(quoted, 14)},
		15:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.SourceQuench, SkipTrue: to(quoted, 15)},
		16:   bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.TimeExceeded, SkipTrue: to(quoted, 16)},
		17:   bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.ParameterProblem, SkipTrue: to(nobody, 17)},

		quoted: bpf.LoadIndirect{Off: 8 + 9, Size: 1}, // the protocol of a packet that went out from one of our ports
		19:     bpf.StoreScratch{Src: bpf.RegA, N: 0},
		20:     bpf.LoadIndirect{Off: 8, Size: 1},
		21:     bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf},
		22:     bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		23:     bpf.ALUOpX{Op: bpf.ALUOpAdd},
		24:     bpf.TAX{}, // X: length of both headers
		25:     bpf.LoadScratch{Dst: bpf.RegA, N: 0},
		26:     bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.ICMP, SkipTrue: to(id, 26)},
		27:     bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.TCP, SkipTrue: to(port, 27)},
		28:     bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.UDP, SkipTrue: to(nobody, 28)},

		port: bpf.LoadIndirect{Off: 8, Size: 2},
		30:   bpf.Jump{Skip: uint32(to(owner, 30))},
		id:   bpf.LoadIndirect{Off: 8 + 4, Size: 2},
		32:   bpf.Jump{Skip: uint32(to(owner, 32))},

		answer: bpf.LoadIndirect{Off: 4, Size: 2}, // the query's id

		owner:  bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstPort, SkipTrue: to(nobody, owner)}, // portOwner, from here
		35:     bpf.ALUOpConstant{Op: bpf.ALUOpSub, Val: firstPort},
		36:     bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: uint32(workers)},
		37:     bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: uint32(workers) - 1},
		38:     bpf.ALUOpConstant{Op: bpf.ALUOpDiv, Val: allPorts},
		39:     bpf.RetA{},
		nobody: bpf.RetConstant{Val: 0},
	}
}
