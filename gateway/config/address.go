package config

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// broadcast returns the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(b[:]) | uint32(1<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, last)))
}

// firstHost returns the lowest host address of an IPv4 prefix of /31 or shorter that is not other.
func firstHost(p netip.Prefix, other netip.Addr) netip.Addr {
	host := p.Masked().Addr()
	if p.Bits() <= 30 {
		host = host.Next()
	}
	if host == other {
		host = host.Next()
	}
	return host
}

// apartFrom returns a private prefix for the clients that does not overlap p.
func apartFrom(p netip.Prefix) netip.Prefix {
	for _, lan := range []string{"10.10.0.1/16", "172.20.0.1/16"} {
		if lan := netip.MustParsePrefix(lan); !lan.Overlaps(p) {
			return lan
		}
	}
	return netip.MustParsePrefix("192.168.10.1/24")
}

// isShared reports whether p lies in addresses that nobody owns on the internet.
func isShared(p netip.Prefix) bool {
	return slices.ContainsFunc(shared, func(s netip.Prefix) bool {
		return s.Contains(p.Addr()) && p.Bits() >= s.Bits()
	})
}
