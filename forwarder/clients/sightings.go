package clients

import "time"

// Kind says what the forwarder saw.
type Kind uint8

const (
	UnknownMAC Kind = 1 + iota // no slot has this MAC
	NewAddress                 // the slot's MAC with an address that is not its binding
	NoGrant                    // a bound client without a grant sent a packet: at once, then every 30 s
)

// Sighting is the forwarder's word to control about a client.
type Sighting struct {
	Kind Kind
	Slot int    // for NewAddress and NoGrant
	MAC  uint64 // 48 bits, first octet highest
	IP   uint32 // the address it used, big-endian value; 0: none
	When time.Duration
}

// Sight writes a sighting; false when the ring is full. Forwarder's side.
func (t *Table) Sight(s Sighting) bool {
	head := t.hdr.Head.Load()
	if head-t.hdr.Tail.Load() >= sightings {
		t.hdr.Lost.Add(1)
		return false
	}
	e := &t.ring[head%sightings]
	e.what.Store(uint64(s.Kind)<<32 | uint64(uint32(s.Slot)))
	e.mac.Store(s.MAC)
	e.ip.Store(uint64(s.IP))
	e.when.Store(int64(s.When))
	t.hdr.Head.Store(head + 1)
	return true
}

// Sightings reads what waits into buf and returns how many. Control's side.
func (t *Table) Sightings(buf []Sighting) int {
	tail, head := t.hdr.Tail.Load(), t.hdr.Head.Load()
	if head-tail > sightings { // only a broken writer does that
		tail = head
	}
	n := 0
	for ; n < len(buf) && tail != head; n, tail = n+1, tail+1 {
		e := &t.ring[tail%sightings]
		what := e.what.Load()
		buf[n] = Sighting{
			Kind: Kind(what >> 32),
			Slot: int(uint32(what)),
			MAC:  e.mac.Load(),
			IP:   uint32(e.ip.Load()),
			When: time.Duration(e.when.Load()),
		}
	}
	t.hdr.Tail.Store(tail)
	return n
}
