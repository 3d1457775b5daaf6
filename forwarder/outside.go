package forwarder

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Who has been heard on the WAN of a bridge: its router above all. Nobody on the LAN
// becomes a client with such a MAC or address, and so takes it from who has it.
const (
	outsidePlaces = 4096
	outsideFor    = 10 * time.Minute // after the last word
	macOutsideFor = time.Minute      // a station may have moved to the LAN
)

// What is remembered.
const (
	kindMAC = 1 + iota
	kindIPv4
	kindIPv6
)

// outside is a table of hashes with the second in which each was last heard; a newer one
// takes the place of another. All workers write to it.
type outside struct {
	seed   uint64
	places [outsidePlaces]atomic.Uint64 // 48 bits of a hash, and the second
}

func (o *outside) key(kind, hi, lo uint64) uint64 {
	a, b := bits.Mul64(lo^o.seed, 0x9e3779b97f4a7c15)
	a, b = bits.Mul64(a^b^hi^kind<<56, o.seed|1)
	return (a ^ b) * 0xff51afd7ed558ccd
}

func (o *outside) note(key uint64, now time.Duration) {
	o.places[key%outsidePlaces].Store(key&^0xffff | uint64(uint16(now/time.Second)))
}

func (o *outside) has(key uint64, now, last time.Duration) bool {
	v := o.places[key%outsidePlaces].Load()
	return v != 0 && (v^key)>>16 == 0 && time.Duration(uint16(now/time.Second)-uint16(v))*time.Second < last
}

// heardOutside notes whose frame came from the WAN; what is 0 is not known.
func (f *Forwarder) heardOutside(mac uint64, ip uint32) {
	o := &f.bridge.shared.outside
	if mac != 0 {
		o.note(o.key(kindMAC, 0, mac), f.now)
	}
	if ip != 0 {
		o.note(o.key(kindIPv4, 0, uint64(ip)), f.now)
	}
}

func (f *Forwarder) heardOutside6(a address6) {
	o := &f.bridge.shared.outside
	o.note(o.key(kindIPv6, a.hi, a.lo), f.now)
}

func (f *Forwarder) isOutside(mac uint64) bool {
	o := &f.bridge.shared.outside
	return o.has(o.key(kindMAC, 0, mac), f.now, macOutsideFor)
}

func (f *Forwarder) isOutsideIP(ip uint32) bool {
	o := &f.bridge.shared.outside
	return ip == f.gateway && ip != 0 || o.has(o.key(kindIPv4, 0, uint64(ip)), f.now, outsideFor)
}

func (f *Forwarder) isOutside6(a address6) bool {
	o := &f.bridge.shared.outside
	return o.has(o.key(kindIPv6, a.hi, a.lo), f.now, outsideFor)
}

// forged says what a frame from the LAN is that does not come from a client's binding, if
// its MAC or its address is somebody's on the WAN; Kept if not.
func (f *Forwarder) forged(fr *frame, known bool) Reason {
	switch {
	case !known && f.isOutside(fr.SrcMAC):
		return Looped
	case fr.Version == 4 && f.isOutsideIP(fr.Src):
		return Spoofed
	}
	return Kept
}
