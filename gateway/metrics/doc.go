// Package metrics is what a Prometheus sees of the gateway: GET /metrics in its
// text format.
//
// Counters of the packet path are read from the table at each scrape (package
// clients), all of one moment, and go on over restarts of forwarder and
// control. They balance, in packets and in layer-3 bytes; a super-packet counts
// as the packets it becomes:
//
//	received + hairpin + own + added = transmitted + hairpin + dropped + queued + local
//	transmitted + hairpin = billed + exempt + own
//
//	received     sum of gateway_bytes_total{direction="rx"} over lan, wan and host
//	hairpin      gateway_hairpin_bytes_total: from client to client by the WAN address,
//	             sent and received once more without a port
//	own          gateway_own_bytes_total: ICMP errors, and what asks for an address by DHCP; the gateway's ARP is not layer 3
//	added        gateway_added_bytes_total: headers of fragments
//	transmitted  sum of gateway_bytes_total{direction="tx"}; what is for the rest of
//	             the box is port="host"
//	dropped      sum of gateway_drop_bytes_total over all reasons
//	local        gateway_local_bytes_total: what DHCP servers on the WAN answer the gateway
//	queued       gateway_queued_bytes: waiting for a client's rate, a next hop or a first fragment
//	billed       gateway_billed_bytes_total
//	exempt       gateway_exempt_bytes_total: the box's own traffic and clients' with it; of a bridge what is for
//	             many, and DHCP and neighbour discovery
//
// What waits for its client's rate, and what became of it, is told by the direction
// of the client, up or down:
//
//	gateway_queue_delay_seconds       histogram: how long what waited did so, as it leaves
//	gateway_queue_drop_delay_seconds  histogram: likewise of what was dropped there; its
//	                                  count is how many were
//	gateway_marked_packets_total      told to slow down by a mark in place of a drop
//
// With mode: route there is gateway_nat_…, of what is translated; with mode: bridge in its
// place
//
//	gateway_bridge_looped       1 while nothing passes, since LAN and WAN are joined elsewhere, too
//	gateway_bridge_loops_total  how often they were found to be
//
// What it does not do: it has no label that names a client, knows no history,
// and does not ask who is asking. It never touches the disk or the packet path.
package metrics
