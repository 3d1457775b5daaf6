// Package link moves frames between the forwarder and the three kinds of place
// a frame comes from: an Ethernet port (an AF_PACKET socket), the host link (a
// TAP), and, in tests, the other end of a pipe in memory. Descriptors arrive
// opened and configured; this package only reads, writes and closes them.
//
// # Nouns
//
// A frame is one []byte: the 10 bytes of struct virtio_net_hdr in its legacy,
// little-endian form, directly followed by the Ethernet frame. The header says
// what the kernel has not done yet: complete a checksum, cut a super-packet
// into segments of gso_size. A batch is up to [Batch] frames that one call of
// Receive hands over. A link that gave a frame away as taken has given it to
// the kernel, and that is the moment at which a frame is billed.
//
// # Life of a frame
//
//  1. The kernel queues it; FD becomes readable.
//  2. Receive copies it into one of the link's own buffers, which lie outside
//     the Go heap, one per place in the batch. A VLAN tag, which the kernel
//     keeps beside the frame, is put back in front of the EtherType, so that
//     whoever decodes the frame sees it; a priority tag (VLAN 0, IEEE 802.1Q
//     6.9) is no VLAN and stays away.
//  3. The caller rewrites it in place. It belongs to the caller until the next
//     Receive on the same link.
//  4. Send hands it to the kernel of another link, in order, many in one system
//     call. Each frame is either taken or refused; a refused frame is counted
//     by reason and is the caller's loss, never retried here.
//
// # What it does not do
//
// It opens nothing, binds nothing and waits for nothing but, once a Send and at
// most [sendWait], room in a full socket buffer. It looks at no header but its
// own, holds no queue and starts no goroutine. A link belongs to one goroutine;
// only the two ends of a Pipe may be used by two.
//
// # Figures
//
// Kernel 6.18, veth, a relay of one thread between two ports, on two cores
// shared with other work, so that only the comparison counts: 60-byte frames
// cost 3.0 to 3.4 µs each here and 2.8 to 3.0 µs in a C program with the same
// system calls. Bulk TCP reaches 4.7 and 5.9 Gbit/s with one and eight flows
// against 2.5 and 2.8 in that program, which always asks for 64 frames: the batch
// shrinks here when frames are large, so that what was received is still in
// cache when it is sent. Buffers are staggered by an odd number of cache lines,
// since at a stride of a power of two the headers of all frames would fight for
// the same few cache sets.
//
// PACKET_QDISC_BYPASS for small frames gained nothing measurable (158 against
// 157 thousand a second), and where a port has a queue it would let them
// overtake super-packets of their own flow, so there is one path for all.
package link
