package forwarder

import "time"

// Who has been heard on the WAN of a bridge: its router above all. Nobody on the LAN
// becomes a client with such a MAC or address, and so takes it from who has it.
const (
	outsideFor    = 10 * time.Minute   // after the last word
	macOutsideFor = time.Minute        // a station may have moved to the LAN
	routerFor     = 9000 * time.Second // what a router says to be there for at most (RFC 4861, 6.2.1)
)

// heardOutside notes whose frame came from the WAN; what is 0 is not known.
func (f *Forwarder) heardOutside(mac uint64, ip uint32) {
	o := &f.bridge.shared.outside
	if mac != 0 {
		o.note(o.key(kindMAC, 0, mac), f.now)
	}
	if ip != 0 {
		o.note(o.key(kindIPv4, 0, uint64(ip)), f.now)
	}
}

func (f *Forwarder) heardOutside6(a address6) {
	o := &f.bridge.shared.outside
	o.note(o.key(kindIPv6, a.hi, a.lo), f.now)
}

func (f *Forwarder) isOutside(mac uint64) bool {
	o := &f.bridge.shared.outside
	return o.has(o.key(kindMAC, 0, mac), f.now, macOutsideFor)
}

func (f *Forwarder) isOutsideIP(ip uint32) bool {
	o := &f.bridge.shared.outside
	return ip == f.gateway && ip != 0 || o.has(o.key(kindIPv4, 0, uint64(ip)), f.now, outsideFor)
}

func (f *Forwarder) isOutside6(a address6) bool {
	o := &f.bridge.shared.outside
	return o.has(o.key(kindIPv6, a.hi, a.lo), f.now, outsideFor) || f.isRouter6(a)
}

// heardRouter6 notes a router's address, as it advertises itself. Routers are on the WAN
// (RFC 6105), so a client that has it loses it.
func (f *Forwarder) heardRouter6(a address6) {
	o, x := &f.bridge.shared.outside, &f.bridge.shared.six
	o.note(o.key(kindRouter6, a.hi, a.lo), f.now)
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.held, a)
}

func (f *Forwarder) isRouter6(a address6) bool {
	o := &f.bridge.shared.outside
	return o.has(o.key(kindRouter6, a.hi, a.lo), f.now, routerFor)
}

// forged says what a frame from the LAN is that does not come from a client's binding, if
// its MAC or its address is somebody's on the WAN; Kept if not.
func (f *Forwarder) forged(fr *frame, known bool) Reason {
	switch {
	case !known && f.isOutside(fr.SrcMAC):
		return Looped
	case fr.Version == 4 && f.isOutsideIP(fr.Src):
		return Spoofed
	}
	return Kept
}
