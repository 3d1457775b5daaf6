//go:build netns

package gateway_test

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// switches stand between the gateway and the far ends, so that its ports can
// come and go while theirs stay:
//
//	client eth0 ── sw-eth1 ── eth1 gateway eth0 ── sw-eth0 ── eth0 server
type switches struct {
	l  *lab
	ns *namespace
}

// The gateway's ports behind switches, at first.
var (
	portMACs  = map[string]net.HardwareAddr{"eth1": {2, 0, 0, 0, 1, 1}, "eth0": {2, 0, 0, 0, 1, 0}}
	portIndex = map[string]int{"eth1": 1001, "eth0": 1000}
)

// switched puts a switch into both cables.
func (l *lab) switched() *switches {
	l.t.Helper()
	s := &switches{l: l, ns: newNamespace(l.t)}
	for _, port := range []string{"eth1", "eth0"} {
		l.gateway.run("ip", "link", "set", port, "down")
		l.gateway.run("ip", "link", "set", port, "name", "far-"+port)
		l.gateway.give("far-"+port, s.ns)
		s.ns.run("ip", "link", "add", "sw-"+port, "type", "bridge", "mcast_snooping", "0")
		s.ns.run("ip", "link", "set", "sw-"+port, "up")
		s.ns.run("ip", "link", "set", "far-"+port, "master", "sw-"+port, "up")
		s.plugSame(port)
	}
	return s
}

// give moves an interface to another namespace.
func (n *namespace) give(name string, to *namespace) {
	n.t.Helper()
	check(n.t, n.do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(l, int(to.handle))
	}))
}

// plugSame makes a port of the gateway that is just like the first.
func (s *switches) plugSame(port string) { s.make(port, portIndex[port], portMACs[port], 1500) }

// plug makes another port of the gateway.
func (s *switches) plug(port string, mtu int) { s.make(port, 0, nil, mtu) }

// make makes a port of the gateway, down, and a cable from it to its switch.
// Index 0 and a nil mac are any.
func (s *switches) make(port string, index int, mac net.HardwareAddr, mtu int) {
	s.l.t.Helper()
	check(s.l.t, s.l.gateway.do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: port, Index: index, MTU: mtu, TxQLen: 1000, HardwareAddr: mac},
			PeerName:  "to-" + port, PeerNamespace: netlink.NsFd(int(s.ns.handle)),
		})
	}))
	s.ns.run("ip", "link", "set", "to-"+port, "mtu", fmt.Sprint(mtu), "master", "sw-"+port, "up")
}

// unplug removes a port of the gateway.
func (s *switches) unplug(port string) {
	s.l.t.Helper()
	s.l.gateway.run("ip", "link", "del", port)
}
