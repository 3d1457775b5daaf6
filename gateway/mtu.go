package gateway

import (
	"fmt"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/ports"
)

// quicMTU is the least MTU with which QUIC works, bytes: datagrams of 1,200 (RFC 9000,
// section 14) and their headers.
const quicMTU = 1200 + 8 + 20

// adviseMTUs is what the ports' MTUs mean for those who use the gateway, where that is
// not what a person may expect; once for each pair of MTUs. Called with mu held.
func (k *keeper) adviseMTUs() []string {
	side := sides(k.cfg)
	lan, wan := k.states[side[clients.LAN].Name], k.states[side[clients.WAN].Name]
	now := [...]int{clients.LAN: lan.MTU, clients.WAN: wan.MTU}
	if !lan.Present || !wan.Present || k.advised == now {
		return nil
	}
	k.advised = now
	return mtuAdvice(lan, wan)
}

// mtuAdvice is what the MTUs of two ports mean.
func mtuAdvice(lan, wan ports.State) (all []string) {
	if lan.MTU > wan.MTU {
		all = append(all, fmt.Sprintf("clients may send packets of %d bytes, and port %s carries %d: what is longer leaves as fragments, or is answered by ICMP 3/4 where it may not; to have clients send what fits, run: ip link set %s mtu %d, and tell them so by DHCP (option 26)",
			lan.MTU, wan.Name, wan.MTU, lan.Name, wan.MTU))
	}
	for _, p := range []ports.State{lan, wan} {
		if p.MTU < quicMTU {
			all = append(all, fmt.Sprintf("port %s carries packets of %d bytes: QUIC needs %d (RFC 9000), and so do other programs that send datagrams not to be fragmented; run: ip link set %s mtu 1500, if its link carries that",
				p.Name, p.MTU, quicMTU, p.Name))
		}
	}
	return all
}
