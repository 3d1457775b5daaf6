package forwarder

import (
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// strangers are what was last found to be no client's, so that a conversation asks
// once. What changes of clients makes them be asked for anew.
type strangers struct {
	mac [2]uint64 // by port: a destination on the LAN, a source on the WAN
	ip  uint32    // a source on the WAN
}

// isClient says whether a MAC is a client's on the LAN's side, of whatever worker; port says where it
// stood.
func (f *Forwarder) isClient(mac uint64, port int) bool {
	if f.strangers.mac[port] == mac {
		return false
	}
	slot, ok := f.byMAC.find(mac)
	if !ok {
		slot, ok = f.elsewhereMAC(mac)
	}
	if !ok {
		if f.strangers.mac[port] = mac; port == clients.WAN {
			f.heardOutside(mac, 0)
		}
		return false
	}
	return f.isHere(slot)
}

// isClients says whether an IPv4 address is bound to a client there, of whatever worker.
func (f *Forwarder) isClients(ip uint32) bool {
	if f.strangers.ip == ip {
		return false
	}
	slot, ok := f.byIP.find(uint64(ip))
	if !ok {
		slot, ok = f.elsewhere(ip)
	}
	if !ok {
		if f.strangers.ip = ip; f.inLAN(ip) { // what is farther away speaks by its router
			f.heardOutside(0, ip)
		}
		return false
	}
	return f.isHere(slot)
}

// hereFor is for how long after its last word a client counts as being on the LAN's side.
// Later its MAC may have moved to the other, and its address to somebody there.
const hereFor = 5 * time.Minute

// isHere says whether a slot's client is on the LAN's side still.
func (f *Forwarder) isHere(slot uint32) bool {
	s := f.table.Slot(int(slot))
	last := max(time.Duration(s.LastSeen.Load()), time.Duration(s.Heard.Load()), f.clients[slot].lastSeen)
	return last != 0 && f.now-last < hereFor
}

// keeps says whether a client keeps its IPv4 address whatever else its packets come from:
// it has one, and is there. Only its own ARP, or a DHCP server on the WAN, gives it
// another then.
func (f *Forwarder) keeps(slot uint32) bool { return f.clients[slot].ip != 0 && f.isHere(slot) }

// elsewhereMAC is the client of another worker that has a MAC.
func (f *Forwarder) elsewhereMAC(mac uint64) (slot uint32, ok bool) {
	if f.crew == nil {
		return 0, false
	}
	f.follow() // it may have been bound a moment ago
	return f.others.all.find(mac)
}

// homeOf is the worker of a client's MAC.
func (f *Forwarder) homeOf(mac uint64) int {
	if f.others.strays > 0 {
		if slot, ok := f.others.byMAC.find(mac); ok {
			return f.table.Owner(int(slot))
		}
	}
	return f.crew.spread.Of(mac)
}

// forAll says whether a frame from the WAN is worker 0's: for many, or for the box.
func (f *Forwarder) forAll(fr *frame) bool { return isGroup(fr.DstMAC) || fr.DstMAC == f.cfg.LANMAC }

// overhear takes in ARP about the next router that worker 0 has passed on, or not, and
// tells all workers of.
func (f *Forwarder) overhear(fr *frame) Reason {
	if !f.isARP(fr) {
		return Taken
	}
	if op, ip, target, ok := f.readARP(fr); ok {
		f.hearHop(op, fr.SrcMAC, ip, target)
	}
	return Taken
}

// hearNextHop hears who says on the WAN to be the next router, for all workers.
func (f *Forwarder) hearNextHop(fr *frame, op uint16, ip, target uint32) {
	if f.crew != nil && f.worker == 0 && ip == f.gateway && ip != 0 {
		f.tellOthers(fr)
	}
	f.hearHop(op, fr.SrcMAC, ip, target)
}

func (f *Forwarder) hearHop(op uint16, mac uint64, ip, target uint32) {
	if n := f.neighbours[ip]; n != nil && ip != f.lan {
		f.claimed(ip, n, mac, op == layers.ARPReply && target == f.lan)
	}
}
