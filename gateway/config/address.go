package config

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// addresses looks at both sides' addresses, alone and against each other.
func (c *Config) addresses(k *checker) {
	lan, wan := c.LAN.Address, c.WAN.Address()
	lanReason := ""
	if !lan.IsValid() {
		lanReason = missing + "write the gateway's own address and the clients' prefix, such as 10.10.0.1/16"
	} else {
		lanReason = checkOwn(lan, longestLAN)
	}
	k.say("lan.address", lanReason)
	if c.Bridges() {
		c.bridged(k, lanReason == "")
		return
	}
	if c.WAN.ByDHCP() {
		c.leased(k)
		return
	}
	sound := k.wanAddresses(c.WAN.Addresses.List)
	if lanReason == "" && sound && lan.Overlaps(wan) {
		k.say("lan.address", fmt.Sprintf("%v overlaps wan.address %v, so nobody could say which side an address is on; "+
			"use another prefix for the clients, such as %v", lan, wan, apartFrom(wan)), "wan.address")
	}
	if sound {
		k.say("wan.gateway", checkGateway(&c.WAN), "wan.address")
	} else if !c.WAN.Gateway.IsValid() {
		k.say("wan.gateway", missing+"write the next router's address", "wan.address[0]")
	}
}

// leased looks at what is written beside an address that comes by DHCP.
func (c *Config) leased(k *checker) {
	if len(c.WAN.Addresses.List) > 0 {
		k.say("wan.address", "dhcp and a list contradict each other; use one of them")
	}
	if c.WAN.Gateway.IsValid() {
		k.say("wan.gateway", "it comes with the lease in wan.address: dhcp; remove it", "wan.address")
	}
}

// bridged looks at what of the WAN has a meaning where one network is on both sides.
func (c *Config) bridged(k *checker, lanSound bool) {
	if c.WAN.ByDHCP() || len(c.WAN.Addresses.List) > 0 {
		k.say("wan.address", "mode: bridge has one network on both sides, where lan.address is the box's only address; remove wan.address", "mode")
	}
	switch gateway := c.WAN.Gateway; {
	case !gateway.IsValid() && c.Host.DefaultRoute:
		k.say("wan.gateway", missing+"host.default_route needs the next router's address, inside lan.address's prefix", "host.default_route")
	case gateway.IsValid() && lanSound:
		k.say("wan.gateway", c.checkNextRouter(), "lan.address", "mode")
	}
}

// checkNextRouter says why wan.gateway cannot be on the bridged network; lan.address is sound.
func (c *Config) checkNextRouter() string {
	gateway, lan := c.WAN.Gateway, c.LAN.Address
	right := fmt.Sprintf("write the next router's address inside %v, such as %v", lan.Masked(), firstHost(lan, lan.Addr()))
	switch {
	case gateway == lan.Addr():
		return fmt.Sprintf("%v is lan.address, this box itself; %s", gateway, right)
	case !lan.Contains(gateway):
		return fmt.Sprintf("%v is not inside lan.address %v, which is on both sides in mode: bridge; %s", gateway, lan, right)
	case gateway == lan.Masked().Addr() || gateway == broadcast(lan):
		return fmt.Sprintf("%v is the network's or the broadcast address in %v; %s", gateway, lan.Masked(), right)
	}
	return ""
}

// wanAddresses looks at the gateway's own addresses on the WAN, and says whether
// they are sound.
func (k *checker) wanAddresses(own []netip.Prefix) (sound bool) {
	const key = "wan.address"
	switch {
	case len(own) == 0:
		k.say(key, missing+"write the box's own address and prefix on that side, such as 203.0.113.2/24, or dhcp")
		return false
	case len(own) > maxAddresses:
		k.say(key, fmt.Sprintf("%d addresses are more than %d; remove some", len(own), maxAddresses))
		return false
	case len(own) == 1:
		reason := checkOwn(own[0], longestWAN)
		k.say(key, reason, key+"[0]")
		return reason == ""
	}
	sound = true
	for i, p := range own {
		reason := checkOwn(p, longestWAN)
		switch {
		case !p.IsValid(): // it could not be read
			return false
		case reason != "":
		case slices.ContainsFunc(own[:i], func(o netip.Prefix) bool { return o.Addr() == p.Addr() }):
			reason = fmt.Sprintf("%v is in the list already; remove one", p.Addr())
		case p.Masked() != own[0].Masked():
			reason = fmt.Sprintf("%v is not in %v as the first is; all are in one prefix, whose length each has: "+
				"write it as the others, or remove it", p, own[0].Masked())
		}
		k.say(fmt.Sprintf("%s[%d]", key, i), reason)
		sound = sound && reason == ""
	}
	if sound && len(own) >= hosts(own[0]) {
		k.say(key, fmt.Sprintf("%d addresses leave none in %v for the next router; remove one", len(own), own[0].Masked()))
		return false
	}
	return sound
}

// checkOwn says why an address cannot be the gateway's own, in a prefix of at most longest bits.
func checkOwn(own netip.Prefix, longest int) string {
	a := own.Addr()
	switch {
	case !a.Is4():
		return fmt.Sprintf("%v is not IPv4; gatewayd forwards IPv4", own)
	case thisNetwork.Contains(a), reserved.Contains(a):
		return fmt.Sprintf("%v is reserved and cannot be a host's address (RFC 6890)", a)
	case a.IsLoopback():
		return fmt.Sprintf("%v is a loopback address and never leaves the box", a)
	case a.IsMulticast():
		return fmt.Sprintf("%v is a multicast address and cannot be a host's own", a)
	case a.IsLinkLocalUnicast():
		return fmt.Sprintf("%v is link-local and must not be forwarded (RFC 3927)", a)
	case own.Bits() < shortestPrefix || own.Bits() > longest:
		return fmt.Sprintf("the prefix length /%d is out of range; write /%d to /%d", own.Bits(), shortestPrefix, longest)
	case own.Bits() <= 30 && a == own.Masked().Addr():
		return fmt.Sprintf("%v is the network's address in %v; write a host's, such as %v", a, own.Masked(), firstHost(own, a))
	case own.Bits() <= 30 && a == broadcast(own):
		return fmt.Sprintf("%v is the broadcast address in %v; write a host's, such as %v", a, own.Masked(), firstHost(own, a))
	}
	return ""
}

// checkGateway says why w's gateway cannot be the next router there; its addresses are sound.
func checkGateway(w *WAN) string {
	gateway, wan := w.Gateway, w.Address()
	right := fmt.Sprintf("write the next router's address inside %v, such as %v", wan.Masked(), firstHost(wan, w.Own()...))
	if wan.Bits() >= 30 {
		right = fmt.Sprintf("write %v, the only other host in %v", firstHost(wan, wan.Addr()), wan.Masked())
	}
	edge := wan.Bits() <= 30 && (gateway == wan.Masked().Addr() || gateway == broadcast(wan))
	switch {
	case !gateway.IsValid():
		return missing + right
	case w.has(gateway):
		return fmt.Sprintf("%v is wan.address, this box itself; %s", gateway, right)
	case !wan.Contains(gateway):
		return fmt.Sprintf("%v is not inside wan.address %v; %s", gateway, wan, right)
	case edge:
		return fmt.Sprintf("%v is the network's or the broadcast address in %v; %s", gateway, wan.Masked(), right)
	}
	return ""
}

// broadcast returns the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(b[:]) | uint32(1<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, last)))
}

// firstHost returns the lowest host address of an IPv4 prefix of /31 or shorter that is none of others.
func firstHost(p netip.Prefix, others ...netip.Addr) netip.Addr {
	host := p.Masked().Addr()
	if p.Bits() <= 30 {
		host = host.Next()
	}
	for slices.Contains(others, host) {
		host = host.Next()
	}
	return host
}

// hosts is how many host addresses an IPv4 prefix of /31 or shorter has.
func hosts(p netip.Prefix) int {
	if p.Bits() == 31 {
		return 2
	}
	return 1<<(32-p.Bits()) - 2
}

// apartFrom returns a private prefix for the clients that does not overlap p.
func apartFrom(p netip.Prefix) netip.Prefix {
	for _, lan := range []string{"10.10.0.1/16", "172.20.0.1/16"} {
		if lan := netip.MustParsePrefix(lan); !lan.Overlaps(p) {
			return lan
		}
	}
	return netip.MustParsePrefix("192.168.10.1/24")
}

// isShared reports whether p lies in addresses that nobody owns on the internet.
func isShared(p netip.Prefix) bool {
	return slices.ContainsFunc(shared, func(s netip.Prefix) bool {
		return s.Contains(p.Addr()) && p.Bits() >= s.Bits()
	})
}
