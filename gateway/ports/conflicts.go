package ports

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// leastMTU is what every link of IPv4 carries, bytes (RFC 791, 3.2).
const leastMTU = 68

// A Conflict is something configured in the kernel that contradicts that a port
// belongs to gatewayd.
type Conflict struct {
	What string // what is there and why it must not be
	Mend string // the shell command that removes it
}

// ConflictError is the error of Open on a port with conflicts.
type ConflictError struct {
	Port      string
	Conflicts []Conflict // at least one
}

func (e *ConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s does not belong to gatewayd alone:", e.Port)
	for i, c := range e.Conflicts {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %s (run: %s)", c.What, c.Mend)
	}
	return b.String()
}

// Conflicts returns what in the kernel contradicts that a side belongs to
// gatewayd. Of an interface that is an IPv4 address or a global IPv6 address on
// it, net.ipv4.conf.NAME.forwarding, a bridge or bond it is part of, and an MTU
// too small for IPv4; of a TAP see tapConflicts. It changes nothing. Its errors wrap ErrMissing or
// ErrNotEthernet where they apply. An interface that is only down is no
// conflict: Open sets it up.
func Conflicts(side Side) ([]Conflict, error) {
	if side.TAP {
		l, err := findTAP(side.Name)
		if l == nil || err != nil {
			return nil, err
		}
		return tapConflicts(l, side)
	}
	l, err := findEthernet(side.Name)
	if err != nil {
		return nil, err
	}
	return conflictsOf(l)
}

func conflictsOf(l netlink.Link) ([]Conflict, error) {
	name := l.Attrs().Name
	if mtu := l.Attrs().MTU; mtu < leastMTU { // where the kernel has no IPv4 either
		return []Conflict{{
			What: fmt.Sprintf("its MTU is %d bytes, and IPv4 needs %d (RFC 791)", mtu, leastMTU),
			Mend: fmt.Sprintf("ip link set dev %s mtu 1500", name),
		}}, nil
	}
	addresses, err := addressesOf(l)
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	var found []Conflict
	for _, a := range addresses {
		if a.IP.To4() != nil {
			found = append(found, Conflict{
				What: fmt.Sprintf("it has the IPv4 address %v, for which the kernel answers and routes", a.IPNet),
				Mend: fmt.Sprintf("ip addr del %v dev %s", a.IPNet, name),
			})
		} else if a.Scope == unix.RT_SCOPE_UNIVERSE {
			found = append(found, Conflict{
				What: fmt.Sprintf("it has the global IPv6 address %v", a.IPNet),
				Mend: fmt.Sprintf("ip -6 addr del %v dev %s", a.IPNet, name),
			})
		}
	}
	on, err := readSysctl("ipv4", name, "forwarding")
	if err != nil {
		return nil, err
	}
	if on == "1" {
		found = append(found, forwarding("it", name))
	}
	if master := l.Attrs().MasterIndex; master != 0 {
		what := fmt.Sprintf("it is part of interface %d", master)
		if m, err := netlink.LinkByIndex(master); err == nil {
			what = fmt.Sprintf("it is part of the %s %s", m.Type(), m.Attrs().Name)
		}
		found = append(found, Conflict{What: what, Mend: "ip link set dev " + name + " nomaster"})
	}
	return found, nil
}

// forwarding is the conflict that the kernel routes.
func forwarding(which, name string) Conflict {
	return Conflict{What: "the kernel forwards what it receives on " + which, Mend: setting(name, "forwarding", "0")}
}

// setting is the command that sets net.ipv4.conf.NAME.KEY.
func setting(name, key, value string) string {
	return fmt.Sprintf("sysctl -w net.ipv4.conf.%s.%s=%s", strings.ReplaceAll(name, ".", "/"), key, value)
}

// addressesOf lists addresses, again when a change came in between.
func addressesOf(l netlink.Link) (addresses []netlink.Addr, err error) {
	for range 5 {
		addresses, err = netlink.AddrList(l, netlink.FAMILY_ALL)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return addresses, err
}
