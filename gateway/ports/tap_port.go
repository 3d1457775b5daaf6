package ports

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A TAP port is a cable: our end is its descriptor, the other end is the device
// in the kernel, which may have an address, be part of a bridge, or be moved
// into another network namespace.

// findTAP returns the TAP device of that name; nil when there is none yet.
func findTAP(name string) (netlink.Link, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	l, err := netlink.LinkByName(name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up TAP %s: %w", name, err)
	}
	if t, ok := l.(*netlink.Tuntap); !ok || t.Mode != netlink.TUNTAP_MODE_TAP {
		return nil, fmt.Errorf("make TAP %s: there is a %s of this name; choose another name", name, kindOf(l))
	}
	return l, nil
}

// kindOf says what a link is: dummy, bridge, veth, tun, or else device.
func kindOf(l netlink.Link) string {
	if t, ok := l.(*netlink.Tuntap); ok && t.Mode == netlink.TUNTAP_MODE_TUN {
		return "tun"
	}
	return l.Type()
}

// tapConflicts is what contradicts a TAP port while its other end is in our own
// network namespace. An address on that end is none, and on the WAN side neither
// is forwarding, since the kernel may be the next router. But nobody else has
// our own address, and on the clients' side the kernel is neither a router nor
// answers ARP for gatewayd's address, which it has on the host link.
func tapConflicts(l netlink.Link, side Side) ([]Conflict, error) {
	end, which := l, "the kernel's end"
	if master := l.Attrs().MasterIndex; master != 0 {
		m, err := netlink.LinkByIndex(master)
		if err != nil {
			return nil, fmt.Errorf("look up what %s is part of: %w", side.Name, err)
		}
		end, which = m, fmt.Sprintf("the %s %s", m.Type(), m.Attrs().Name)
	}
	name := end.Attrs().Name
	addresses, err := addressesOf(end)
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	var found []Conflict
	for _, a := range addresses {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && slices.Contains(side.Own, ip.Unmap()) {
			found = append(found, Conflict{
				What: fmt.Sprintf("%s has gatewayd's own address %v", which, a.IPNet),
				Mend: fmt.Sprintf("ip addr del %v dev %s", a.IPNet, name),
			})
		}
	}
	if !side.Clients {
		return found, nil
	}
	on, err := readSysctl("ipv4", name, "forwarding")
	if err != nil {
		return nil, err
	}
	if on == "1" {
		found = append(found, forwarding(which, name))
	}
	quiet, err := answersOnlyItsOwn(name)
	if err == nil && !quiet && end != l { // on the device itself Open sets it
		found = append(found, Conflict{
			What: fmt.Sprintf("%s answers ARP for gatewayd's address %v", which, side.Own[0]),
			Mend: setting(name, "arp_ignore", "1"),
		})
	}
	return found, err
}

// answersOnlyItsOwn says whether the kernel answers ARP on an interface only for
// the addresses that this very interface has; the larger of two settings counts.
func answersOnlyItsOwn(name string) (bool, error) {
	for _, where := range []string{name, "all"} {
		v, err := readSysctl("ipv4", where, "arp_ignore")
		if err != nil {
			return false, err
		}
		if v != "0" {
			return true, nil
		}
	}
	return false, nil
}

// openTAP makes the device unless it is there, attaches to it unless we are, and
// takes in what the device now is.
func (p *Port) openTAP() error {
	if len(p.files) == 0 {
		fd, err := openTapDevice(p.side.Name, tapOptions{stays: true, cutUDP: p.opt.CutUDP})
		if err != nil {
			return err
		}
		p.files = []*os.File{os.NewFile(uintptr(fd), "TAP "+p.side.Name)}
	}
	name, err := tapName(p.files[0])
	if err != nil {
		return err
	}
	s := inspectTAP(p.files[0], p.side)
	if s.Err != nil {
		return s.Err
	}
	p.index, p.mac, p.mtu = s.Index, s.MAC, s.MTU
	if s.Away {
		return nil // whoever took it sets it up
	}
	if p.side.Clients {
		if err := writeSysctl("ipv4", name, "arp_ignore", "1"); err != nil {
			return err
		}
	}
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// tapName is the name of the device that a descriptor is attached to, which may
// have been given another one; an error when it was removed.
func tapName(file *os.File) (string, error) {
	ifr, err := unix.NewIfreq("")
	if err == nil {
		err = unix.IoctlIfreq(int(file.Fd()), unix.TUNGETIFF, ifr)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: it was removed", file.Name(), ErrMissing)
	}
	return ifr.Name(), nil
}

// inspectTAP returns the state of a TAP port whose descriptor we hold, wherever
// its other end is.
func inspectTAP(file *os.File, side Side) State {
	s := State{Name: side.Name, TAP: true}
	name, err := tapName(file)
	if err != nil {
		s.Err = err
		return s
	}
	fd := int(file.Fd())
	space, err := namespaceOf(fd)
	if err != nil {
		s.Err = fmt.Errorf("TAP %s: find its network namespace: %w", side.Name, err)
		return s
	}
	if space >= 0 {
		defer unix.Close(space)
	}
	s.Away = space >= 0
	// Where it was made it stays for the next run, which would not find it
	// elsewhere.
	keep := 1
	if s.Away {
		keep = 0
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, keep); err != nil {
		s.Err = fmt.Errorf("TAP %s: TUNSETPERSIST: %w", side.Name, err)
		return s
	}
	l, err := linkIn(space, name)
	if err != nil {
		s.Err = fmt.Errorf("TAP %s: %w", side.Name, err)
		return s
	}
	s.fill(l.Attrs())
	s.MAC = ourEnd(s.MAC)
	if !s.Away {
		s.Conflicts, s.Err = tapConflicts(l, side)
	}
	return s
}

// ourEnd is the address of our end of a TAP, given the device's: another one,
// since both stand on one cable, and as stable and as unique.
func ourEnd(device net.HardwareAddr) net.HardwareAddr {
	mac := append(net.HardwareAddr(nil), device...)
	mac[0] = mac[0]&^1 ^ 4 | 2 // one station's, and locally administered
	return mac
}
