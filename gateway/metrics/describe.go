package metrics

import "github.com/prometheus/client_golang/prometheus"

// Every metric there is, but those that keep themselves (see New). Names and
// units follow prometheus.io/docs/practices/naming.
var (
	packets   = describe("packets_total", "Packets that a port received or transmitted.", "port", "direction")
	bytes     = describe("bytes_total", "Layer-3 bytes that a port received or transmitted.", "port", "direction")
	drops     = describe("drops_total", "Packets dropped.", "reason")
	dropBytes = describe("drop_bytes_total", "Layer-3 bytes of packets dropped.", "reason")

	billedPackets  = describe("billed_packets_total", "Packets billed to sessions.")
	billedBytes    = describe("billed_bytes_total", "Layer-3 bytes billed to sessions.")
	exemptPackets  = describe("exempt_packets_total", "Packets of the box itself, of clients with it, and of a bridge for many or without a session, billed to nobody.")
	exemptBytes    = describe("exempt_bytes_total", "Layer-3 bytes of the box itself, of clients with it, and of a bridge for many or without a session, billed to nobody.")
	ownPackets     = describe("own_packets_total", "Packets that the gateway made: ICMP errors.")
	ownBytes       = describe("own_bytes_total", "Layer-3 bytes of packets that the gateway made.")
	addedPackets   = describe("added_packets_total", "Fragments beyond the first of each packet.")
	addedBytes     = describe("added_bytes_total", "Layer-3 bytes of headers that fragmenting added.")
	localPackets   = describe("local_packets_total", "Packets for the gateway itself: what DHCP servers on the WAN answer it.")
	localBytes     = describe("local_bytes_total", "Layer-3 bytes for the gateway itself.")
	hairpinPackets = describe("hairpin_packets_total", "Packets from client to client that turned round at the WAN address; on no port, billed to both.")
	hairpinBytes   = describe("hairpin_bytes_total", "Layer-3 bytes from client to client that turned round at the WAN address.")
	queuedPackets  = describe("queued_packets", "Packets that wait for a client's rate, for a next hop, or as fragments for their first.")
	queuedBytes    = describe("queued_bytes", "Layer-3 bytes that wait for a client's rate, for a next hop, or as fragments for their first.")

	queueDelay = describe("queue_delay_seconds", "Time that wire packets which waited for a client's rate did so, as they leave.", "direction")
	dropDelay  = describe("queue_drop_delay_seconds", "Time that wire packets had waited for a client's rate when they were dropped there.", "direction")
	marked     = describe("marked_packets_total", "Wire packets marked with congestion experienced in place of being dropped (RFC 3168).", "direction")
	lineLimit  = describe("bandwidth_limit_bytes_per_second", "What all clients together may have, layer 3; 0: no limit.", "direction")

	refused   = describe("tx_refused_packets_total", "Packets that the kernel did not take for sending.", "port")
	overflow  = describe("rx_lost_packets_total", "Packets that the kernel lost before they were read; not received.", "port")
	truncated = describe("rx_truncated_frames_total", "Frames longer than any packet, or of a kind that the kernel cannot describe; not received.", "port")
	batch     = describe("batch_seconds", "Time that a round over the ports took, from receiving frames until they were sent.")

	sessionsIn  = describe("sessions", "Sessions of the devices in memory, by state: all that run or are paused, and some of the others.", "state")
	clientsIn   = describe("clients", "Clients whose address is known (bound), and of these whose packets pass (connected).", "state")
	clientsMax  = describe("clients_limit", "Clients that can be known at once.")
	natMappings = describe("nat_mappings", "External ports in use.")
	natFlows    = describe("nat_flows", "Translated conversations.")
	natFlowsMax = describe("nat_flows_limit", "Translated conversations that fit.")
	looped      = describe("bridge_looped", "Of a bridge: 1 while nothing passes, because the LAN and the WAN are joined elsewhere, too.")
	loops       = describe("bridge_loops_total", "Of a bridge: how often the LAN and the WAN were found to be joined elsewhere, too.")
	unseen      = describe("sightings_lost_total", "Notices of unknown clients that found no room; the clients send again.")

	ready    = describe("ready", "1 while both ports are open and packets are forwarded.")
	degraded = describe("degraded", "How many things do not work; gatewayd status says which.")
	portUp   = describe("port_up", "1 while a port is open and has a link.", "port")
	running  = describe("process_up", "1 while one of gatewayd's processes runs.", "process")
	restarts = describe("process_restarts_total", "How often one of gatewayd's processes was started again.", "process")
	build    = describe("build_info", "Always 1; the release or commit, and the Go that built it.", "version", "goversion")
)

const prefix = "gateway_"

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}
