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
//  1. The kernel writes it into the next slot of the port's receive ring; FD
//     becomes readable. A frame longer than a slot, a super-packet, it queues on
//     the socket as well, and marks the slot.
//  2. Receive hands over the slots as they are, and fetches the long frames of
//     the batch by one system call into buffers of its own, outside the Go heap,
//     in their place among the others. A VLAN tag, which the kernel keeps beside
//     the frame, is put back in front of the EtherType, so that whoever decodes
//     the frame sees it; a priority tag (VLAN 0, IEEE 802.1Q 6.9) is no VLAN and
//     stays away, unless the link is a bridge's (KeepPriority).
//     Where the kernel gives a port no ring, where none is wanted, and from when
//     one stands still, Receive is one recvmmsg(2) into those buffers.
//  3. The caller rewrites it in place. It belongs to the caller until the next
//     Receive on the same link, which gives its slot back.
//  4. Send hands it to the kernel of another link, in order, many in one system
//     call: through the port's transmit ring, or by sendmmsg(2) where a frame of the
//     batch is too long for that. Each frame is either taken or refused; a refused frame is counted
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
// Kernel 6.18, veth, two cores shared with other work, so that only the
// comparison counts. 60-byte packets through the whole forwarder cost 2.4 to 2.6
// µs of its CPU each with the ring, 3.4 to 4.6 when recvmmsg(2) copied every
// frame. Bulk TCP is not slower for it: 4.8 to 9.0 Gbit/s with one flow and 7.8
// to 11.3 with four, against 4.1 to 6.6 and 4.2 to 10.9. The batch shrinks when
// frames are large, so that what was received is still in cache when it is
// sent. The buffers of long frames are staggered by an odd number of cache
// lines, since at a stride of a power of two their headers would fight for the
// same few cache sets.
//
// A short frame costs 1.20 to 1.30 µs through the transmit ring, 1.63 to 1.70 by
// sendmmsg(2). PACKET_QDISC_BYPASS gains nothing (1.63 to 1.77), and where a port has
// a queue it would let short frames overtake the super-packets of their own flow.
package link
