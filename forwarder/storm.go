package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// What is for everybody on the WAN reaches everybody on the LAN at nobody's cost, and
// radio sends it at its slowest. So it has rates that no sound network comes near: one for
// what networks need to work at all, one for the rest.
var (
	wanGroupRation   = ration{time.Second / 250, 250}
	wanControlRation = ration{time.Second / 1000, 1000} // ARP, DHCP and neighbour discovery
	strangersControl = ration{time.Second / 200, 200}   // likewise of all MACs together that nobody knows, each way
	clientControl    = ration{time.Second / 20, 40}     // and of a client, each way
)

const (
	wanGroupByte  = 4 * time.Microsecond   // of a byte for many: 2 Mbit/s
	wanGroupSaved = 200 * time.Millisecond // of them may go at once
)

// groupRates is what may still pass from the WAN for many.
type groupRates struct {
	control, packets, bytes limiter.Allowance
}

// group holds what is for many, from the WAN, to its rates.
func (f *Forwarder) group(fr *frame) Reason {
	g := &f.bridge.groups
	each := time.Duration(fr.WireLen) * wanGroupByte
	if !g.packets.Take(time.Duration(fr.Segments)*wanGroupRation.every, wanGroupRation.burst/fr.Segments, f.now) ||
		!g.bytes.Take(each, max(int(wanGroupSaved/max(each, 1)), 1), f.now) {
		return Storm
	}
	return Kept
}

// mayControl says whether ARP, DHCP or neighbour discovery may pass now. c is the client
// that it is from or for; nil: nobody known.
func (f *Forwarder) mayControl(fr *frame, c *client) bool {
	direction := up
	if fr.from == clients.WAN {
		if isGroup(fr.DstMAC) {
			return wanControlRation.allows(&f.bridge.groups.control, f.now)
		}
		direction = down
	}
	if c == nil {
		return strangersControl.allows(&f.bridge.control[direction], f.now)
	}
	return clientControl.allows(&f.bridge.six[c.id.Slot].control[direction], f.now)
}
