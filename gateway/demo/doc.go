// Package demo shows in under a minute that a gateway does what it claims,
// with real packets and with the program itself as it is run anywhere else.
//
// # Nouns
//
// The network is three namespaces and two cables:
//
//	client ──── gateway ──── internet
//	10.10.0.2   10.10.0.1    203.0.113.1
//	            203.0.113.2  198.51.100.80 (a web server, one hop on)
//
// A far end is the client's or the internet's end of its cable. A witness
// captures every packet at a far end and counts it in layer-3 bytes, a
// super-packet as the wire packets it stands for; it shares no code with the
// gateway. A span is what a witness counted during a part of the demo. A claim
// is one thing the gateway promises, a way to try it, and what the witnesses
// must have seen.
//
// # Life of a demo
//
//  1. The namespaces are made; /run/netns gets a name for each, so that a
//     person can look in.
//  2. `gatewayd run` is started in the middle one, with a config, a store and a
//     socket of its own in a new directory.
//  3. The claims are tried in order: the demo sells plans, connects and
//     disconnects over the gateway's socket, and sends traffic.
//  4. All is taken down. The namespaces have no other holder than the demo's
//     own descriptors, and the gateway gets SIGTERM when the demo's process
//     ends, so that even a killed demo leaves no process and no namespace; the
//     directory and the names that it leaves are removed by the next demo.
//
// # What counts as proof
//
// Only what the far ends saw. What the gateway says is used to drive it, and
// is itself compared in the claim about the bill. A capture that lost a packet
// proves nothing, so the claim fails.
//
// It does not measure how fast the gateway is; that is bench's.
package demo
