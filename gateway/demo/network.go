package demo

import (
	"fmt"
	"net/netip"
	"os"
)

// Addresses of the demo's network; the far ones are of RFC 5737.
const (
	clientIP  = "10.10.0.2"
	lanIP     = "10.10.0.1"
	wanIP     = "203.0.113.2"
	routerIP  = "203.0.113.1"
	serverIP  = "198.51.100.80"
	lanPrefix = "/16"
	wanPrefix = "/24"
)

// The names of the interfaces, each in its namespace.
const (
	clientLink   = "eth0"
	lanLink      = "lan"
	wanLink      = "wan"
	internetLink = "eth0"
)

// network is the three namespaces, and the witnesses at the far ends.
type network struct {
	client, gateway, internet *namespace
	clientEnd, internetEnd    *witness
	madeNames                 bool // the directory of names was not there
}

// newNetwork makes them with their cables. It is to be closed, also after an
// error.
func newNetwork() (*network, error) {
	n := &network{madeNames: os.Mkdir(names, 0o755) == nil}
	for _, made := range []struct {
		role string
		at   **namespace
	}{{"client", &n.client}, {"gateway", &n.gateway}, {"internet", &n.internet}} {
		ns, err := newNamespace(made.role)
		if err != nil {
			return n, err
		}
		*made.at = ns
		// IPv6 would only add packets that nobody asked for; where it cannot
		// be switched off, there may be none.
		_ = ns.do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0) })
	}
	steps := []func() error{
		func() error { return n.gateway.cable(lanLink, n.client, clientLink) },
		func() error { return n.gateway.cable(wanLink, n.internet, internetLink) },
		func() error { return n.client.up(clientLink) },
		func() error { return n.internet.up(internetLink) },
		func() (err error) {
			n.clientEnd, err = newWitness(n.client, clientLink, netip.MustParseAddr(lanIP))
			return err
		},
		func() (err error) {
			n.internetEnd, err = newWitness(n.internet, internetLink, netip.Addr{})
			return err
		},
		func() error { return n.client.address(clientLink, clientIP+lanPrefix) },
		func() error { return n.client.route(lanIP) },
		func() error { return n.internet.address(internetLink, routerIP+wanPrefix) },
		func() error { return n.internet.address("lo", serverIP+"/32") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return n, err
		}
	}
	// One download must not learn from the one before.
	_ = n.internet.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_no_metrics_save", []byte("1"), 0) })
	return n, nil
}

// clientMAC is the client's hardware address.
func (n *network) clientMAC() (string, error) {
	l, err := n.client.links.LinkByName(clientLink)
	if err != nil {
		return "", fmt.Errorf("find the client's interface: %w", err)
	}
	return l.Attrs().HardwareAddr.String(), nil
}

func (n *network) close() {
	for _, w := range []*witness{n.clientEnd, n.internetEnd} {
		if w != nil {
			w.close()
		}
	}
	for _, ns := range []*namespace{n.client, n.gateway, n.internet} {
		if ns != nil {
			ns.close()
		}
	}
	if n.madeNames {
		os.Remove(names) // unless somebody else uses it by now
	}
}
