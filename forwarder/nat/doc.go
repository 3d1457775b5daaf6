// Package nat knows who is behind which port: it turns a client's address and
// port into a port of an external address and back (NAT44, RFC 3022).
//
// # Nouns
//
// A mapping is (protocol, internal address, internal port or query id) → an
// external address and port; as long as ports last it is the same for every remote
// (endpoint-independent, RFC 4787 REQ-1). A flow is a mapping with one remote
// (address and port). A mapping lives as long as it has a flow. A peer is a
// mapping with a remote address: who may send to the mapping. A client is a
// slot and its generation, as handed in; slot 0 is the box itself and has no
// caps. An owner is the worker that holds a slice of each external address's ports.
// A place, one of 16, is where an external address has its ports.
//
// # Life of a flow
//
//  1. Out looks the internal five-tuple up. A hit is one probe of a hash, one
//     64-byte entry: the segment moves the TCP state, a new second moves
//     last-seen, the external address and port are the answer.
//  2. A miss opens a flow, under the client's caps and the table's size. The
//     mapping is found, or made with a port drawn at random from the free ones of
//     the client's external address: the same for all mappings that a client has
//     (paired pooling, RFC 4787 REQ-2), and that with the fewest in use for one that
//     had none. When a slice has no TCP port left, one in use is shared as long as
//     the external five-tuple stays unique; no port of another address serves instead.
//  3. In looks the external five-tuple up. On a miss, a mapping that has sent
//     to this remote address lets any of its ports in, and a flow is opened,
//     under the same caps: that is Filtering ByAddress; AnyRemote lets in
//     everybody, ByAddressAndPort nobody. Until the client sends to it such a
//     remote is a guest: no peer, and a filter that changes counts for it, too.
//     TCP opens only with a SYN. A shared port lets in exact five-tuples only. A remote that
//     is an external address itself is a client that came back by a hairpin;
//     it reaches every mapping, however it filters (RFC 4787 REQ-9, RFC 5382 REQ-8): the WAN side
//     drops the own address as a source before it gets here.
//  4. TCP: opening (transitory timer) → established once each side's SYN was
//     acknowledged by the other → closing once both FINs were seen (transitory
//     timer). An RST inside the receiver's window starts the transitory timer
//     as well; one outside changes nothing; the client's next segment after it
//     takes the flow back (RFC 6146 section 3.5.2.2). A stream whose SYN was
//     never seen (the box was rebooted) is opened by the client's first
//     segment, unless that is an RST, and established by the answer.
//  5. Only outbound packets refresh, so that nobody outside keeps a port open
//     (RFC 4787 REQ-6). A flow that is let in inherits last-seen from
//     its peer, or from its mapping where the filter does not go by peers. ICMP errors look up and do nothing else (RFC 5508 REQ-3, 4).
//  6. Expire walks a wheel of seconds, a bounded number of entries a call.
//     Refreshing never touches the wheel; a flow found early is put back.
//     Inbound lookups treat what has run out as gone even before that.
//  7. The last flow gone, the port rests for 120 s (RFC 6888 REQ-8), except a
//     TCP port whose flows were seen to close, and ICMP query ids.
//
// # External addresses that change
//
// SetExternals replaces them at any time. An address that went away has no inbound
// packet any more; its clients take another with their next packet, which ends
// what they had there first, and what else is left ends in parts, by a look at all
// entries. Its place, with the rests of its ports, waits for it until another
// address needs a place. If it comes back before all is swept, the rest goes on.
//
// # Memory
//
// Flows lie in the memory handed to Attach, in fixed entries that count only
// while their commit word, a checksum over what never changes in a flow,
// fits. It is written last and cleared first, so a process killed between any
// two stores leaves the flow or no flow. Mappings are what the flows say;
// they, the hashes, lists, wheel and port pools are private and rebuilt by
// Attach from the entries used so far. When ports rest is kept in the handed-in
// memory too. Untouched pages stay untouched.
//
// # What it does not do
//
// It sees no packet bytes, keeps no fragments, sends no ICMP, drops nothing
// for being out of a TCP window, evicts nobody when full (RFC 6888 REQ-11),
// and preserves neither ports nor their parity (RFC 7857 section 7). One
// goroutine owns a Table.
package nat
