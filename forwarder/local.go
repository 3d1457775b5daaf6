package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// open says whether clients may reach on the box what a packet is for. ICMP
// always: it is how people look whether the gateway is there.
func (f *Forwarder) open(fr *frame) bool {
	if f.cfg.HostAll || fr.Proto == packet.ICMP || fr.FragOffset != 0 {
		return true
	}
	for _, p := range f.cfg.HostPorts {
		if p.Proto == fr.Proto && p.First <= fr.DstPort && fr.DstPort <= p.Last {
			return true
		}
	}
	return false
}

// dhcp gives a client's DHCP packet to whoever serves DHCP on the box.
func (f *Forwarder) dhcp(fr *frame) Reason {
	fr.to, fr.exempt, fr.both, fr.next = clients.Host, true, true, fr.DstMAC
	return f.send(fr)
}
