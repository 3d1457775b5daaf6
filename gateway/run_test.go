package gateway

import (
	"net/netip"
	"testing"

	"gatewayd/gateway/config"
)

func TestTheReadyLineSaysWhereTheGatewayIs(t *testing.T) {
	one, two := netip.MustParsePrefix("203.0.113.2/24"), netip.MustParsePrefix("203.0.113.3/24")
	for _, row := range []struct {
		name, want string
		cfg        config.Config
	}{
		{"at an address", "203.0.113.2/24", config.Config{WAN: config.WAN{Addresses: config.Addresses{List: []netip.Prefix{one}}}}},
		{"at several", "203.0.113.2/24, 203.0.113.3/24", config.Config{WAN: config.WAN{Addresses: config.Addresses{List: []netip.Prefix{one, two}}}}},
		{"where it comes by DHCP", "by DHCP", config.Config{WAN: config.WAN{Addresses: config.Addresses{DHCP: true}}}},
		{"on a bridge", "bridged", config.Config{Mode: config.ModeBridge}},
	} {
		if got := outside(&row.cfg); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
