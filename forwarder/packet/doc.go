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
//  1. Decode checks the virtio header, Ethernet, one VLAN tag, IPv4 or IPv6 with its extension headers, and TCP, UDP,
//     ICMP or ICMPv6, every length once; after Kept no method can fail. It trims Ethernet padding, clears what the
//     outgoing link must not see (DATA_VALID, stale fields), and gives every super-packet a partial checksum, so that
//     the rest need not ask.
//  2. The worker decides by the fields: EtherType, Tagged, Version, Src, SrcPort, TTL, WireLen.
//  3. SetMACs, DecrementTTL, ClampMSS and MarkCE change fields of either version, and of IPv4 SetSrc, SetDst and, for
//     ICMP errors, SetEmbeddedSrc and SetEmbeddedDst addresses and ports; checksums follow by their difference
//     (RFC 1624), so that one that was wrong stays wrong.
//  4. Cut keeps the first segments of a super-packet when not all of it may pass now; Rest turns the buffer into
//     the others once these are sent.
//  5. Segment, Fragment (IPv4) and FinishChecksum make what a port without offloads, or with a smaller MTU, can carry;
//     a [Merger] makes super-packets of what came without them.
//
// # IPv6 and VLAN tags
//
// An IPv6 packet is told by Version, never by its addresses: these stay in Raw, Src and Dst are 0, and what is for IPv4
// alone does nothing to it. Proto is what the chain of extension headers ends with; more than 8 of them, a hop-by-hop
// header that is not the first, a first fragment without the whole chain (RFC 7112), a jumbogram and a chain that is
// longer than the packet are Malformed, a routing header of type 0 is SourceRouted. A tag moves L3 by 4, and EtherType is
// what is behind it; offsets in the virtio header count from Ethernet and so the tag in.
//
// # What it does not do
//
// It does not reassemble, follow connections, build new packets, translate IPv6, or parse ARP, a second VLAN tag and the
// options in extension headers: Decode keeps such frames with their EtherType for the caller to judge. It does not verify
// TCP and UDP checksums on the way in: the receiver does.
package packet
