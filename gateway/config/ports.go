package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Ports is what clients may reach on the box: everything, or what the list
// names. The zero value is nothing.
type Ports struct {
	All  bool        `json:"all"`            // every port; List must be empty
	List []PortRange `json:"list,omitempty"` // at most 1024 entries
}

// PortRange is the ports First to Last, both included, of one protocol.
type PortRange struct {
	Protocol string `json:"protocol"` // tcp or udp
	First    uint16 `json:"first"`    // from 1
	Last     uint16 `json:"last"`     // at least First
}

const maxPortRanges = 1024

// String returns the ports as the config file writes them.
func (p Ports) String() string {
	if p.All {
		return "all"
	}
	if len(p.List) == 0 {
		return "none"
	}
	items := make([]string, len(p.List))
	for i, r := range p.List {
		items[i] = r.String()
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// Open says whether clients may reach a port.
func (p Ports) Open(protocol string, port uint16) bool {
	return p.All || slices.ContainsFunc(p.List, func(r PortRange) bool {
		return r.has(protocol, port)
	})
}

// has says whether a port is in the range.
func (r PortRange) has(protocol string, port uint16) bool {
	return r.Protocol == protocol && r.First <= port && port <= r.Last
}

// String returns the range as the config file writes it: tcp/80, tcp/8000-8010.
func (r PortRange) String() string {
	if r.First == r.Last {
		return fmt.Sprintf("%s/%d", r.Protocol, r.First)
	}
	return fmt.Sprintf("%s/%d-%d", r.Protocol, r.First, r.Last)
}

// check says what is wrong with a range, or nothing.
func (r PortRange) check() string {
	switch {
	case r.Protocol != "tcp" && r.Protocol != "udp":
		return fmt.Sprintf("%q is not a protocol with ports; use tcp or udp", r.Protocol)
	case r.First == 0:
		return "ports go from 1 to 65535"
	case r.Last < r.First:
		return fmt.Sprintf("%d-%d runs backwards; write %s/%d-%d", r.First, r.Last, r.Protocol, r.Last, r.First)
	}
	return ""
}

// parsePortRange reads tcp/80 or udp/8000-8010; check tells whether the range makes sense.
func parsePortRange(text string) (PortRange, error) {
	protocol, ports, found := strings.Cut(text, "/")
	if !found {
		if _, err := strconv.ParseUint(text, 10, 16); err == nil {
			return PortRange{}, fmt.Errorf("%q lacks a protocol; write tcp/%s or udp/%s", text, text, text)
		}
		return PortRange{}, fmt.Errorf("%q is not a port; write it as tcp/80, udp/53 or tcp/8000-8010", text)
	}
	first, last, ranged := strings.Cut(ports, "-")
	if !ranged {
		last = first
	}
	from, errFrom := parsePort(first)
	to, errTo := parsePort(last)
	if errFrom != nil || errTo != nil {
		return PortRange{}, fmt.Errorf("%q is not a port from 1 to 65535, or two with a dash; write it as tcp/80 or tcp/8000-8010", ports)
	}
	return PortRange{Protocol: protocol, First: from, Last: to}, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err
}
