package forwarder

import (
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// Reason is what became of a packet; a dropped one's is an index of
// clients.Header.Drops.
type Reason uint8

const (
	Kept  Reason = iota // the next step is asked
	Taken               // dealt with aside: sent, answered, held

	OverShare       // more than its sender's share of a crowded port
	Malformed       // lengths, versions or offload fields that contradict each other; bad options are answered by ICMP 12/0
	BadChecksum     // the IPv4 header's, or an ICMP error's own
	SourceRouted    // RFC 1812, 5.3.13.4
	Tagged          // VLAN tag
	IPv6            // not served
	UnknownProtocol // an EtherType nobody here speaks
	BadARP          // not Ethernet and IPv4, or contradicting its frame
	NotForUs        // broadcast, multicast or another station's
	BadSource       // an address that cannot be a source there
	UnknownClient   // no slot has this MAC
	Spoofed         // a client's MAC with an address that is not its own
	LocalClosed     // a port of the box that host.ports does not open
	LANDestination  // routed to a LAN address that is not the gateway's
	Stopped         // admission is stopped as a whole
	NoGrant         // the client has no running session
	DataUsedUp      // the packet that ended a data grant
	TTLExceeded     // answered by ICMP 11/0
	TooBig          // over the MTU with DF: answered by ICMP 3/4
	Unresolved      // the next hop does not answer ARP
	ResolveFull     // too many packets wait for a next hop
	OverRate        // the client's rate: no room to wait for it
	QueueDelay      // likewise: what waits has done so for too long (CoDel, RFC 8289)
	NotTranslatable // a protocol without ports
	NoMapping       // nobody asked for it
	Filtered        // a mapping, but not from there
	NoPort          // no external port is free
	FlowsFull       // the flow table
	ClientCap       // the client's own cap of flows or ports
	StrayFragment   // a later fragment without its first
	FragmentsFull   // too many fragmented packets at once
	TxRefused       // the kernel did not take the frame
	HostUnknown     // the box spoke to a LAN address that is not bound
	NoHost          // no host link
	ForwarderEnded  // it waited in a forwarder that ended
	NoLink          // the port's cable is out, or its other end down
	HandoverFull    // it was another worker's, and the way there was full
	NoAddress       // the gateway has no address on the WAN just now
	LinkLocalGroup  // for a group that no bridge passes on
	Looped          // the sides of a bridge are joined elsewhere, too
	RogueServer     // a DHCP server among the clients of a bridge
	RogueRouter     // likewise an IPv6 router (RFC 6105)
	MailFull        // a DHCP server's answer that control has no room for
	Storm           // more for many, or without a session, than a bridge passes
	numReasons
)

var reasonNames = [numReasons]string{
	Kept: "kept", Taken: "taken",
	OverShare: "over_share", Malformed: "malformed", BadChecksum: "bad_checksum", SourceRouted: "source_routed", Tagged: "tagged",
	IPv6: "ipv6", UnknownProtocol: "unknown_protocol", BadARP: "bad_arp", NotForUs: "not_for_us", BadSource: "bad_source",
	UnknownClient: "unknown_client", Spoofed: "spoofed", LocalClosed: "local_closed", LANDestination: "lan_destination",
	Stopped: "stopped", NoGrant: "no_grant", DataUsedUp: "data_used_up", TTLExceeded: "ttl_exceeded", TooBig: "too_big",
	Unresolved: "unresolved", ResolveFull: "resolve_full", OverRate: "over_rate", QueueDelay: "queue_delay", NotTranslatable: "not_translatable",
	NoMapping: "no_mapping", Filtered: "filtered", NoPort: "no_port", FlowsFull: "flows_full", ClientCap: "client_cap",
	StrayFragment: "stray_fragment", FragmentsFull: "fragments_full", TxRefused: "tx_refused", HostUnknown: "host_unknown",
	NoHost: "no_host", ForwarderEnded: "forwarder_ended", NoLink: "no_link", HandoverFull: "handover_full",
	NoAddress: "no_address", LinkLocalGroup: "link_local_group", Looped: "looped", RogueServer: "rogue_server", RogueRouter: "rogue_router",
	MailFull: "mail_full", Storm: "storm",
}

// String returns the reason's name in metrics and in status.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown_reason"
}

// Reasons returns the names of all drop reasons, by their index in
// clients.Header.Drops; the first two are none.
func Reasons() []string { return reasonNames[:] }

// ofDecode translates what packet.Decode says.
func ofDecode(r packet.Reason) Reason {
	switch r {
	case packet.Kept:
		return Kept
	case packet.BadChecksum:
		return BadChecksum
	case packet.SourceRouted:
		return SourceRouted
	default:
		return Malformed
	}
}

// ofNAT translates what the translations say.
func ofNAT(v nat.Verdict) Reason {
	switch v {
	case nat.Translated:
		return Kept
	case nat.NoMapping, nat.Resting:
		return NoMapping
	case nat.Filtered:
		return Filtered
	case nat.NoPort:
		return NoPort
	case nat.NoAddress:
		return NoAddress
	case nat.NobodyThere:
		return NoGrant
	case nat.FlowsFull:
		return FlowsFull
	case nat.ClientFlows, nat.ClientPorts:
		return ClientCap
	default:
		return NotTranslatable
	}
}
