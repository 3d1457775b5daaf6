package clients

import (
	"slices"
	"sync/atomic"
)

// MaxForwards bounds the port forwards.
const MaxForwards = 256

// Forward leads ports of the WAN to a client's, or to the box's.
type Forward struct {
	UDP         bool   // TCP otherwise
	Address     uint32 // of the gateway's own, the one that it is at; 0: each of them
	First, Last uint16 // external ports, both included
	To          uint32 // the client's address; 0: the box
	Port        uint16 // there, of First; the others follow in order
}

// forwarding is a list of forwards in the table.
type forwarding struct {
	length atomic.Uint64
	list   [MaxForwards][2]atomic.Uint64 // Address << 32 | To, UDP << 48 | First << 32 | Last << 16 | Port
}

// SetForwards says which ports are forwarded from each worker's next round on.
// Control's side. What is beyond MaxForwards is left out. If control is killed in the
// middle, what was said before stands. Nobody hears of what was said before already.
func (h *Header) SetForwards(list []Forward) {
	list = list[:min(len(list), MaxForwards)]
	is, number := h.Forwards()
	if slices.Equal(is, list) {
		return
	}
	next := number + 1
	to := &h.forwards[next%2]
	to.length.Store(uint64(len(list)))
	for i, w := range list {
		to.list[i][0].Store(uint64(w.Address)<<32 | uint64(w.To))
		ports := uint64(w.First)<<32 | uint64(w.Last)<<16 | uint64(w.Port)
		if w.UDP {
			ports |= 1 << 48
		}
		to.list[i][1].Store(ports)
	}
	h.forwarded.Store(next)
}

// Forwarded is the number of what was said last; 0: nothing yet.
func (h *Header) Forwarded() uint64 { return h.forwarded.Load() }

// Forwards is what was said last, and its number.
func (h *Header) Forwards() (list []Forward, number uint64) {
	for {
		number = h.forwarded.Load()
		from := &h.forwards[number%2]
		list = nil
		for i := range min(from.length.Load(), MaxForwards) {
			ends, ports := from.list[i][0].Load(), from.list[i][1].Load()
			list = append(list, Forward{
				UDP: ports>>48 == 1, Address: uint32(ends >> 32), To: uint32(ends),
				First: uint16(ports >> 32), Last: uint16(ports >> 16), Port: uint16(ports),
			})
		}
		if h.forwarded.Load() == number {
			return list, number // what is said next goes to the other place
		}
	}
}
