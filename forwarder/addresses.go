package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
)

// The table and the translations have room for the same number of addresses.
var _ [nat.MaxExternals]struct{} = [clients.MaxAddresses]struct{}{}

// Where the gateway is on the WAN stands in the table and changes while packets pass:
// to other addresses, to none, and with them the prefix and the next router.

// owns says whether an address is one of the gateway's on the WAN.
func (f *Forwarder) owns(ip uint32) bool {
	for _, own := range f.externals {
		if ip == own {
			return true
		}
	}
	return false
}

// readdress takes in what control said since the last round, and goes on with what
// the translations take in parts.
func (f *Forwarder) readdress() {
	if f.header.Addressed() == f.addressed {
		if f.settling {
			f.settling = f.nat.SetExternals(f.externals)
		}
		return
	}
	former := f.takeAddressing()
	f.settling = f.nat.SetExternals(f.externals)
	f.announce(clients.WAN)
	f.nextMind = f.now // the next router is asked for at once
	for _, n := range former {
		f.release(n, f.reenter)
	}
}

// takeAddressing reads where the gateway is. It returns the neighbours that are none
// any more, for which frames may wait.
func (f *Forwarder) takeAddressing() (former []*neighbour) {
	a, number := f.header.Addressing()
	f.addressed, f.externals = number, a.Addresses
	net, mask := f.wanNet, f.wanMask
	f.wan, f.wanNet, f.wanMask = 0, 0, maskOf(32)
	if f.cfg.Bridge { // the box's own network is there, too
		f.wan, f.wanNet, f.wanMask = f.lan, f.lanNet, f.lanMask
	} else if len(a.Addresses) > 0 {
		f.wan, f.wanMask = a.Addresses[0], maskOf(a.Bits)
		f.wanNet = f.wan & f.wanMask
	}
	if net == f.wanNet && mask == f.wanMask && a.Gateway == f.gateway && f.hop != nil {
		return nil
	}
	return f.rehop(a.Gateway, net == f.wanNet && mask == f.wanMask)
}

// rehop goes over to another next router. Neighbours are known on as long as the
// network is the same.
func (f *Forwarder) rehop(gateway uint32, same bool) (former []*neighbour) {
	for ip, n := range f.neighbours {
		if !same || ip == f.gateway && ip != gateway {
			delete(f.neighbours, ip)
			former = append(former, n)
		}
	}
	f.gateway, f.hop = gateway, &neighbour{}
	if f.neighbours == nil {
		f.neighbours = map[uint32]*neighbour{}
	}
	if gateway == 0 {
		return former
	}
	if n := f.neighbours[gateway]; n != nil {
		f.hop = n
	}
	f.neighbours[gateway] = f.hop
	return former
}

// sayUse says how many mappings are at each external address; called a few times a
// second.
func (f *Forwarder) sayUse() {
	for i := range clients.MaxAddresses {
		addr, mappings := f.nat.Use(i)
		f.said.SetUse(i, addr, mappings)
	}
}
