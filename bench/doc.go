// Bench measures gatewayd beside the kernel doing the same job, in one run.
//
// A side is a gateway with a lab of its own: three network namespaces, joined by
// veth with the offloads it comes with, or with none.
//
//	client 10.10.0.2 ── eth1 gateway eth0 ── 203.0.113.1 server
//	                10.10.0.1     203.0.113.2
//
// The sides are
//
//   - the kernel hotspot: nft masquerade, a set of clients with a counter each,
//     everybody else dropped, and one HTB class per client and direction at 100
//     Gbit/s with burst 1m, cburst 1m and a pfifo of 1000 packets;
//   - the same with stock HTB: 10 Gbit/s and HTB's own burst;
//   - kernel NAT: masquerade and counters;
//   - gatewayd: the real binary, NAT, each client with a plan at 100 Gbit/s, which
//     is billed.
//
// Where clients are held to plans that are reached, the sides are gatewayd, the
// kernel hotspot with HTB at the plans' rates (rate and ceil, HTB's own burst, a
// pfifo of 1000 packets; what all have together is a class above, and a client's
// rate is its share by weight), and nft's policer: masquerade, the set of clients
// and, for each client and direction, "limit rate over" the plan, which drops. Its
// bucket holds a second of the rate and a burst: nft has it so.
//
// As a bridge (mode: bridge) gatewayd stands beside itself as a route, in the same
// run: on the bridge the server has an address in the clients' network, too, and is
// their default route. Wanted is at least as much as the route has.
//
// A trial is one thing done on each side; it gives one figure or more, and differs
// from another trial in one factor: flows, size of packets, offloads, clients. How a
// run goes:
//
//  1. Settings (one client; offloads off; 64 clients; 10,000 clients; a bridge) follow each
//     other. All labs of a setting are made before it is measured; the sides that
//     are not measured are idle. gatewayd's clients are made through its API.
//  2. A repeat makes every trial on one side after the other, gatewayd between the
//     kernels, and the next repeat in the other order, so that what else happens on
//     the machine meets all. A ratio is of two runs that follow each other.
//  3. What arrives is counted at the far ends by a program on the client's and
//     the server's interface (TCX), in IPv4 packets and layer-3 bytes as they
//     are on the wire: a super-packet counts as the packets it becomes. The
//     server's also sends back what opens a flow, the client's marks which flow was
//     answered.
//  4. A run counts only when it is proven. The kernel: client set, masquerade and
//     class were hit, the class by at least what arrived. gatewayd: the bills
//     are what arrived, to the byte, plus what its ports dropped after taking it;
//     below saturation nothing got lost and every client's bill is what it sent. A
//     run without proof is void and made again, a few times.
//  5. So is a kernel's run with less than 80 % of what the kernel usually has on
//     this kind of machine; where it never has more, the figure is shown as void.
//  6. Median, minimum and maximum of the repeats go into a table, a JSON file and
//     a page with plots. The exit code is 0 only if every figure has all its
//     proven rounds.
//
// A plan is filled by TCP flows that are connected before the first sends, and
// reset at the end. For a second before them and while it is measured, the client
// pings the server every 20 ms; what a ping takes longer is its percentile beside the
// median of the idle second, and what the pings take is a part of the plan. What is
// delivered is layer 3 at the far end's port, headers, pings and what TCP sends
// again included, from 2 s after the flows began. What still waits is let go after
// it was measured, so that it can be billed. Of several clients, each is counted
// for itself at the far end, and its own bill must be that. Clients beside the first
// speak by its port: a program on it (TCX) gives their frames their MACs. These
// trials are made once, in runs of 10 s; with -shaping there are all, in runs of
// 20 s: each rate up and down, with offloads and without, plans that change while
// they are filled, ECN, and 10,000 plans beside 10 with the same sum, each offered
// 15 % more than it has. Their wanted values are gatewayd's own, whatever the
// kernel does beside it; CPU of gatewayd is that of all its processes, in ticks of
// 10 ms.
//
// Sender, gateway and receiver share the machine's cores, on all sides alike. The
// sender of UDP is one thread on the last core; it changes addresses and ports from
// packet to packet, whether or not there are several. Where it sends as fast as
// it can, the kernel's ports receive on the other cores (RPS), as real ports would;
// else the kernel forwards on the sender's core and has half of what it can. New
// flows are opened with at most 512 waiting for their answer, and what waits for
// 20 ms is sent again. CPU is the whole machine's, from /proc/stat, sender included.
// TCP uses CUBIC (RFC 9438), what most senders have, and not what this machine
// happens to be set to; -congestion takes another.
//
// A flood can be offered in two ways: by sendmmsg on an AF_PACKET socket, and by an
// AF_XDP socket that only sends, in copy mode, which costs a third less a frame.
// Which one a side carries more of depends on the side, since the receiving port's
// work is done in the sender's context and what a side cannot carry costs it
// something too. So each side is offered what it carries best: before its first run
// of a flood both are tried for 0.2 s, and all its runs have the one of which more
// was delivered. In a quick run a choice holds for the same flows in other settings.
// The report has what each try gave. Both senders hold back at what the send buffer
// lets be on its way, less than a core that receives for another queues.
//
// Bench does not tune the machine, does not pin a gateway, and does not judge: a
// missed target is shown and is no failure.
package main
