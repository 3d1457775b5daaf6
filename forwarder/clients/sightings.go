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

// Sight writes a sighting of a worker; false when its ring is full. Forwarder's
// side.
func (t *Table) Sight(worker int, s Sighting) bool {
	w := &t.hdr.Worker[worker]
	head := w.Head.Load()
	if head-w.Tail.Load() >= sightings {
		w.Lost.Add(1)
		return false
	}
	e := &t.rings[worker][head%sightings]
	e.what.Store(uint64(s.Kind)<<32 | uint64(uint32(s.Slot)))
	e.mac.Store(s.MAC)
	e.ip.Store(uint64(s.IP))
	e.when.Store(int64(s.When))
	w.Head.Store(head + 1)
	return true
}

// Sightings reads what waits into buf and returns how many. Control's side, one
// goroutine. Each call begins with another worker, so that one with much to say
// keeps no other's from being heard.
func (t *Table) Sightings(buf []Sighting) (n int) {
	first := int(t.listened.Add(1) % MaxWorkers)
	for i := range t.rings {
		n += t.sightingsOf((first+i)%len(t.rings), buf[n:])
	}
	return n
}

// sightingsOf reads what waits of one worker.
func (t *Table) sightingsOf(worker int, buf []Sighting) (n int) {
	w := &t.hdr.Worker[worker]
	tail, head := w.Tail.Load(), w.Head.Load()
	if head-tail > sightings { // only a broken writer does that
		tail = head
	}
	for ; n < len(buf) && tail != head; n, tail = n+1, tail+1 {
		e := &t.rings[worker][tail%sightings]
		what := e.what.Load()
		buf[n] = Sighting{
			Kind: Kind(what >> 32),
			Slot: int(uint32(what)),
			MAC:  e.mac.Load(),
			IP:   uint32(e.ip.Load()),
			When: time.Duration(e.when.Load()),
		}
	}
	w.Tail.Store(tail)
	return n
}
