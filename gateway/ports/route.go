package ports

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostMetric is the metric of the default route over the host link. It is
// below what NetworkManager (100), dhcpcd (200 and more) and systemd-networkd
// (1024) use, so that their routes can stay and take over again when gatewayd
// ends. A route of metric 0, the default of ip and dhclient, would win over it.
const hostMetric = 50

// nextHop stands for gatewayd as the kernel's router. No packet carries it (RFC
// 3927 2.7); its permanent neighbour entry spares the kernel from asking.
var nextHop = net.IPv4(169, 254, 0, 1).To4()

// RouteError says that a default route that is already there would win over the
// one through the host link.
type RouteError struct {
	Route string // as ip route shows it
	Mend  string // the shell command that removes it
}

func (e *RouteError) Error() string {
	return fmt.Sprintf("the default route %q would win over the host link's (metric %d; run: %s)",
		e.Route, hostMetric, e.Mend)
}

// checkDefaultRoutes returns a *RouteError if the main table has a default route
// over another device that wins over ours.
func checkDefaultRoutes(ours string) error {
	routes, err := defaultRoutes()
	if err != nil {
		return fmt.Errorf("list default routes: %w", err)
	}
	for _, r := range routes {
		if r.Priority > hostMetric || r.Type != unix.RTN_UNICAST {
			continue
		}
		shown := "default"
		if r.Gw != nil {
			shown += fmt.Sprintf(" via %v", r.Gw)
		}
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			if l.Attrs().Name == ours {
				continue
			}
			shown += " dev " + l.Attrs().Name
		}
		if r.Priority != 0 {
			shown += fmt.Sprintf(" metric %d", r.Priority)
		}
		return &RouteError{Route: shown, Mend: "ip route del " + shown}
	}
	return nil
}

// defaultRoutes lists those of the main table, again when a change came in
// between.
func defaultRoutes() (routes []netlink.Route, err error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	for range 5 {
		routes, err = netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return routes, err
}

// knowNextHop gives the next hop the gateway's own MAC, so that to the forwarder
// the box looks like any client that uses its router.
func knowNextHop(l netlink.Link, mac net.HardwareAddr) error {
	err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex:    l.Attrs().Index,
		Family:       netlink.FAMILY_V4,
		State:        netlink.NUD_PERMANENT,
		Type:         unix.RTN_UNICAST,
		IP:           nextHop,
		HardwareAddr: mac,
	})
	if err != nil {
		return fmt.Errorf("add neighbour %v on %s: %w", nextHop, l.Attrs().Name, err)
	}
	return nil
}

// addDefaultRoute sends the box's own traffic over the host link, from the LAN
// address.
func addDefaultRoute(l netlink.Link, opt HostOptions) error {
	hop, flags := opt.NextRouter.AsSlice(), 0
	if !opt.NextRouter.IsValid() {
		if err := knowNextHop(l, opt.MAC); err != nil {
			return err
		}
		hop, flags = nextHop, int(netlink.FLAG_ONLINK)
	}
	err := netlink.RouteAdd(&netlink.Route{
		LinkIndex: l.Attrs().Index,
		Dst:       &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		Gw:        hop,
		Flags:     flags,
		Src:       opt.Address.Addr().AsSlice(),
		Priority:  hostMetric,
	})
	if err != nil {
		return fmt.Errorf("add the default route over %s: %w", opt.Name, err)
	}
	return nil
}
