package config

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestForwardsAreRead(t *testing.T) {
	client := netip.MustParseAddr("10.10.0.5")
	for _, row := range []struct {
		text, written string
		want          Forward
	}{
		{"tcp/8080 to 10.10.0.5:80", "", Forward{PortRange{"tcp", 8080, 8080}, netip.Addr{}, client, 80}},
		{"tcp/80 to 10.10.0.5", "", Forward{PortRange{"tcp", 80, 80}, netip.Addr{}, client, 80}},
		{"udp/5000-5009  to  10.10.0.5:5000", "udp/5000-5009 to 10.10.0.5", Forward{PortRange{"udp", 5000, 5009}, netip.Addr{}, client, 5000}},
		{"udp/1-65535 to 10.10.0.5", "", Forward{PortRange{"udp", 1, 65535}, netip.Addr{}, client, 1}},
		{"tcp/22 at 203.0.113.2 to 10.10.0.5", "", Forward{PortRange{"tcp", 22, 22}, netip.MustParseAddr("203.0.113.2"), client, 22}},
		{"tcp/2222 to host:22", "", Forward{PortRange{"tcp", 2222, 2222}, netip.Addr{}, netip.Addr{}, 22}},
		{"tcp/22 to host", "", Forward{PortRange{"tcp", 22, 22}, netip.Addr{}, netip.Addr{}, 22}},
	} {
		c, err := Parse("gw.yaml", []byte(sides+"host: {default_route: true}\nforwards: ["+row.text+"]\n"))
		if err != nil {
			t.Errorf("%s: %v", row.text, err)
			continue
		}
		if row.written == "" {
			row.written = row.text
		}
		if !reflect.DeepEqual(c.Forwards, []Forward{row.want}) || c.Forwards[0].String() != row.written {
			t.Errorf("%s: got %+v, written as %v", row.text, c.Forwards, c.Forwards[0])
		}
	}
}

func TestForwardsThatAreRefused(t *testing.T) {
	form := func(text string) string {
		return "\"" + text + "\" is not a forward; write it as tcp/8080 to 10.10.0.5:80, or tcp/22 at 203.0.113.3 to host"
	}
	for _, row := range []struct{ list, entry, want string }{
		{"tcp/80", "", "\"tcp/80\" is not a list; write one such as [tcp/8080 to 10.10.0.5:80], or [] for none"},
		{"tcp/80 to 10.10.0.5", "", "one forward is a list too; write [tcp/80 to 10.10.0.5]"},
		{"[tcp/80]", "0", form("tcp/80")},
		{"[tcp/80 10.10.0.5]", "0", form("tcp/80 10.10.0.5")},
		{"[tcp/80 by 10.10.0.5]", "0", form("tcp/80 by 10.10.0.5")},
		{"[tcp/80 to 203.0.113.2 at 10.10.0.5]", "0", form("tcp/80 to 203.0.113.2 at 10.10.0.5")},
		{"[80 to 10.10.0.5]", "0", "\"80\" lacks a protocol; write tcp/80 or udp/80"},
		{"[icmp/8 to 10.10.0.5]", "0", "\"icmp\" is not a protocol with ports; use tcp or udp"},
		{"[tcp/0 to 10.10.0.5:80]", "0", "ports go from 1 to 65535"},
		{"[tcp/90-80 to 10.10.0.5]", "0", "90-80 runs backwards; write tcp/80-90"},
		{"[tcp/80 to 10.10.0.5:]", "0", "\"\" is not a port from 1 to 65535; write the forward as tcp/8080 to 10.10.0.5:80"},
		{"[tcp/80 to 10.10.0.5:0]", "0", "\"0\" is not a port from 1 to 65535; write the forward as tcp/8080 to 10.10.0.5:80"},
		{"[tcp/80 to 10.10.0.5:65536]", "0", "\"65536\" is not a port from 1 to 65535; write the forward as tcp/8080 to 10.10.0.5:80"},
		{"[tcp/80-89 to 10.10.0.5:65527]", "0", "the ports there would be 65527 to 65536; they go from 1 to 65535"},
		{"[tcp/80 to portal]", "0", "\"portal\" is not an IPv4 address; write the forward as tcp/8080 to 10.10.0.5:80"},
		{"[tcp/80 to 'fe80::1']", "0", ""},
		{"[tcp/80 at wan to 10.10.0.5]", "0", "\"wan\" is not an IPv4 address; write the forward as tcp/8080 to 10.10.0.5:80"},
		{"[tcp/80 at 203.0.113.9 to 10.10.0.5]", "0", "203.0.113.9 is not one of wan.address; add it there, or leave the address out: tcp/80 is then forwarded at each of them"},
		{"[tcp/80 to 10.10.0.1]", "0", "10.10.0.1 is lan.address, the box itself; write host"},
		{"[tcp/80 to 10.10.0.0]", "0", "10.10.0.0 cannot be a client's; write an address inside lan.address, 10.10.0.0/16"},
		{"[tcp/80 to 10.10.255.255]", "0", "10.10.255.255 cannot be a client's; write an address inside lan.address, 10.10.0.0/16"},
		{"[tcp/80 to 192.0.2.1]", "0", "192.0.2.1 cannot be a client's; write an address inside lan.address, 10.10.0.0/16"},
		{"[tcp/80 to host]", "0", "the box has no way back to the WAN; set host.default_route to true, or forward to a client"},
		{"[tcp/80-90 to 10.10.0.5, udp/80 to 10.10.0.5, tcp/90 to 10.10.0.6]", "2", "it is of a port that \"tcp/80-90 to 10.10.0.5\" is of already; a port leads to one place"},
		{"[tcp/80 at 203.0.113.2 to 10.10.0.5, tcp/80 to 10.10.0.6]", "1", "it is of a port that \"tcp/80 at 203.0.113.2 to 10.10.0.5\" is of already; a port leads to one place"},
	} {
		_, err := Parse("gw.yaml", []byte(sides+"forwards: "+row.list+"\n"))
		errs, _ := err.(Errors)
		if row.want == "" {
			if len(errs) == 0 {
				t.Errorf("%s is taken", row.list)
			}
			continue
		}
		key := "forwards"
		if row.entry != "" {
			key += "[" + row.entry + "]"
		}
		if len(errs) != 1 || errs[0].Key != key || errs[0].Reason != row.want || errs[0].Line == 0 {
			t.Errorf("%s: got\n%v\nwant %s: %s", row.list, err, key, row.want)
		}
	}
	for _, row := range []struct{ list, want string }{
		{"[tcp/80 to 10.10.0.5, tcp/68 to 10.10.0.5, udp/67 to 10.10.0.5, udp/69-70 to 10.10.0.6]", ""},
		{"[tcp/80 at 203.0.113.2 to 10.10.0.5]", "with wan.address: dhcp nobody knows beforehand which address the WAN has; leave 203.0.113.2 out: tcp/80 is then forwarded at whichever it is"},
		{"[udp/68 to 10.10.0.5]", "udp/68 is the DHCP client's own with wan.address: dhcp; leave that port out"},
		{"[udp/60-68 to 10.10.0.5]", "udp/68 is the DHCP client's own with wan.address: dhcp; leave that port out"},
		{"[udp/68-70 to 10.10.0.5]", "udp/68 is the DHCP client's own with wan.address: dhcp; leave that port out"},
	} {
		_, err := Parse("gw.yaml", []byte(lanSide+"wan: {interface: eth0, address: dhcp}\nforwards: "+row.list+"\n"))
		errs, _ := err.(Errors)
		if row.want == "" && err == nil || len(errs) == 1 && errs[0].Key == "forwards[0]" && errs[0].Reason == row.want && errs[0].Line == 3 {
			continue
		}
		t.Errorf("%s with a lease: got\n%v\nwant %s", row.list, err, row.want)
	}
	if _, err := Parse("gw.yaml", []byte(sides+"forwards: [udp/68 to 10.10.0.5]\n")); err != nil {
		t.Error(err)
	}
	var c = usual()
	for i := range uint16(257) {
		c.Forwards = append(c.Forwards, Forward{PortRange{"tcp", 1 + i, 1 + i}, netip.Addr{}, netip.MustParseAddr("10.10.0.5"), 1 + i})
	}
	if err := c.Check(); err == nil || err.Error() != "forwards: 257 entries are more than 256; join neighbours into ranges such as tcp/8000-8010 to 10.10.0.5" {
		t.Error(err)
	}
	c.Forwards = c.Forwards[1:]
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}
