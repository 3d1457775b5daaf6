// Package packet reads and rewrites the headers of one frame in place. It allocates nothing, keeps nothing, and
// asks nobody: bytes in, the same bytes out.
//
// # Nouns
//
// A frame is one []byte: the 10 bytes of struct virtio_net_hdr (little-endian, no num_buffers), then Ethernet. A
// [Packet] is a frame that was decoded: offsets and values a worker needs, and the frame itself. A super-packet is
// a frame whose virtio header says that it stands for several wire packets (segments) with the same headers. A
// checksum is partial when the frame's sender left it to the hardware (NEEDS_CSUM): its field then holds the sum of
// the pseudo-header, not complemented, and whoever sends the frame adds the rest. An [Inner] is the packet quoted
// inside an ICMP error.
//
// # Life of a packet
//
//  1. Decode checks the virtio header, Ethernet, IPv4 and TCP, UDP or ICMP, every length once; after Kept no method
//     can fail. It trims Ethernet padding, clears what the outgoing link must not see (DATA_VALID, stale fields),
//     and gives every super-packet a partial checksum, so that the rest need not ask.
//  2. The worker decides by the fields: EtherType, Src, SrcPort, TTL, WireLen.
//  3. SetSrc, SetDst, SetMACs, DecrementTTL, ClampMSS and, for ICMP errors, SetEmbeddedSrc and SetEmbeddedDst
//     change addresses, ports and fields; checksums follow by their difference (RFC 1624), so that one that was wrong
//     stays wrong.
//  4. Cut keeps the first segments of a super-packet when not all of it may pass now; Rest turns the buffer into
//     the others once these are sent.
//  5. Segment, Fragment and FinishChecksum make what a port without offloads, or with a smaller MTU, can carry.
//
// # What it does not do
//
// It does not reassemble, follow connections, build new packets, or parse IPv6, ARP and VLAN tags: Decode keeps such
// frames with their EtherType for the caller to judge. It does not verify TCP and UDP checksums on the way in: the
// receiver does.
package packet
