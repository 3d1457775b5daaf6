package clients

// What control has to say and to hear on the WAN itself, to have an address there by DHCP,
// are whole frames in two rings: the ports are the forwarder's. Its worker 0 writes what
// came in and reads what is to go out.

// mailRing is the size of either ring, bytes: dozens of messages.
const mailRing = 1 << 14

// Inbox returns the frames that came in. The forwarder's worker 0 writes it.
func (t *Table) Inbox() *Copies { return &t.mail[0] }

// Outbox returns the frames that are to go out, of which worker 0 looks for new ones
// ten times a second. Control writes it.
func (t *Table) Outbox() *Copies { return &t.mail[1] }

const leasing = 1 << 32

// SetLeasing says whether what DHCP servers on the WAN answer is for control, and of which
// address it wants to hear others' claims by ARP; 0: none. Control's side; it holds for
// the next frame.
func (h *Header) SetLeasing(on bool, ip uint32) {
	v := uint64(ip)
	if on {
		v |= leasing
	}
	if h.leasing.Load() != v {
		h.leasing.Store(v)
	}
}

// Leasing returns what SetLeasing said.
func (h *Header) Leasing() (on bool, ip uint32) {
	v := h.leasing.Load()
	return v&leasing != 0, uint32(v)
}
