package clients

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// AddressesEach bounds the IPv6 addresses of a client: link-local, stable, and temporary
// ones of a few days.
const AddressesEach = 16

// Addresses6 are the IPv6 addresses that a bridge's client was heard from, 512 bytes.
// Written by the forwarder.
type Addresses6 struct {
	writes atomic.Uint64 // odd while one is under way
	of     atomic.Uint64 // generation of the client that they are of
	at     [AddressesEach]address6
	_      [14]uint64
}

// address6 is one of them.
type address6 struct {
	hi, lo atomic.Uint64
	heard  atomic.Int64 // ns since boot; 0: there is none here
}

// Clear begins with none, of a slot's client of a generation. Forwarder's side.
func (a *Addresses6) Clear(generation uint32) {
	a.write(func() {
		a.of.Store(uint64(generation))
		for i := range a.at {
			a.at[i].heard.Store(0)
		}
	})
}

// Set says that a packet came from an address at now (since boot); what was at i before
// is forgotten. Forwarder's side.
func (a *Addresses6) Set(i int, hi, lo uint64, now time.Duration) {
	a.write(func() {
		a.at[i].hi.Store(hi)
		a.at[i].lo.Store(lo)
		a.at[i].heard.Store(max(int64(now), 1))
	})
}

// write counts a write. A forwarder that was killed in the middle of one has left an odd
// number, from which the next goes on.
func (a *Addresses6) write(change func()) {
	odd := a.writes.Load() | 1
	a.writes.Store(odd)
	change()
	a.writes.Store(odd + 1)
}

// At is the address at i, and when a packet last came from it, since boot; 0: there is
// none. Forwarder's side.
func (a *Addresses6) At(i int) (hi, lo uint64, heard time.Duration) {
	from := &a.at[i]
	return from.hi.Load(), from.lo.Load(), time.Duration(from.heard.Load())
}

// Sound says whether they are those of a slot's client of a generation, and none is half
// written by a forwarder that died. Forwarder's side.
func (a *Addresses6) Sound(generation uint32) bool {
	return a.writes.Load()&1 == 0 && uint32(a.of.Load()) == generation
}

// Heard6 is an IPv6 address that a client was heard from.
type Heard6 struct {
	Address netip.Addr
	Last    time.Duration // since boot; to ten seconds
}

// looks6 is how often they are read until no write falls in between: writes of one
// client's come a hundred a second at most.
const looks6 = 100

// Heard returns them, the last heard first; none if they are of another generation of the
// slot's client, or a forwarder died while it wrote.
func (a *Addresses6) Heard(generation uint32) []Heard6 {
	for range looks6 {
		before := a.writes.Load()
		all := make([]Heard6, 0, AddressesEach)
		if uint32(a.of.Load()) != generation {
			return nil
		}
		for i := range a.at {
			from := &a.at[i]
			if last := from.heard.Load(); last != 0 {
				var b [16]byte
				binary.BigEndian.PutUint64(b[:], from.hi.Load())
				binary.BigEndian.PutUint64(b[8:], from.lo.Load())
				all = append(all, Heard6{netip.AddrFrom16(b), time.Duration(last)})
			}
		}
		if before&1 == 0 && a.writes.Load() == before {
			slices.SortFunc(all, func(a, b Heard6) int {
				return cmp.Or(cmp.Compare(b.Last, a.Last), a.Address.Compare(b.Address))
			})
			return all
		}
	}
	return nil
}
