// Package clients is the seam between the forwarder, which meets packets, and
// control, which decides about people: one fixed-layout table in shared memory.
//
// # Nouns
//
// A slot is a client: its MAC and IPv4 address (the binding), a generation
// that rises each time the slot is given to another client, and four grant
// records. Slot 0 is the box itself: exempt, never granted, never reused.
//
// A worker is one thread of the forwarder. A hash of a client's MAC says whose it is
// (Spread). Each slot has one worker for ever, its owner, and control gives a client
// a slot of its worker's: what the forwarder writes there has one writer, with
// nothing to be handed over. There are spare slots for that (SlotsFor). A client
// that is given another MAC keeps its slot, and its worker.
//
// A grant is a permission to pass: a byte limit, a duration, an expiry and a
// pair of rates. Grants of a slot are numbered from 1 and used in sequence;
// the grant with sequence n lives in record n mod 4.
//
// The policy generation of a slot is raised by control after it changed
// anything about the slot; the forwarder reads the slot anew and acknowledges
// by storing the same number. What control decided then holds for the next
// packet.
//
// A capture has one client's frames copied into rings, one a worker, that control
// reads. There are four at most.
//
// A sighting is the forwarder's word to control that it met somebody: an
// unknown MAC, a known MAC with another address, a client without a grant.
//
// # Who writes what
//
// Every field has one writer: the keeper, control or a worker of the forwarder.
// Layout.go says which, with the unit. All fields that change while two processes look
// are 64-bit atomics on multiples of 8, so that ARMv7 reads them whole.
//
// # The life of a grant
//
//  1. Control fills a free record and stores its sequence last, then raises
//     the slot's published sequence and its policy generation.
//  2. The forwarder takes the record in: it clears its own half and stores
//     the sequence as taken. Its counters are valid from then on.
//  3. The grant becomes active when the one before it has ended; started is
//     stored. Packets that the kernel took raise the counters.
//  4. It ends at its byte limit, its duration, its expiry or because control
//     revoked it: ended and reason are stored, the next one goes on.
//  5. Control reads the final counters, has them on disk, and raises saved.
//     Only then may record n serve sequence n+4.
//
// The table is the truth. Bells only wake: a lost ring costs time, never a
// decision. Everything control knows of running clients can be rebuilt by
// scanning the table, and so can everything the forwarder knows.
//
// # What it does not do
//
// It does not decide, allocate slots, forward or wait. It does not look into
// the NAT region; it only carries it.
package clients
