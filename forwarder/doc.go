// Package forwarder is the packet path: it moves frames between the LAN port,
// the WAN port and the host link, knows whose packet each one is, holds each
// client to its grant and its rate, and counts every byte once.
//
// # Nouns
//
// A Forwarder owns its links, the translations and its half of the client
// table (package clients). It runs on one goroutine and takes no lock. A Crew is the
// Forwarders of one box, its workers; each client has one of them.
//
// A step looks at one frame and says Kept (the next step is asked), Taken (the
// frame is dealt with aside) or a Reason to drop it, which is a counter. Steps
// run on the forwarder's goroutine, do not block and keep no part of a batch.
//
// # The life of a packet
//
// path.go holds the one list. Up, from the LAN:
//
//	decode ▸ resolve ▸ identify ▸ local ▸ admit ▸ route ▸ pace ▸ quota ▸ translate ▸ send
//
// Down, from the WAN, is the mirror:
//
//	decode ▸ resolve ▸ restore ▸ admit ▸ route ▸ pace ▸ quota ▸ send
//
// In bridge mode, where one network is on both sides and nothing is translated:
//
//	decode ▸ sift ▸ identify ▸ toBox ▸ admit ▸ fit ▸ pace ▸ quota ▸ send
//	decode ▸ sift ▸ find ▸ admit ▸ fit ▸ pace ▸ quota ▸ send
//
// The box's own packets, from the host link, are exempt and neither admitted
// nor limited. Sent frames wait in one batch a port, in which wire packets of one
// flow are joined (join.go); what the kernel took of a batch is billed, what it
// refused is not.
//
// A client's packet for the WAN address goes up as far as send, turns round there
// and comes down from restore on (hairpin.go).
//
// A frame of a crowded LAN port may end before decode: who sends more than its
// share then loses the rest (share.go).
//
// A port whose link does not work, by the keeper's word, is sent nothing: the
// kernel would take the frames, and lose them.
//
// # A byte limit to the byte
//
// A client's packets are tested against used + in flight. When one does not
// fit, everything in flight is sent first, so that the test is exact; then a
// super-packet is cut to the wire packets that fit. The first packet that
// does not fit ends the grant: it is dropped if what follows has too little
// left for the rest of it, else it is charged to both and passes.
//
// # What it does not do
//
// It opens no port, knows no session, writes no file, resolves no name and
// logs nothing per packet. ARP and ICMP errors are built by gopacket, off the
// fast path and rate limited.
package forwarder
