package clients

import "sync/atomic"

// PortRange is the ports First to Last, both included, of one protocol.
type PortRange struct {
	UDP         bool // else TCP
	First, Last uint16
}

// openPorts is a bit for each port of a protocol, its words' lowest first.
type openPorts [65536 / 64]atomic.Uint64

// SetOpen opens the box to clients: all of it, else these ports alone. What was
// open and stays so is never closed meanwhile. Control's side; it takes effect
// with the next packet.
func (h *Header) SetOpen(all bool, ranges []PortRange) {
	if all {
		h.OpenAll.Store(1) // the list stays: who has just seen that not all is open reads it now
		return
	}
	var bits [2][65536 / 64]uint64
	for _, r := range ranges {
		of := &bits[protocol(r.UDP)]
		for p := int(r.First); p <= int(r.Last); p++ {
			of[p/64] |= 1 << (p % 64)
		}
	}
	for i := range bits {
		for w, b := range bits[i] {
			h.open[i][w].Store(b)
		}
	}
	h.OpenAll.Store(0)
}

// Open says whether clients may reach a port of the box.
func (h *Header) Open(udp bool, port uint16) bool {
	return h.OpenAll.Load() != 0 || h.open[protocol(udp)][port/64].Load()&(1<<(port%64)) != 0
}

func protocol(udp bool) int {
	if udp {
		return 1
	}
	return 0
}
