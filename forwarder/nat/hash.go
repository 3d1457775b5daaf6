package nat

import "math/bits"

// secret keys the hashes, so that who chooses addresses and ports cannot choose
// where they land.
type secret [4]uint64

// mum folds a 128-bit product, the mixing step of wyhash.
func mum(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash mixes a protocol and two endpoints.
func (s *secret) hash(proto uint8, addr uint32, port uint16, remote uint32, remotePort uint16) uint32 {
	a := uint64(addr)<<32 | uint64(remote)
	b := uint64(proto)<<32 | uint64(port)<<16 | uint64(remotePort)
	return uint32(mum(mum(a^s[0], b^s[1])^s[2], s[3]) >> 16)
}

// flowIn is the hash of a flow as the WAN sees it.
func (s *secret) flowIn(proto uint8, ext Endpoint, remote uint32, remotePort uint16) uint32 {
	return s.hash(proto, ext.Addr, ext.Port, remote, remotePort)
}

// peer is the hash of a mapping and a remote address.
func (s *secret) peer(mapping, remote uint32) uint32 { return s.hash(0, mapping, 0, remote, 0) }

// mapping is the hash of an internal endpoint.
func (s *secret) mapping(proto uint8, addr uint32, port uint16) uint32 {
	return s.hash(proto, addr, port, 0, 0)
}
