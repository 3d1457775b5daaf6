package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink"
)

// A kernel is the hotspot that the kernel is with nftables and HTB.
type kernel struct {
	place *lab
}

// ruleset is the hotspot's. A packet's priority is the handle of its class,
// which HTB takes without a filter: the cheapest classification there is.
const ruleset = `
table ip hotspot {
	set up {
		type ipv4_addr
		counter
		elements = { ` + clientIP + ` counter }
	}
	set down {
		type ipv4_addr
		counter
		elements = { ` + clientIP + ` counter }
	}
	map class {
		typeof ip saddr : meta priority
		elements = { ` + clientIP + ` : 1:10 }
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		iif "` + lanPort + `" ip saddr @up meta priority set ip saddr map @class accept
		iif "` + wanPort + `" ip daddr @down meta priority set ip daddr map @class accept
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oif "` + wanPort + `" ip saddr 10.10.0.0/16 counter masquerade
	}
}
`

// newKernel makes a lab and the kernel its gateway.
func newKernel(ctx context.Context) (k *kernel, err error) {
	place, err := newLab(ctx, "kernel")
	if err != nil {
		return nil, err
	}
	k = &kernel{place}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make the kernel a hotspot: %w", err), k.stop())
		}
	}()
	gateway := place.gateway
	if err = ip(ctx,
		"-n "+gateway+" addr add "+lanAddress+" dev "+lanPort,
		"-n "+gateway+" addr add "+wanAddress+" dev "+wanPort,
		"-n "+gateway+" route add default via "+serverIP,
	); err != nil {
		return k, err
	}
	if err = within(gateway, func() error { return sysctls("ipv4/ip_forward=1") }); err != nil {
		return k, err
	}
	if err = feed(ctx, gateway, ruleset, "nft", "-f", "-"); err != nil {
		return k, err
	}
	for _, port := range []string{lanPort, wanPort} {
		for _, args := range [][]string{
			{"qdisc", "add", "dev", port, "root", "handle", "1:", "htb"},
			{"class", "add", "dev", port, "parent", "1:", "classid", "1:10", "htb",
				"rate", "100gbit", "ceil", "100gbit", "burst", "1m", "cburst", "1m"},
			{"qdisc", "add", "dev", port, "parent", "1:10", "handle", "10:", "pfifo", "limit", "1000"},
		} {
			if _, err = run(ctx, gateway, "tc", args...); err != nil {
				return k, err
			}
		}
	}
	err = place.answers(ctx)
	return k, err
}

func (k *kernel) name() string { return "kernel hotspot" }
func (k *kernel) lab() *lab    { return k.place }
func (k *kernel) stop() error  { return k.place.remove() }

// Names of a kernel's counts.
const (
	setUp, setDown     = "set_up_packets", "set_down_packets" // a super-packet is one
	masqueraded        = "masqueraded_flows"
	classUp, classDown = "class_up_bytes", "class_down_bytes" // with Ethernet headers
	lostUp, lostDown   = "class_up_drops", "class_down_drops"
)

// counts reads the sets, the masquerade rule and the classes.
func (k *kernel) counts(ctx context.Context) (counts, error) {
	c := counts{}
	rules, err := run(ctx, k.place.gateway, "nft", "-j", "list", "table", "ip", "hotspot")
	if err != nil {
		return nil, err
	}
	if err := readRules(rules, c); err != nil {
		return nil, err
	}
	err = within(k.place.gateway, func() (err error) {
		if c[classUp], c[lostUp], err = readClass(wanPort); err == nil {
			c[classDown], c[lostDown], err = readClass(lanPort)
		}
		return err
	})
	return c, err
}

// readRules reads what nft -j lists of the hotspot's table.
func readRules(text []byte, c counts) error {
	type counter struct{ Packets uint64 }
	var list struct {
		Nftables []struct {
			Set *struct {
				Name string
				Elem []struct {
					Elem struct{ Counter counter }
				}
			}
			Rule *struct {
				Expr []struct{ Counter *counter }
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("read nft's list: %w", err)
	}
	for _, item := range list.Nftables {
		if s := item.Set; s != nil {
			for _, e := range s.Elem {
				c["set_"+s.Name+"_packets"] += e.Elem.Counter.Packets
			}
		}
		if r := item.Rule; r != nil {
			for _, e := range r.Expr {
				if e.Counter != nil {
					c[masqueraded] += e.Counter.Packets
				}
			}
		}
	}
	return nil
}

// readClass reads the client's class on a port of the thread's namespace.
func readClass(name string) (bytes, drops uint64, err error) {
	port, err := netlink.LinkByName(name)
	if err != nil {
		return 0, 0, fmt.Errorf("find %s: %w", name, err)
	}
	classes, err := netlink.ClassList(port, netlink.HANDLE_NONE)
	if err != nil {
		return 0, 0, fmt.Errorf("list the classes of %s: %w", name, err)
	}
	for _, class := range classes {
		if a := class.Attrs(); a.Handle == netlink.MakeHandle(1, 0x10) && a.Statistics != nil {
			return a.Statistics.Basic.Bytes, uint64(a.Statistics.Queue.Drops), nil
		}
	}
	return 0, 0, fmt.Errorf("%s has no class 1:10", name)
}

// prove wants each rule hit, and all that arrived to have gone through the class.
func (k *kernel) prove(rose counts, a arrival, f figure) error {
	if rose[masqueraded] == 0 {
		return errors.New("no flow was masqueraded")
	}
	for _, way := range []struct {
		used             bool
		direction        string
		set, class, port string
		arrived          traffic
	}{
		{true, "up", setUp, classUp, wanPort, a.Up},
		{f.answers, "down", setDown, classDown, lanPort, a.Down},
	} {
		switch {
		case !way.used:
		case way.arrived.Packets == 0:
			return errors.New("nothing arrived " + way.direction)
		case rose[way.set] == 0:
			return errors.New("the set " + way.direction + " counted nothing")
		case rose[way.class] < way.arrived.Bytes:
			return errors.New("the class on " + way.port + " passed " + strconv.FormatUint(rose[way.class], 10) +
				" bytes, but " + strconv.FormatUint(way.arrived.Bytes, 10) + " arrived")
		}
	}
	return nil
}
