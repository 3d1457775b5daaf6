package clients

import (
	"slices"
	"sync/atomic"
)

// MaxAddresses bounds the gateway's own addresses on the WAN.
const MaxAddresses = 16

// Addressing is where the gateway is on the WAN. All addresses are of one prefix.
type Addressing struct {
	Addresses []uint32 // the gateway's own, all different, the first for its own traffic; none: it has none just now
	Bits      int      // of the prefix
	Gateway   uint32   // the next router; 0: none
}

// addressing is an Addressing in the table.
type addressing struct {
	network   atomic.Uint64 // Gateway << 32 | Bits << 8 | how many addresses
	addresses [MaxAddresses]atomic.Uint64
}

// SetAddressing says where the gateway is on the WAN from each worker's next round
// on. Control's side. Addresses beyond MaxAddresses are left out. If control is
// killed in the middle, what was said before stands. Nobody hears of what was said
// before already.
func (h *Header) SetAddressing(a Addressing) {
	own := a.Addresses[:min(len(a.Addresses), MaxAddresses)]
	is, number := h.Addressing()
	if number > 0 && slices.Equal(is.Addresses, own) && is.Bits == a.Bits && is.Gateway == a.Gateway {
		return
	}
	next := number + 1
	to := &h.addressing[next%2]
	to.network.Store(uint64(a.Gateway)<<32 | uint64(uint8(a.Bits))<<8 | uint64(len(own)))
	for i, ip := range own {
		to.addresses[i].Store(uint64(ip))
	}
	h.addressed.Store(next)
}

// Addressed is the number of what was said last; 0: nothing yet.
func (h *Header) Addressed() uint64 { return h.addressed.Load() }

// Addressing is what was said last, and its number.
func (h *Header) Addressing() (a Addressing, number uint64) {
	for {
		number = h.addressed.Load()
		from := &h.addressing[number%2]
		n := from.network.Load()
		a = Addressing{Bits: int(uint8(n >> 8)), Gateway: uint32(n >> 32)}
		for i := range min(int(uint8(n)), MaxAddresses) {
			a.Addresses = append(a.Addresses, uint32(from.addresses[i].Load()))
		}
		if h.addressed.Load() == number {
			return a, number // what is said next goes to the other place
		}
	}
}

// SetUse says how many mappings are at each external address. The worker's side; i
// is below MaxAddresses, the address 0 for none.
func (w *Worker) SetUse(i int, addr, mappings uint32) {
	w.use[i].Store(uint64(addr)<<32 | uint64(mappings))
}

// Use is how many mappings all workers have at an external address.
func (h *Header) Use(addr uint32) (mappings uint64) {
	for i := range h.workers() {
		for j := range h.Worker[i].use {
			if u := h.Worker[i].use[j].Load(); uint32(u>>32) == addr && addr != 0 {
				mappings += u & (1<<32 - 1)
			}
		}
	}
	return mappings
}
