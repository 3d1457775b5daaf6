// Package dhcp is the client by which the gateway gets its address on the WAN: DHCP for
// IPv4 (RFC 2131, RFC 2132), and of RFC 5227 the look whether somebody else has it.
//
// # Nouns
//
// A Lease is an address, the network it is in and the router there, for a time. A
// Client is one conversation with whatever servers there are: frames and moments go in,
// frames come out, and the lease that is in force can be seen at any time.
//
// # The life of a lease
//
//  1. Selecting: DISCOVER to everybody until a server offers what can be used.
//  2. Requesting: REQUEST to everybody, naming that server.
//  3. Probing: ARP asks whether somebody has the address. If so, it is declined.
//  4. Bound: it is in force.
//  5. Renewing, from half of its time on: REQUEST to the server that gave it.
//  6. Rebinding, from seven eighths on: REQUEST to everybody.
//  7. At its end, or when a server refuses it, it is in force no more, and all begins
//     with 1.
//
// Rebooting stands for 1 and 2 where a lease is known from before: everybody is asked
// whether it still holds. When nobody answers, it does until its end (RFC 2131, 3.2).
// The same is asked when the cable comes back, meanwhile the lease stays in force.
//
// # What servers and neighbours cannot do
//
// Whatever they say, at most a frame a second leaves on average: a second refusal without
// a renewal in between, an address that somebody has, and one of no use are each followed
// by ten seconds of rest; no lease of less than ten seconds is taken, T1 is five of them
// at least, and an address in force is defended once in ten. Nothing heard is kept but the
// lease, and none is in force after its end. Who sees its questions can still answer them:
// DHCP has no proof of who a server is.
//
// # What it does not do
//
// It opens no socket, reads no clock and starts no goroutine: moments are arguments,
// since boot. It asks for no classless routes (RFC 3442), sends no host name, releases
// nothing at its end, and does not read options from the fields of names (RFC 2132, 9.3).
package dhcp
