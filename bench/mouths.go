package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// mouths let programs speak as any client: the clients' addresses are all on the
// one port of their namespace, and a program on its way out (TCX) gives each frame
// its client's MAC.
type mouths struct {
	program *ebpf.Program
	link    link.Link
}

// firstIP is the first client's address, as a number.
func firstIP() uint32 {
	a := netip.MustParseAddr(clientIP).As4()
	return binary.BigEndian.Uint32(a[:])
}

// openMouths gives the clients' namespace their addresses. Nobody answers ARP for
// them: the gateways know them.
func (l *lab) openMouths(ctx context.Context, clients int) (err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "neigh add %s lladdr %v nud permanent dev %s\n", l.routerIP, l.routerMAC, farPort)
	for i := 1; i < clients; i++ {
		fmt.Fprintf(&b, "addr add %v/16 dev %s\n", memberAt(i).ip, farPort)
	}
	if err := feed(ctx, l.client, b.String(), "ip", "-batch", "-"); err != nil {
		return err
	}
	l.mouths = &mouths{}
	l.mouths.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: speaking(clients)})
	if err != nil {
		return fmt.Errorf("load the clients' MAC addresses: %w", err)
	}
	return within(l.client, func() error {
		port, err := net.InterfaceByName(farPort)
		if err != nil {
			return err
		}
		l.mouths.link, err = link.AttachTCX(link.TCXOptions{Interface: port.Index, Program: l.mouths.program, Attach: ebpf.AttachTCXEgress})
		return err
	})
}

// speaking gives an IPv4 frame its client's MAC: memberAt's.
func speaking(clients int) asm.Instructions {
	const mac = -8 // on the stack
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R0, asm.R6, skbProtocol, asm.Word),
		asm.HostTo(asm.BE, asm.R0, asm.Half),
		asm.JNE.Imm(asm.R0, 0x0800, "next"),
		asm.LoadAbs(atIP+12, asm.Word),
		asm.Sub.Imm(asm.R0, int32(firstIP())),
		asm.JEq.Imm(asm.R0, 0, "next"), // its port's own
		asm.JGE.Imm(asm.R0, int32(clients), "next"),
		asm.HostTo(asm.BE, asm.R0, asm.Half),
		asm.StoreImm(asm.RFP, mac, 2, asm.Byte),
		asm.StoreImm(asm.RFP, mac+1, 0, asm.Byte),
		asm.StoreImm(asm.RFP, mac+2, 0, asm.Byte),
		asm.StoreImm(asm.RFP, mac+3, 1, asm.Byte),
		asm.StoreMem(asm.RFP, mac+4, asm.R0, asm.Half),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, 6), // the source's place
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, mac),
		asm.Mov.Imm(asm.R4, 6),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol("next"),
		asm.Return(),
	}
}

// ofEach counts a packet for its client, R6 to R9 being as counting has them: down,
// by where it goes, and has the stack take what is for another MAC than the
// port's; up, by the flow that a stream's packet has in its payload, since behind
// NAT all come from one address.
func ofEach(counts, clients int, down bool) asm.Instructions {
	client := asm.Instructions{
		asm.LoadAbs(atIP+9, asm.Byte),
		asm.JNE.Imm(asm.R0, 17, "counted"),
		asm.LoadInd(asm.R0, asm.R7, atIP+2, asm.Half),
		asm.JNE.Imm(asm.R0, discard, "counted"),
		asm.LoadInd(asm.R0, asm.R7, atIP+8, asm.Word),
	}
	var taken asm.Instructions
	if down {
		client = asm.Instructions{
			asm.LoadAbs(atIP+16, asm.Word),
			asm.Sub.Imm(asm.R0, int32(firstIP())),
		}
		taken = asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, 0), // PACKET_HOST
			asm.FnSkbChangeType.Call(),
		}
	}
	program := append(client,
		asm.JGE.Imm(asm.R0, int32(clients), "counted"),
		asm.StoreMem(asm.RFP, -4, asm.R0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, counts),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "counted"),
		asm.AddAtomic.Mem(asm.R0, asm.R8, asm.DWord, 0),
	)
	return append(program, taken...)
}

// readEach returns what has arrived of each client so far, layer-3 bytes; nil where
// it is not counted.
func (c *counter) readEach() ([]uint64, error) {
	if c.each == nil {
		return nil, nil
	}
	list := make([]uint64, c.each.MaxEntries())
	for i := range list {
		if err := c.each.Lookup(uint32(i), &list[i]); err != nil {
			return nil, fmt.Errorf("read client %d of a far end's counter: %w", i+1, err)
		}
	}
	return list, nil
}

func (m *mouths) close() error {
	var problems []error
	if m.link != nil {
		problems = append(problems, m.link.Close())
	}
	if m.program != nil {
		problems = append(problems, m.program.Close())
	}
	return errors.Join(problems...)
}
