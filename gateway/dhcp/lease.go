package dhcp

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Never is the end of a lease without one.
const Never = time.Duration(math.MaxInt64)

// Lease is what a server has given. Moments are since boot.
type Lease struct {
	MAC     net.HardwareAddr `json:"mac"`     // for which it was given
	Address netip.Prefix     `json:"address"` // with its network's length
	Router  netip.Addr       `json:"router"`  // invalid: the server names none
	Server  netip.Addr       `json:"server"`  // its identifier
	By      net.HardwareAddr `json:"by"`      // from which it came: the server's, or a relay's
	DNS     []netip.Addr     `json:"dns"`     // name servers, in the server's order
	Since   time.Duration    `json:"since"`   // when it was asked for, last
	Renew   time.Duration    `json:"renew"`   // T1
	Rebind  time.Duration    `json:"rebind"`  // T2
	End     time.Duration    `json:"end"`     // Never: it has none
}

// infinite is a lease time of no end, as the library reads it (RFC 2131, 3.3).
const infinite = math.MaxUint32 * time.Second

// least is the shortest lease that is of use.
const least = 10 * time.Second

// read takes a lease out of an offer or an acknowledgement. It was asked for at a moment.
func read(m *dhcpv4.DHCPv4, asked time.Duration) (l Lease, err error) {
	l = Lease{MAC: m.ClientHWAddr, Router: first(m.Router()), Server: address(m.ServerIdentifier()), Since: asked}
	ip := address(m.YourIPAddr)
	ones, size := m.SubnetMask().Size()
	switch {
	case !ip.IsValid() || ip.IsUnspecified():
		return l, errors.New("it names no address")
	case !l.Server.IsValid() || l.Server.IsUnspecified() || l.Server.IsMulticast() || l.Server == allHosts:
		return l, errors.New("it names no server")
	case size != 32:
		return l, errors.New("it names no subnet mask, or one that is none")
	}
	l.Address = netip.PrefixFrom(ip, ones)
	for _, a := range m.DNS() {
		l.DNS = append(l.DNS, address(a))
	}
	lasts := m.IPAddressLeaseTime(0)
	if lasts < least {
		return l, fmt.Errorf("it is for %v, and less than %v is of no use", lasts, least)
	}
	if lasts >= infinite {
		l.Renew, l.Rebind, l.End = Never, Never, Never
		return l, nil
	}
	t1, t2 := m.IPAddressRenewalTime(lasts/2), m.IPAddressRebindingTime(lasts-lasts/8)
	if t1 < least/2 || t1 >= t2 || t2 >= lasts { // none is left in which to ask, or it asks all the time
		t1, t2 = lasts/2, lasts-lasts/8 // RFC 2131, 4.4.5
	}
	l.Renew, l.Rebind, l.End = asked+t1, asked+t2, asked+lasts
	return l, nil
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip.To4())
	return a
}

// first is the first of some addresses that is one.
func first(list []net.IP) (a netip.Addr) {
	for _, ip := range list {
		if a = address(ip); a.IsValid() && !a.IsUnspecified() {
			return a
		}
	}
	return netip.Addr{}
}

// whole says whether a lease that was written down has all by which to ask for more of it.
func (l *Lease) whole() bool {
	return l.Address.Addr().Is4() && l.Server.Is4() && len(l.By) == 6 && l.Renew <= l.Rebind && l.Rebind <= l.End
}
