package gateway

import "gatewayd/forwarder"

// endings say of each of the forwarder's reasons at which stage of the walk a
// packet ends for it, and what it means to who owns the packet.
var endings = [...]struct{ stage, words string }{
	forwarder.OverShare:       {"link", "more than its share of a crowded LAN port"},
	forwarder.Malformed:       {"link", "headers that contradict each other"},
	forwarder.BadChecksum:     {"link", "a header that was damaged on the way"},
	forwarder.SourceRouted:    {"link", "a source route, which is not followed"},
	forwarder.Tagged:          {"link", "a VLAN tag, which is not served"},
	forwarder.IPv6:            {"link", "IPv6, which is not served; the client falls back to IPv4"},
	forwarder.UnknownProtocol: {"link", "neither IPv4 nor ARP"},
	forwarder.BadARP:          {"link", "ARP that contradicts its frame"},
	forwarder.NotForUs:        {"link", "broadcast, multicast or for another station"},
	forwarder.BadSource:       {"address", "an address that no client can have here"},
	forwarder.UnknownClient:   {"client", "a MAC that was not known yet"},
	forwarder.Spoofed:         {"address", "an address that is not its own"},
	forwarder.LocalClosed:     {"local", "a port of the box that host.ports does not open"},
	forwarder.LANDestination:  {"local", "for a neighbour, which it has to reach directly"},
	forwarder.Stopped:         {"admit", "admission of all clients is stopped"},
	forwarder.NoGrant:         {"admit", "no session let it pass"},
	forwarder.DataUsedUp:      {"limit", "the data of its session was used up"},
	forwarder.TTLExceeded:     {"route", "its hop count was used up (traceroute does that)"},
	forwarder.TooBig:          {"route", "longer than the next link takes, and not to be fragmented"},
	forwarder.Unresolved:      {"route", "the next router does not answer ARP"},
	forwarder.ResolveFull:     {"route", "too many packets waited for a next router"},
	forwarder.OverRate:        {"limit", "over its speed"},
	forwarder.NotTranslatable: {"nat", "a protocol that cannot be translated"},
	forwarder.NoMapping:       {"return", "nobody had asked for it"},
	forwarder.Filtered:        {"return", "from somebody who was not asked"},
	forwarder.NoPort:          {"nat", "no port of the WAN address was free"},
	forwarder.FlowsFull:       {"nat", "the translation table was full"},
	forwarder.ClientCap:       {"nat", "more conversations than one client may have"},
	forwarder.StrayFragment:   {"nat", "a later fragment without its first"},
	forwarder.FragmentsFull:   {"nat", "too many fragmented packets at once"},
	forwarder.TxRefused:       {"send", "the port did not take it: its link is slower than what is sent"},
	forwarder.HostUnknown:     {"local", "the box spoke to an address that nobody holds"},
	forwarder.NoHost:          {"local", "there is no link to the box"},
	forwarder.ForwarderEnded:  {"send", "it waited in a forwarder that ended"},
	forwarder.NoLink:          {"send", "the port had no link"},
	forwarder.HandoverFull:    {"link", "more for one worker than the others could hand over"},
}
