package gateway

import (
	"encoding/binary"
	"net/netip"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/gateway/config"
)

// filterings are the translations' names for nat.filtering.
var filterings = map[string]nat.Filtering{
	config.FilterEndpoint: nat.AnyRemote, config.FilterAddress: nat.ByAddress, config.FilterAddressPort: nat.ByAddressAndPort,
}

// addressing is where the config says that the gateway is on the WAN.
func addressing(cfg *config.Config) clients.Addressing {
	w := &cfg.WAN
	if cfg.Bridges() {
		return clients.Addressing{Bits: cfg.LAN.Address.Bits(), Gateway: nextRouterBits(w)}
	}
	if len(w.Addresses.List) == 0 {
		return clients.Addressing{}
	}
	a := clients.Addressing{Bits: w.Address().Bits(), Gateway: bits(w.Gateway)}
	for _, own := range w.Own() {
		a.Addresses = append(a.Addresses, bits(own))
	}
	return a
}

// nextRouterBits is wan.gateway; 0: there is none.
func nextRouterBits(w *config.WAN) uint32 {
	if !w.Gateway.IsValid() {
		return 0
	}
	return bits(w.Gateway)
}

// whereabouts are the gateway's own addresses on the WAN that are in force, and the next
// router; invalid: there is none.
func whereabouts(h *clients.Header) (own []netip.Prefix, router netip.Addr) {
	a, _ := h.Addressing()
	for _, is := range a.Addresses {
		own = append(own, netip.PrefixFrom(ipv4(is), a.Bits))
	}
	if a.Gateway != 0 {
		router = ipv4(a.Gateway)
	}
	return own, router
}

// forwards are the config's forwards as the table has them.
func forwards(of []config.Forward) (list []clients.Forward) {
	for _, w := range of {
		list = append(list, clients.Forward{
			UDP: w.Protocol == "udp", Address: bits(w.At), First: w.First, Last: w.Last, To: bits(w.To), Port: w.Port,
		})
	}
	return list
}

// bits is an IPv4 address as the table has it; 0: none.
func bits(a netip.Addr) uint32 {
	if !a.IsValid() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// ipv4 is an address of the table.
func ipv4(ip uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, ip)))
}

// instruct puts into the table what of the config the forwarder reads there, and
// has each of its workers go by it from its next round on. The host's slot, which
// control does not use otherwise, is what changes.
func (c *control) instruct(cfg *config.Config) {
	h := c.table.Header()
	h.TotalDown.Store(cfg.Bandwidth.Total.Down.BytesPerSecond())
	h.TotalUp.Store(cfg.Bandwidth.Total.Up.BytesPerSecond())
	h.Filtering.Store(uint64(filterings[cfg.NAT.Filtering]))
	h.ClientFlows.Store(uint64(cfg.Limits.FlowsPerClient))
	h.ClientPorts.Store(uint64(cfg.Limits.PortsPerClient))
	var open []clients.PortRange
	for _, p := range cfg.Host.Ports.List {
		open = append(open, clients.PortRange{UDP: p.Protocol == "udp", First: p.First, Last: p.Last})
	}
	h.SetOpen(cfg.Host.Ports.All, open)
	c.readdress()
	h.SetForwards(forwards(cfg.Forwards))
	c.table.Changed(clients.HostSlot)
	c.forward.Ring()
}
