package main

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// A setting is what the labs of one phase are made for.
type setting struct {
	key, title string
	clients    int  // known to the gateways, each with a plan or a class of its own
	plain      bool // no port has an offload
	raised     bool // gatewayd's limits are raised
}

var (
	one   = setting{key: "one", title: "one client", clients: 1}
	plain = setting{key: "plain", title: "offloads off", clients: 1, plain: true}
	some  = setting{key: "some", title: "64 clients", clients: 64, raised: true}
	crowd = setting{key: "crowd", title: "10,000 clients", clients: 10_000, raised: true}
)

// settings are the phases, in order.
var settings = []setting{one, plain, some, crowd}

// A member is a client; the first is the one that runs programs.
type member struct {
	mac net.HardwareAddr
	ip  netip.Addr
}

// memberAt is client i of any lab.
func memberAt(i int) member {
	first := netip.MustParseAddr(clientIP).As4()
	ip := binary.BigEndian.Uint32(first[:]) + uint32(i)
	mac, _ := net.ParseMAC(clientMAC) // a constant
	if i > 0 {
		mac = net.HardwareAddr{2, 0, 0, 1, byte(i >> 8), byte(i)}
	}
	return member{mac, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, ip)))}
}
