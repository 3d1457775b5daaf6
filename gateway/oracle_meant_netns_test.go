//go:build netns

package gateway_test

// difference is where gatewayd does other than the kernel's NAT.
type difference struct {
	why  string // and by which RFC
	ours string // a regular expression: what gatewayd does
}

// meant are the differences from the kernel's NAT that are meant, by case. Two
// more are in all ICMP errors that the gateway makes itself, and not compared:
// the kernel takes over the old TOS bits of the packet, here TOS is 0xc0 whatever
// the packet had (RFC 2474: CS6); and the kernel's have an id and no DF, here they
// are atomic datagrams, with DF and id 0 (RFC 6864, 4.1).
var meant = map[string]difference{
	"a wrong UDP checksum": {"conntrack verifies what comes in; here a wrong checksum stays wrong by RFC 1624, for the receiver to judge (RFC 1122, 4.1.3.4)",
		`(?s)server gets .* checksum wrong.*client gets .* checksum wrong`},
	"an IHL of 15": {"the pointer is to the length that is wrong (RFC 792), the kernel's to its option's first octet; and what is of no flow is not answered on the WAN",
		`(?s)2\. from the client:\n   the client gets the gateway's own, [^\n]*: ICMP 12/0, checksum right, [0-9a-f]{2}000000, about .*3\. from the server: nothing comes out`},
	"an option of length 0": {"likewise",
		`(?s)2\. from the client:\n   the client gets the gateway's own, [^\n]*: ICMP 12/0, checksum right, 15000000, about .*3\. from the server:\n   the server gets the gateway's own, [^\n]*: ICMP 12/0, checksum right, 15000000, about `},
	"a record route": {"routes are not recorded, they would tell of addresses behind the translation (RFC 7126, 4.6)",
		`(?s)options 0707040000000000.*options 0707040000000000`},
	"SYN and FIN at once": {"flags are for the hosts to judge (RFC 9293, 3.10.7), and what SYN opens here runs out after 240 s",
		`server gets .* 50032000 options`},
	"to a reserved address": {"240/4 is nobody's to be forwarded to (RFC 6890)",
		`2\. from the client: nothing comes out`},
	"another port of who was asked": {"filtering is address-dependent (RFC 4787 REQ-8), the kernel's is by address and port",
		`2\. from the server:\n   the client gets 198\.51\.100\.1 to 10\.10\.0\.2,.* checksum right, 16 octets`},
	"too big for any link": {"no link has an MTU below 68 (RFC 791): such an error is ignored (RFC 1191, section 7.3)",
		`3\. from the server: nothing comes out`},
	"a timestamp": {"its id is drawn as an echo's is, the kernel keeps it if it can",
		`the server gets 203\.0\.113\.2 to 198\.51\.100\.1, .*: ICMP 13/0, checksum right`},
	"small fragments with DF": {"fragments pass as they came, with DF; the kernel puts them together and cuts them anew, without (RFC 791)",
		`(?s)server gets .*TTL 63, DF: UDP .* in fragments, all there.*client gets .*TTL 63, DF: UDP .* in fragments, all there`},
	"a large MSS": {"what a SYN and its answer announce is lowered to MTU - 40 (RFC 6691), the kernel does so only by a rule",
		`(?s)server gets .* options 0204055001030307, checksum right.*client gets .* options 02040550, checksum right`},
}
