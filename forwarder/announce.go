package forwarder

import (
	"time"

	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
)

// What is on the cable is told where the gateway is, as RFC 5227 (2.3) has it:
// when the forwarder starts, since its ports may have another MAC now, when a link
// works again, since the cable may be another, and when it has other addresses.
const (
	announceTimes = 2
	announceEvery = 2 * time.Second
)

// announcement is what is still to be said on a port.
type announcement struct {
	left int
	next time.Duration
}

// announce says it all again on a port, from now on.
func (f *Forwarder) announce(port uint8) { f.announcements[port] = announcement{announceTimes, f.now} }

// mindAnnouncements says what is due on the ports whose link works.
func (f *Forwarder) mindAnnouncements() {
	outside := f.externals
	if f.cfg.Bridge && f.cfg.HostRoute {
		outside = []uint32{f.lan}
	}
	for port, own := range [][]uint32{clients.LAN: {f.lan}, clients.WAN: outside} {
		a := &f.announcements[port]
		if a.left == 0 || f.now < a.next || f.unlinked(uint8(port)) {
			continue
		}
		a.left--
		a.next = f.now + announceEvery
		for _, ip := range own {
			f.sendARP(uint8(port), layers.ARPRequest, f.mac[port], ip, 0, ip, broadcast)
		}
	}
}

// unlinked says whether the keeper sees no link on a port. The kernel would take
// frames for it and lose them.
func (f *Forwarder) unlinked(port uint8) bool { return f.down>>port&1 == 1 }

// relink takes in which ports have a link. The next router may be another one
// when it comes back.
func (f *Forwarder) relink() {
	was := f.down
	if f.down = f.header.Down.Load(); f.down == was {
		return
	}
	for _, port := range []uint8{clients.LAN, clients.WAN} {
		if was>>port&1 == 1 && !f.unlinked(port) {
			f.announce(port)
		}
	}
	if changed := was ^ f.down; changed>>clients.WAN&1 == 0 {
		return
	}
	for _, n := range f.neighbours {
		n.mac = 0
		n.askedAt = 0 // what is asked is asked again at once
	}
}
