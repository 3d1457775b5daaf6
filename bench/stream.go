package main

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// smallFrame is the shortest Ethernet frame without its check sequence; with it
// 64 bytes.
const smallFrame = 60

// Where the parts of a stream's frames begin.
const (
	atIP      = 14
	atUDP     = 34
	atPayload = 42 // begins with the flow's number, 32 bits
)

// farNet is where the remotes of a stream with several of them begin: addresses
// behind the server, in the benchmarking prefix (RFC 2544).
const farNet = "198.18.0.1"

// A stream is UDP packets of many flows. Packet n belongs to flow n % flows; flow f
// to mapping f % mappings with remote f / mappings; mapping m to client m %
// clients, whose source ports count up from first.
type stream struct {
	clients  int // how many send
	mappings int // sources: a client's address and port
	remotes  int // of each mapping; 1: the server itself
	first    uint16
	port     uint16 // the remotes'
	size     int    // of a frame, bytes
}

// single is a stream of one flow that nobody has seen.
func single(size int) stream {
	return stream{clients: 1, mappings: 1, remotes: 1, first: newPort(), port: discard, size: size}
}

func (s stream) flows() int { return s.mappings * s.remotes }

// wire is the layer-3 length of a packet, bytes.
func (s stream) wire() int { return s.size - atIP }

// sentBy is how many of the first sent packets were one client's.
func (s stream) sentBy(client int, sent uint64) uint64 {
	turns, rest := sent/uint64(s.flows()), int(sent%uint64(s.flows()))
	count := func(flows int) (n uint64) { // of the client among the first flows
		all, last := flows/s.mappings, flows%s.mappings
		per := func(mappings int) uint64 { return uint64((mappings + s.clients - 1 - client) / s.clients) }
		return uint64(all)*per(s.mappings) + per(last)
	}
	return turns*count(s.flows()) + count(rest)
}

// A mould makes the frames of a stream.
type mould struct {
	stream
	from     uint32 // the first client
	far      uint32 // the first of several remotes
	server   uint32
	ip, udp  uint32 // sums over what is the same in all frames
	original []byte
}

// mould makes the part of the frames that is the same, for a gateway's MAC.
func (s stream) mould(to net.HardwareAddr) *mould {
	b := make([]byte, s.size)
	be := binary.BigEndian
	copy(b, to)
	be.PutUint16(b[12:], 0x0800)
	b[atIP], b[atIP+8], b[atIP+9] = 0x45, 64, 17
	be.PutUint16(b[atIP+2:], uint16(s.wire()))
	be.PutUint16(b[atIP+6:], 0x4000) // don't fragment
	be.PutUint16(b[atUDP+2:], s.port)
	be.PutUint16(b[atUDP+4:], uint16(s.size-atUDP))
	for i := atPayload + 4; i < s.size; i++ {
		b[i] = byte(i)
	}
	number := func(text string) uint32 { a := netip.MustParseAddr(text).As4(); return be.Uint32(a[:]) }
	return &mould{stream: s, original: b, from: number(clientIP), far: number(farNet), server: number(serverIP),
		ip: uint32(sum(b[atIP:atUDP], 0)), udp: uint32(sum(b[atUDP:], 17+uint32(s.size-atUDP)))}
}

// write makes a frame of flow f out of a copy of the original.
func (t *mould) write(b []byte, f int) {
	be := binary.BigEndian
	m, r := f%t.mappings, f/t.mappings
	client := m % t.clients
	src, dst := t.from+uint32(client), t.server
	if t.remotes > 1 {
		dst = t.far + uint32(r)
	}
	port := t.first + uint16(m/t.clients)
	if client == 0 {
		copy(b[6:], "\x02\x00\x00\x00\x00\x0c")
	} else {
		copy(b[6:], "\x02\x00\x00\x01")
		be.PutUint16(b[10:], uint16(client))
	}
	be.PutUint32(b[atIP+12:], src)
	be.PutUint32(b[atIP+16:], dst)
	be.PutUint16(b[atUDP:], port)
	be.PutUint32(b[atPayload:], uint32(f))
	addresses := src>>16 + src&0xffff + dst>>16 + dst&0xffff
	be.PutUint16(b[atIP+10:], ^fold(t.ip+addresses))
	check := ^fold(t.udp + addresses + uint32(port) + uint32(f)>>16 + uint32(f)&0xffff)
	if check == 0 {
		check = 0xffff // RFC 768: zero means none
	}
	be.PutUint16(b[atUDP+6:], check)
}

// sum is the ones' complement sum of RFC 1071 over an even number of bytes and
// what was summed before.
func sum(b []byte, s uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	return fold(s)
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
