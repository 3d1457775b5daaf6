package forwarder

// maxParts is how many parts of a packet are told apart. Fragments in order are
// one, 45 of 1480 bytes drawn by chance 11 or so at once.
const maxParts = 16

// part is a piece of a packet's payload, bytes from its beginning.
type part struct{ from, to uint16 }

// passed is which parts of a fragmented packet have passed, as RFC 815 keeps the
// holes: a fragment that comes twice, or overlaps another, counts once. A part that
// finds no room is not noted, so that its packet never seems complete too early.
type passed struct {
	parts [maxParts]part // in order, with holes between them
	count uint8
	end   uint16 // of the payload, as the last fragment said; 0: it has not passed
}

// note adds a fragment and says whether all of its packet has passed.
func (p *passed) note(fr *frame) (all bool) {
	from := fr.FragOffset
	to := from + uint16(len(fr.Raw)-fr.L4) // 65535 at most: Decode saw to it
	if !fr.MoreFragments {
		p.end = max(p.end, to)
	}
	if from < to {
		p.add(part{from, to})
	}
	return p.end != 0 && p.parts[0].from == 0 && p.parts[0].to >= p.end
}

// add puts a part in its place, in one with those that it touches.
func (p *passed) add(v part) {
	n := int(p.count)
	first := 0
	for first < n && p.parts[first].to < v.from {
		first++
	}
	behind := first
	for ; behind < n && p.parts[behind].from <= v.to; behind++ {
		v.from, v.to = min(v.from, p.parts[behind].from), max(v.to, p.parts[behind].to)
	}
	if first == behind && n == maxParts {
		return
	}
	rest := p.parts // as they were
	copy(p.parts[first+1:], rest[behind:n])
	p.parts[first] = v
	p.count = uint8(first + 1 + n - behind)
}
