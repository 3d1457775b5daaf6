package packet

import "math/bits"

// TCP options (RFC 9293, RFC 7323).
const (
	optionEnd    = 0
	optionNop    = 1
	optionMSS    = 2
	optionWScale = 3
)

// tcpOption returns the offset in Raw of the first option of that kind and exact length; 0 if there is none before the
// list ends or makes no sense.
func (p *Packet) tcpOption(kind uint8, length int) int {
	for at := p.L4 + tcpLen; at < p.Payload; {
		switch p.Raw[at] {
		case optionEnd:
			return 0
		case optionNop:
			at++
			continue
		}
		if at+2 > p.Payload {
			return 0
		}
		n := int(p.Raw[at+1])
		if n < 2 || at+n > p.Payload {
			return 0
		}
		if p.Raw[at] == kind && n == length {
			return at
		}
		at += n
	}
	return 0
}

// ClampMSS lowers the maximum segment size that a SYN or SYN-ACK announces to limit bytes; it never raises it and
// never adds the option.
func (p *Packet) ClampMSS(limit uint16) {
	if p.Proto != TCP || p.Flags&SYN == 0 || p.FragOffset != 0 {
		return
	}
	at := p.tcpOption(optionMSS, 4)
	if at == 0 {
		return
	}
	value := p.Raw[at+2:]
	was := get16(value)
	if was <= limit {
		return
	}
	put16(value, limit)
	if p.Partial() {
		return
	}
	if (at-p.L4)&1 != 0 { // its bytes lie in two words: the sum sees them swapped
		was, limit = bits.ReverseBytes16(was), bits.ReverseBytes16(limit)
	}
	adjust(p.Raw[p.L4+tcpChecksumAt:], difference16(was, limit))
}
