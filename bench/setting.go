package main

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// A setting is what the labs of one phase are made for.
type setting struct {
	key, title string
	clients    int      // known to the gateways, each with a plan or a class of its own
	plain      bool     // no port has an offload
	raised     bool     // gatewayd's limits are raised
	rate       bits     // of each client's plan and direction, until a trial gives another
	total      bits     // of all clients together, in each direction; 0: no limit
	speak      bool     // every client has an address that programs can send from
	counted    bool     // what arrives is counted for each client
	bridge     bool     // gatewayd is a bridge
	sides      []string // in the order of the first repeat; nil: the kernels and gatewayd
}

var (
	one   = setting{key: "one", title: "one client", clients: 1, rate: wide}
	plain = setting{key: "plain", title: "offloads off", clients: 1, plain: true, rate: wide}
	some  = setting{key: "some", title: "64 clients", clients: 64, raised: true, rate: wide}
	crowd = setting{key: "crowd", title: "10,000 clients", clients: 10_000, raised: true, rate: wide}

	bridged = setting{key: "bridge", title: "one client, a bridge beside a route", clients: 1, rate: wide, bridge: true, sides: []string{routed, ourselves}}

	shaped      = setting{key: "shaped", title: "one client with a plan", clients: 1, sides: shapers}
	shapedPlain = setting{key: "shapedplain", title: "one client with a plan, offloads off", clients: 1, plain: true, sides: shapers}
	shared      = setting{key: "shared", title: "32 clients share 200 Mbit/s", clients: 32, raised: true, total: 200 * mbit, speak: true, counted: true, sides: shapers[:2]}
	fewPlans    = setting{key: "fewplans", title: "10 plans of 64 Mbit/s", clients: 10, raised: true, rate: 64 * mbit, counted: true, sides: shapers}
	manyPlans   = setting{key: "manyplans", title: "10,000 plans of 64 kbit/s", clients: 10_000, raised: true, rate: 64 * kbit, counted: true, sides: shapers}
)

// kernels are the sides of what has no limit, shapers of what has: both with
// gatewayd between.
var (
	kernels = []string{stock, hotspot, ourselves, natOnly}
	shapers = []string{hotspot, ourselves, policer}
)

// settings are the phases, in order.
var settings = []setting{one, plain, some, crowd, bridged, shaped, shapedPlain, shared, fewPlans, manyPlans}

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
