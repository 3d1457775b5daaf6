// Bench measures gatewayd beside the kernel doing the same job, in one run.
//
// A side is a gateway with a lab of its own: three network namespaces, joined by
// veth with the offloads it comes with.
//
//	client 10.10.0.2 ── eth1 gateway eth0 ── 203.0.113.1 server
//	                10.10.0.1     203.0.113.2
//
// The two sides are
//
//   - the kernel hotspot: nft masquerade, a set of clients with a counter each,
//     everybody else dropped, and one HTB class per client and direction at 100
//     Gbit/s with burst 1m, cburst 1m and a pfifo of 1000 packets;
//   - gatewayd: the real binary, NAT, one client with a plan at 100 Gbit/s, which
//     is billed.
//
// A figure is one number that both sides have: TCP bulk, small packets
// delivered, round trip. How a run goes:
//
//  1. Both labs are made and stay until the end; the side that is not measured
//     is idle.
//  2. A repeat measures every figure on one side and then on the other, and the
//     next repeat in the other order, so that what else happens on the machine
//     meets both. A ratio is of two runs that follow each other.
//  3. What arrives is counted at the far ends by a program on the client's and
//     the server's interface (TCX), in IPv4 packets and layer-3 bytes as they
//     are on the wire: a super-packet counts as the packets it becomes.
//  4. A run counts only when it is proven. The kernel: client set, masquerade and
//     class were hit, the class by at least what arrived. gatewayd: the bill is
//     what arrived, to the byte, plus what its ports dropped after taking it. A
//     run without proof is void; its pair is repeated, a few times.
//  5. Median, minimum and maximum of the repeats go into a table, a JSON file and
//     a plot. The exit code is 0 only if every figure has all its proven pairs.
//
// Sender, gateway and receiver share the machine's cores, on both sides alike.
// The sender of small packets is one thread on the last core. TCP uses CUBIC (RFC
// 9438), what most senders have, and not what this machine happens to be set to;
// -congestion takes another.
//
// Bench does not tune the machine, does not pin a gateway, and does not judge: a
// missed target is shown and is no failure.
package main
