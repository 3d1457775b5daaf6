package forwarder

import (
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// Bounds of SYNs that nobody asked for (RFC 5382, REQ-4). What finds no room is
// not answered.
const (
	unsolicitedFor = 6 * time.Second // unanswered
	maxUnsolicited = 1024
	maxSYN         = 60 + 60 // bytes: IPv4 and TCP headers with all options
)

// unsolicited is a SYN from the WAN that was dropped, as far as an answer
// needs it.
type unsolicited struct {
	due        time.Duration // since boot
	mac        uint64        // of the router that it came from
	remote     uint32
	remotePort uint16
	external   nat.Endpoint
	length     int
	quote      [maxSYN]byte // its layer 3
}

// unsolicitedSYNs are those not answered yet, the oldest at first.
type unsolicitedSYNs struct {
	ring  [maxUnsolicited]unsolicited
	first int
	count int
}

// suspect keeps an unsolicited SYN from the WAN, not one that turned round, which the caller drops, for an
// answer: an outbound SYN of the same connection may be on its way, and the two
// are a simultaneous open then.
func (f *Forwarder) suspect(fr *frame) {
	u := &f.unsolicited
	const flags = packet.SYN | packet.ACK | packet.RST | packet.FIN
	if fr.turned || fr.Proto != packet.TCP || fr.Flags&flags != packet.SYN || u.count == maxUnsolicited || !fr.ValidChecksum() {
		return
	}
	s := &u.ring[(u.first+u.count)%maxUnsolicited]
	u.count++
	s.due, s.mac = f.now+unsolicitedFor, fr.SrcMAC
	s.remote, s.remotePort, s.external = fr.Src, fr.SrcPort, cameTo(fr)
	s.length = copy(s.quote[:], fr.Raw[fr.L3:])
}

// answerSYNs says of the SYNs that nobody asked for meanwhile that the port is
// unreachable, from the address that they were for, as a host does; called a few times a second.
func (f *Forwarder) answerSYNs() {
	u := &f.unsolicited
	for u.count > 0 && u.ring[u.first].due <= f.now {
		s := &u.ring[u.first]
		u.first = (u.first + 1) % maxUnsolicited
		u.count--
		if !f.owns(s.external.Addr) || f.nat.Known(packet.TCP, s.external, s.remote, s.remotePort) || !f.mayAnswer(clients.WAN, nil) {
			continue
		}
		f.report(clients.WAN, s.mac, s.external.Addr, s.remote,
			layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort), 0, s.quote[:s.length], nil)
	}
}
