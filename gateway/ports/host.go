package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostQueue is the length in frames of the queue from the kernel to the
// forwarder.
const hostQueue = 500

// HostOptions describe the host link.
type HostOptions struct {
	Name    string           // of the device, at most 15 characters
	MAC     net.HardwareAddr // the gateway's LAN MAC
	MTU     int              // bytes, as HostMTU has it; zero leaves 1500
	Address netip.Prefix     // the LAN address with the LAN's prefix length

	// DefaultRoute sends what the box itself has to say to the world through
	// gatewayd.
	DefaultRoute bool

	// NextRouter is by whom, on the LAN address's own network, instead of gatewayd.
	NextRouter netip.Addr

	CutUDP bool // as in Options
}

// mostHostMTU is the largest MTU of a TAP device, bytes: its frames have 65,535 with
// the Ethernet header.
const mostHostMTU = 65535 - 14

// HostMTU is the MTU of the host link beside a LAN port of an MTU, bytes.
func HostMTU(lan int) int { return min(max(lan, leastMTU), mostHostMTU) }

// A Host is the box's own way to the clients and, with a default route, to the
// world: a TAP device that carries the LAN address in the kernel.
type Host struct {
	tap *Tap
	opt HostOptions
}

// OpenHost makes the host link and sets it up: IPv6 off, no forwarding, a loose
// reverse path filter (RFC 3704 2.4), the address, and the default route if it
// is wanted. When another default route would win over that, nothing is made
// and the error says which. After an error nothing of it is left.
func OpenHost(opt HostOptions) (*Host, error) {
	if err := opt.check(); err != nil {
		return nil, fmt.Errorf("open host link: %w", err)
	}
	if opt.DefaultRoute {
		if err := checkDefaultRoutes(opt.Name); err != nil {
			return nil, fmt.Errorf("open host link: %w", err)
		}
	}
	tap, err := OpenTap(opt.Name, opt.CutUDP)
	if err != nil {
		return nil, fmt.Errorf("open host link: %w", err)
	}
	h := &Host{tap: tap, opt: opt}
	if err := h.configure(opt); err != nil {
		return nil, errors.Join(fmt.Errorf("open host link: %w", err), h.Close())
	}
	return h, nil
}

// HostTaken says, as an error, that another gateway in this network namespace
// holds the host link of that name. One that nobody holds any more is removed.
func HostTaken(name string) error {
	old, err := findTAP(name)
	if old == nil || err != nil {
		return nil // what is wrong with it is OpenHost's to say
	}
	switch fd, err := attachTap(name, tapOptions{}); {
	case err == nil:
		return unix.Close(fd)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("another gatewayd runs in this network namespace and holds %s: stop it first", name)
	}
	return nil
}

func (opt HostOptions) check() error {
	if len(opt.MAC) != 6 || opt.MAC[0]&1 != 0 {
		return fmt.Errorf("%q is not the MAC address of one station", opt.MAC)
	}
	if !opt.Address.IsValid() || !opt.Address.Addr().Is4() {
		return fmt.Errorf("%v is not an IPv4 address with a prefix length", opt.Address)
	}
	return nil
}

func (h *Host) configure(opt HostOptions) error {
	name := h.tap.Name()
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	for _, s := range [][2]string{
		{"forwarding", "0"},
		{"rp_filter", "2"}, // the larger of this and "all" counts, so this one always does
		{"send_redirects", "0"},
		{"accept_redirects", "0"},
	} {
		if err := writeSysctl("ipv4", name, s[0], s[1]); err != nil {
			return err
		}
	}
	if err := h.fit(l, opt.MAC, opt.MTU); err != nil {
		return err
	}
	if err := netlink.LinkSetTxQLen(l, hostQueue); err != nil {
		return fmt.Errorf("give %s a queue of %d: %w", name, hostQueue, err)
	}
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(opt.Address)}); err != nil {
		return fmt.Errorf("give %s the address %v: %w", name, opt.Address, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	if opt.DefaultRoute {
		return addDefaultRoute(l, opt)
	}
	return nil
}

func (h *Host) fit(l netlink.Link, mac net.HardwareAddr, mtu int) error {
	if err := netlink.LinkSetHardwareAddr(l, mac); err != nil {
		return fmt.Errorf("give %s the address %v: %w", h.Name(), mac, err)
	}
	if mtu != 0 {
		if err := netlink.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("give %s an MTU of %d: %w", h.Name(), mtu, err)
		}
	}
	err := writeSysctl("ipv6", h.Name(), "disable_ipv6", "1")
	if errors.Is(err, os.ErrNotExist) { // a kernel without IPv6, or an MTU that is too small for it
		return nil
	}
	return err
}

// Follow gives the host link another MAC and MTU, as of a LAN port that is
// another one now or has another MTU. Its address, its routes and the kernel's connections stay.
func (h *Host) Follow(mac net.HardwareAddr, mtu int) error {
	if h.opt.MAC.String() == mac.String() && h.opt.MTU == mtu {
		return nil
	}
	l, err := netlink.LinkByName(h.Name())
	if err == nil {
		err = h.fit(l, mac, mtu)
	}
	if err == nil && h.opt.DefaultRoute && !h.opt.NextRouter.IsValid() {
		err = knowNextHop(l, mac) // the kernel forgets it with the old MAC
	}
	if err != nil {
		return fmt.Errorf("host link: %w", err)
	}
	h.opt.MAC, h.opt.MTU = mac, mtu
	return nil
}

// File is the device's descriptor, to be handed to the forwarder. It belongs to
// the host link. A restarted forwarder gets the same one, so that the kernel's
// connections go on.
func (h *Host) File() *os.File { return h.tap.File() }

// Name is the device's name.
func (h *Host) Name() string { return h.tap.Name() }

// Close removes the device, and with it its address and routes.
func (h *Host) Close() error { return h.tap.Close() }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
