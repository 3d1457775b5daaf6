package packet

import (
	"encoding/binary"
	"math/bits"
)

// Checksum returns the Internet checksum (RFC 1071) of b and of what seed sums up, e.g. a pseudo-header.
func Checksum(b []byte, seed uint32) uint16 {
	return ^fold(sum(b) + fold32(seed))
}

// sum adds up b as 16-bit big-endian words, an odd last byte as if a zero followed; the result is at most 0xffff.
// It loads eight bytes at a time in the machine's usual order: a one's complement sum may be taken in either byte
// order and swapped at the end (RFC 1071, 2B).
func sum(b []byte) uint32 {
	var s, carry uint64
	for len(b) >= 64 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[0:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[32:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[40:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[48:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	if len(b) >= 4 {
		s, carry = bits.Add64(s, uint64(binary.LittleEndian.Uint32(b)), carry)
		b = b[4:]
	}
	if len(b) >= 2 {
		s, carry = bits.Add64(s, uint64(binary.LittleEndian.Uint16(b)), carry)
		b = b[2:]
	}
	if len(b) == 1 {
		s, carry = bits.Add64(s, uint64(b[0]), carry)
	}
	s, carry = bits.Add64(s, 0, carry)
	s += carry
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	return uint32(bits.ReverseBytes16(fold(fold32(uint32(s)))))
}

// fold32 folds s once, to at most 0x1fffe, so that several may be added.
func fold32(s uint32) uint32 { return s>>16 + s&0xffff }

// fold brings a sum to 16 bits, end-around carries included.
func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// difference16 is what a sum gains when the word was becomes is (RFC 1624).
func difference16(was, is uint16) uint32 { return uint32(^was) + uint32(is) }

// difference32 is difference16 for two words.
func difference32(was, is uint32) uint32 {
	return uint32(uint16(^was>>16)) + uint32(uint16(^was)) + is>>16 + is&0xffff
}

// adjust adds a difference to the checksum at field: HC' = ~(~HC + ~m + m') (RFC 1624, equation 3).
func adjust(field []byte, difference uint32) {
	put16(field, ^fold(uint32(^get16(field))+difference))
}

// adjustUDP is adjust for UDP: 0 means that there is no checksum, and a computed 0 is written as 0xffff (RFC 768).
func adjustUDP(field []byte, difference uint32) {
	if get16(field) == 0 {
		return
	}
	adjust(field, difference)
	if get16(field) == 0 {
		put16(field, 0xffff)
	}
}

// adjustPartial adds a difference to the uncomplemented sum at field.
func adjustPartial(field []byte, difference uint32) {
	put16(field, fold(uint32(get16(field))+difference))
}

// pseudoHeader is the sum of p's pseudo-header for a layer 4 of length bytes; of one version's addresses there are none.
func (p *Packet) pseudoHeader(length int) uint32 {
	return p.Src>>16 + p.Src&0xffff + p.Dst>>16 + p.Dst&0xffff + uint32(p.addresses) + uint32(p.Proto) + uint32(length)
}
