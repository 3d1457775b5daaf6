package forwarder

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const recentPlaces = 4096

// What is remembered of a station.
const (
	kindMAC = 1 + iota
	kindIPv4
	kindIPv6
	kindRouter6
)

// recent is a table of hashes with the second in which each was last heard; a newer one
// takes the place of another. All workers write to it.
type recent struct {
	seed   uint64
	places [recentPlaces]atomic.Uint64 // 48 bits of a hash, and the second
}

func (o *recent) key(kind, hi, lo uint64) uint64 {
	a, b := bits.Mul64(lo^o.seed, 0x9e3779b97f4a7c15)
	a, b = bits.Mul64(a^b^hi^kind<<56, o.seed|1)
	return (a ^ b) * 0xff51afd7ed558ccd
}

func (o *recent) note(key uint64, now time.Duration) {
	o.places[key%recentPlaces].Store(key&^0xffff | uint64(uint16(now/time.Second)))
}

func (o *recent) has(key uint64, now, last time.Duration) bool {
	v := o.places[key%recentPlaces].Load()
	return v != 0 && (v^key)>>16 == 0 && time.Duration(uint16(now/time.Second)-uint16(v))*time.Second < last
}
