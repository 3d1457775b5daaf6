package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// open says whether clients may reach on the box what a packet is for. ICMP
// always: it is how people look whether the gateway is there.
func (f *Forwarder) open(fr *frame) bool {
	if fr.Proto == packet.ICMP || fr.FragOffset != 0 || f.header.OpenAll.Load() != 0 {
		return true
	}
	return (fr.Proto == packet.TCP || fr.Proto == packet.UDP) && f.header.Open(fr.Proto == packet.UDP, fr.DstPort)
}

// dhcp gives a client's DHCP packet to whoever serves DHCP on the box.
func (f *Forwarder) dhcp(fr *frame) Reason {
	fr.to, fr.exempt, fr.both, fr.next = clients.Host, true, true, fr.DstMAC
	return f.send(fr)
}
