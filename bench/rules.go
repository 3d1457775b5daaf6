package main

import (
	"fmt"
	"strings"
)

// rules are the gateway's nftables rules. A hotspot has a set and a map of its
// clients, so that a packet is looked up and never compared rule by rule; a
// packet's priority is the handle of its class, which HTB takes without a filter:
// the cheapest classification there is. NAT alone counts what it forwards.
//
// The policer has the sets without the map, and rules of its own (policing).
func rules(clients int, kind string) string {
	var b strings.Builder
	b.WriteString("table ip bench {\n")
	classes := kind == hotspot || kind == stock
	if classes || kind == policer {
		for _, set := range []string{"up", "down"} {
			fmt.Fprintf(&b, "\tset %s { type ipv4_addr; counter; elements = {%s} }\n", set,
				elements(clients, func(ip string, _ int) string { return ip + " counter" }))
		}
	}
	if classes {
		fmt.Fprintf(&b, "\tmap class { typeof ip saddr : meta priority; elements = {%s} }\n",
			elements(clients, func(ip string, i int) string { return ip + " : " + classID(i) }))
	}
	up, down := "counter accept", "counter accept"
	switch {
	case kind == policer:
		up, down = "ip saddr @up accept", "ip daddr @down accept"
		b.WriteString("\tchain police { type filter hook forward priority filter + 10; }\n")
	case classes:
		up, down = "ip saddr @up meta priority set ip saddr map @class accept", "ip daddr @down meta priority set ip daddr map @class accept"
	}
	fmt.Fprintf(&b, `	chain forward {
		type filter hook forward priority filter; policy drop;
		iif %q %s
		iif %q %s
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oif %q ip saddr 10.10.0.0/16 counter masquerade
	}
}
`, lanPort, up, wanPort, down, wanPort)
	return b.String()
}

func elements(clients int, one func(ip string, i int) string) string {
	list := make([]string, clients)
	for i := range list {
		list[i] = one(memberAt(i).ip.String(), i)
	}
	return strings.Join(list, ", ")
}

// A client's class is 1: and its number from here on.
const firstClass = 0x10

func classID(client int) string { return fmt.Sprintf("1:%x", firstClass+client) }

// htb is how a client's class is made.
type htb struct {
	rate, burst string // of a class without a limit; burst: arguments of tc, empty for HTB's own
	total       bits   // of a class above all of them; 0: there is none
	plan        plan   // finite rates have HTB's own burst
}

// queues is what tc -batch makes a port's queues of: a class for each client, whose
// queue is the pfifo that HTB makes for it, as long as the port's (1000 packets).
func (h htb) queues(port string, clients int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "qdisc add dev %s root handle 1: htb\n", port)
	if h.total != 0 {
		fmt.Fprintf(&b, "class add dev %s parent 1: classid 1:1 htb rate %s ceil %s\n", port, h.total.tc(), h.total.tc())
	}
	return b.String() + h.classes(port, clients)
}

// classes is what tc -batch makes or changes the classes of: rate and ceil are the
// plan's; of a total, the rate is the client's share by weight.
func (h htb) classes(port string, clients int) string {
	var b strings.Builder
	parent, all := "1:", h.plan.sum(clients)
	if h.total != 0 {
		parent = "1:1"
	}
	for i := range clients {
		rate, ceil, burst := h.rate, h.rate, h.burst
		if h.plan.rate != 0 && h.plan.rate != wide {
			rate, ceil, burst = h.plan.rate.tc(), h.plan.rate.tc(), ""
		}
		if h.total != 0 {
			rate = (h.total * bits(h.plan.weight(i)) / bits(all)).tc()
		}
		if h.total != 0 && (h.plan.rate == 0 || h.plan.rate > h.total) {
			ceil, burst = h.total.tc(), ""
		}
		fmt.Fprintf(&b, "class replace dev %s parent %s classid %s htb rate %s ceil %s %s\n", port, parent, classID(i), rate, ceil, burst)
	}
	return b.String()
}
