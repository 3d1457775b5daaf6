package ports

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	// ErrMissing is the cause of an error about an interface that is not there.
	ErrMissing = errors.New("no such interface")

	// ErrNotEthernet is the cause of an error about an interface whose frames
	// are not Ethernet frames: a tunnel, PPP, or the loopback.
	ErrNotEthernet = errors.New("not an Ethernet interface")
)

// findEthernet returns the Ethernet interface of that name.
func findEthernet(name string) (netlink.Link, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	l, err := netlink.LinkByName(name)
	if missing(err) {
		return nil, fmt.Errorf("%s: %w%s", name, ErrMissing, othersThan(name))
	}
	if err != nil {
		return nil, fmt.Errorf("look up interface %s: %w", name, err)
	}
	if a := l.Attrs(); a.EncapType != "ether" || len(a.HardwareAddr) != 6 {
		return nil, fmt.Errorf("%s: %w (%s)", name, ErrNotEthernet, a.EncapType)
	}
	return l, nil
}

// missing says whether a look-up failed for want of the interface.
func missing(err error) bool { return errors.As(err, &netlink.LinkNotFoundError{}) }

// checkName refuses what the kernel refuses or silently cuts short.
func checkName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." ||
		strings.ContainsAny(name, "/:% \t\n") {
		return fmt.Errorf("%q is not an interface name: 1 to %d characters without space, slash, colon and percent sign",
			name, unix.IFNAMSIZ-1)
	}
	return nil
}

// othersThan lists the Ethernet interfaces there are, for an error message.
func othersThan(name string) string {
	links, err := netlink.LinkList()
	if err != nil {
		return ""
	}
	var names []string
	for _, l := range links {
		if a := l.Attrs(); a.EncapType == "ether" && a.Name != name {
			names = append(names, a.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; there are " + strings.Join(names, ", ")
}
