package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Forward leads ports of the WAN to a client, for as long as its session runs, or to the box.
type Forward struct {
	PortRange            // of the WAN
	At        netip.Addr `json:"at"`   // the one of wan.address that it is at; not valid: each of them
	To        netip.Addr `json:"to"`   // the client's address; not valid: the box
	Port      uint16     `json:"port"` // there, of First; the others follow in order
}

const maxForwards = 256

// leasePort is the UDP port on which a DHCP client hears (RFC 2131, section 4.1).
const leasePort = 68

// aForward is what errors give as an example.
const aForward = "tcp/8080 to 10.10.0.5:80"

// String returns the forward as the config file writes it: tcp/8080 to 10.10.0.5:80,
// udp/5000-5009 at 203.0.113.3 to host.
func (f Forward) String() string {
	s := f.PortRange.String()
	if f.At.IsValid() {
		s += " at " + f.At.String()
	}
	to := "host"
	if f.To.IsValid() {
		to = f.To.String()
	}
	if f.Port != f.First {
		to = fmt.Sprintf("%s:%d", to, f.Port)
	}
	return s + " to " + to
}

// parseForward reads tcp/8080 to 10.10.0.5:80; check tells whether it makes sense.
func parseForward(text string) (f Forward, err error) {
	words := strings.Fields(text)
	at := ""
	switch {
	case len(words) == 5 && words[1] == "at" && words[3] == "to":
		at = words[2]
	case len(words) == 3 && words[1] == "to":
	default:
		return f, fmt.Errorf("%q is not a forward; write it as %s, or tcp/22 at 203.0.113.3 to host", text, aForward)
	}
	if f.PortRange, err = parsePortRange(words[0]); err != nil {
		return f, err
	}
	if at != "" {
		if f.At, err = parseIPv4(at); err != nil {
			return f, err
		}
	}
	to, port, named := strings.Cut(words[len(words)-1], ":")
	if f.Port = f.First; named {
		if f.Port, err = parsePort(port); err != nil || f.Port == 0 {
			return f, fmt.Errorf("%q is not a port from 1 to 65535; write the forward as %s", port, aForward)
		}
	}
	if to == "host" {
		return f, nil
	}
	f.To, err = parseIPv4(to)
	return f, err
}

// parseIPv4 reads an address without anything else.
func parseIPv4(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is not an IPv4 address; write the forward as %s", text, aForward)
	}
	return a, nil
}

// forwards looks at all of them, alone and against each other.
func (c *Config) forwards(k *checker) {
	if len(c.Forwards) > maxForwards {
		k.say("forwards", fmt.Sprintf("%d entries are more than %d; join neighbours into ranges such as tcp/8000-8010 to 10.10.0.5", len(c.Forwards), maxForwards))
		return
	}
	if c.Bridges() && len(c.Forwards) > 0 {
		k.say("forwards", "mode: bridge translates nothing, so every client has its own ports; remove forwards", "mode")
		return
	}
	for i, f := range c.Forwards {
		key := fmt.Sprintf("forwards[%d]", i)
		if reason := f.check(); reason != "" {
			k.say(key, reason)
			continue
		}
		switch leased := c.WAN.ByDHCP(); {
		case leased && f.At.IsValid():
			k.say(key, fmt.Sprintf("with wan.address: dhcp nobody knows beforehand which address the WAN has; leave %v out: %v is then forwarded at whichever it is", f.At, f.PortRange), "wan.address")
		case leased && f.has("udp", leasePort):
			k.say(key, fmt.Sprintf("udp/%d is the DHCP client's own with wan.address: dhcp; leave that port out", leasePort), "wan.address")
		case !leased && f.At.IsValid() && len(c.WAN.Addresses.List) > 0 && !c.WAN.has(f.At):
			k.say(key, fmt.Sprintf("%v is not one of wan.address; add it there, or leave the address out: %v is then forwarded at each of them", f.At, f.PortRange), "wan.address")
		}
		switch lan := c.LAN.Address; {
		case !f.To.IsValid() && !c.Host.DefaultRoute:
			k.say(key, "the box has no way back to the WAN; set host.default_route to true, or forward to a client", "host.default_route")
		case f.To.IsValid() && lan.IsValid() && f.To == lan.Addr():
			k.say(key, fmt.Sprintf("%v is lan.address, the box itself; write host", f.To), "lan.address")
		case f.To.IsValid() && lan.IsValid() && !isHost(lan, f.To):
			k.say(key, fmt.Sprintf("%v cannot be a client's; write an address inside lan.address, %v", f.To, lan.Masked()), "lan.address")
		}
		if j := slices.IndexFunc(c.Forwards[:i], f.crosses); j >= 0 {
			k.say(key, fmt.Sprintf("it is of a port that %q is of already; a port leads to one place", c.Forwards[j]))
		}
	}
}

// check says what is wrong with a forward alone, or nothing.
func (f Forward) check() string {
	if reason := f.PortRange.check(); reason != "" {
		return reason
	}
	if f.Port == 0 || int(f.Port)+int(f.Last-f.First) > 65535 {
		return fmt.Sprintf("the ports there would be %d to %d; they go from 1 to 65535", f.Port, int(f.Port)+int(f.Last-f.First))
	}
	return ""
}

// crosses says whether two forwards are of one port.
func (f Forward) crosses(o Forward) bool {
	return f.Protocol == o.Protocol && f.First <= o.Last && o.First <= f.Last && (!f.At.IsValid() || !o.At.IsValid() || f.At == o.At)
}

// isHost says whether an address can be one of a prefix's hosts.
func isHost(p netip.Prefix, a netip.Addr) bool {
	return p.Contains(a) && a != p.Masked().Addr() && a != broadcast(p)
}
