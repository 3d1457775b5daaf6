package link

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// FanOut joins the sockets of one port in a group (packet(7), PACKET_FANOUT), of
// which each frame comes to one: to the one whose place in ports the program
// returns, modulo their number. Until then a filter has to keep them deaf, which
// FanOut takes away.
//
// It comes after the rings: a socket that gets one leaves its group for a moment
// and comes back in the last place. A port that goes down and comes up has them join
// in the order in which they were opened, which therefore is to be that of ports.
func FanOut(ports []*Packet, program []bpf.Instruction) error {
	code, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("fan out: %w", err)
	}
	const how = unix.PACKET_FANOUT_CBPF | unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	group := how | unix.PACKET_FANOUT_FLAG_UNIQUEID // the first one's; then that one's number
	for i, p := range ports {
		id := 0
		if i > 0 {
			got, err := unix.GetsockoptInt(ports[0].fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
			if err != nil {
				return fmt.Errorf("fan out: read PACKET_FANOUT: %w", err)
			}
			group, id = how, got&0xffff
		}
		if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, group<<16|id); err != nil {
			return fmt.Errorf("fan out: set PACKET_FANOUT of socket %d: %w", i, err)
		}
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	if err := unix.SetsockoptSockFprog(ports[0].fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return fmt.Errorf("fan out: set PACKET_FANOUT_DATA: %w", err)
	}
	for i, p := range ports {
		if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
			return fmt.Errorf("fan out: open socket %d: %w", i, err)
		}
	}
	return nil
}
