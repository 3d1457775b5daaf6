package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// A kernel is the gateway that the kernel is with nftables and, as a hotspot, HTB.
type kernel struct {
	kind    string
	place   *lab
	htb     *htb // nil: no classes
	clients int
	turn    int    // plans that the policer has had
	cores   string // that receive, a mask; empty: not set
}

// The sides' names.
const (
	hotspot   = "kernel hotspot"
	stock     = "kernel hotspot, stock HTB"
	natOnly   = "kernel NAT"
	policer   = "nft policer"
	ourselves = "gatewayd"
	routed    = "gatewayd, route" // where gatewayd itself is a bridge
)

// newKernel makes a lab and the kernel its gateway.
func newKernel(ctx context.Context, kind string, s setting) (k *kernel, err error) {
	place, err := newLab(ctx, map[string]string{hotspot: "h", stock: "s", natOnly: "n", policer: "p"}[kind]+s.key, s)
	if err != nil {
		return nil, err
	}
	k = &kernel{kind: kind, place: place, clients: s.clients}
	switch kind {
	case hotspot:
		k.htb = &htb{rate: "100gbit", burst: "burst 1m cburst 1m", total: s.total, plan: plan{rate: s.rate}}
	case stock:
		k.htb = &htb{rate: "10gbit", plan: plan{rate: s.rate}}
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make the %s: %w", kind, err), k.stop())
		}
	}()
	gateway := place.gateway
	if err = ip(ctx,
		"-n "+gateway+" addr add "+lanAddress+" dev "+lanPort,
		"-n "+gateway+" addr add "+wanAddress+" dev "+wanPort,
		"-n "+gateway+" link set "+lanPort+" txqueuelen 1000",
		"-n "+gateway+" link set "+wanPort+" txqueuelen 1000",
		"-n "+gateway+" route add default via "+serverIP,
	); err != nil {
		return k, err
	}
	if err = within(gateway, func() error { return sysctls("ipv4/ip_forward=1") }); err != nil {
		return k, err
	}
	if err = feed(ctx, gateway, neighbours(s.clients), "ip", "-batch", "-"); err != nil {
		return k, err
	}
	if err = feed(ctx, gateway, rules(s.clients, kind), "nft", "-f", "-"); err != nil {
		return k, err
	}
	if kind == policer {
		if err = k.plan(ctx, plan{rate: s.rate}); err != nil {
			return k, err
		}
	}
	if k.htb != nil {
		for _, port := range []string{lanPort, wanPort} {
			if err = feed(ctx, gateway, k.htb.queues(port, s.clients), "tc", "-batch", "-"); err != nil {
				return k, err
			}
		}
	}
	err = place.ping(ctx)
	return k, err
}

// neighbours are the clients that answer no ARP, for ip -batch.
func neighbours(clients int) string {
	var b strings.Builder
	for i := 1; i < clients; i++ {
		m := memberAt(i)
		fmt.Fprintf(&b, "neigh add %v lladdr %v nud permanent dev %s\n", m.ip, m.mac, lanPort)
	}
	return b.String()
}

func (k *kernel) name() string { return k.kind }
func (k *kernel) lab() *lab    { return k.place }
func (k *kernel) stop() error  { return k.place.remove() }

// prepare forgets all flows, so that what is masqueraded is counted anew, and has
// the cores that do not send receive, if the trial's sender has a core of its own
// (RPS), as they would from a real port; else the core that sends does all the work
// there is.
func (k *kernel) prepare(ctx context.Context, t trial) error {
	cores := "0"
	if t.spread {
		cores = fmt.Sprintf("%x", uint64(1)<<min(runtime.NumCPU()-1, 32)-1)
	}
	if k.cores != cores {
		for _, port := range []string{lanPort, wanPort} {
			file := "/sys/class/net/" + port + "/queues/rx-0/rps_cpus"
			if _, err := run(ctx, k.place.gateway, "sh", "-c", "echo "+cores+" > "+file); err != nil {
				return err
			}
		}
		k.cores = cores
	}
	_, err := run(ctx, k.place.gateway, "conntrack", "-F")
	return err
}

// Names of a kernel's counts.
const (
	setUp, setDown     = "set_up_packets", "set_down_packets" // a super-packet is one; of NAT alone, its counters
	masqueraded        = "masqueraded_flows"
	classUp, classDown = "class_up_bytes", "class_down_bytes" // with Ethernet headers
	lostUp, lostDown   = "class_up_drops", "class_down_drops"
)

// counts reads the sets, the rules and the classes.
func (k *kernel) counts(ctx context.Context) (reading, error) {
	c := counts{}
	text, err := run(ctx, k.place.gateway, "nft", "-j", "list", "table", "ip", "bench")
	if err != nil {
		return reading{}, err
	}
	if err := readRules(text, c); err != nil || k.htb == nil {
		return reading{sums: c}, err
	}
	err = within(k.place.gateway, func() (err error) {
		if c[classUp], c[lostUp], err = readClasses(wanPort); err == nil {
			c[classDown], c[lostDown], err = readClasses(lanPort)
		}
		return err
	})
	return reading{sums: c}, err
}

// readRules reads what nft -j lists of the table.
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
				Chain string
				Expr  []struct {
					Match   *struct{ Right any }
					Counter *counter
				}
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
		r := item.Rule
		if r == nil {
			continue
		}
		name := masqueraded
		if r.Chain == "forward" && len(r.Expr) > 0 && r.Expr[0].Match != nil {
			name = map[any]string{lanPort: setUp, wanPort: setDown}[r.Expr[0].Match.Right]
		}
		for _, e := range r.Expr {
			if e.Counter != nil {
				c[name] += e.Counter.Packets
			}
		}
	}
	return nil
}

// readClasses sums the clients' classes on a port of the thread's namespace.
func readClasses(name string) (bytes, drops uint64, err error) {
	port, err := netlink.LinkByName(name)
	if err != nil {
		return 0, 0, fmt.Errorf("find %s: %w", name, err)
	}
	classes, err := netlink.ClassList(port, netlink.HANDLE_NONE)
	if err != nil {
		return 0, 0, fmt.Errorf("list the classes of %s: %w", name, err)
	}
	found := false
	for _, class := range classes {
		a := class.Attrs()
		if a.Handle < netlink.MakeHandle(1, firstClass) || a.Statistics == nil {
			continue
		}
		found = true
		bytes += a.Statistics.Basic.Bytes
		drops += uint64(a.Statistics.Queue.Drops)
	}
	if !found {
		return 0, 0, fmt.Errorf("%s has no class of a client", name)
	}
	return bytes, drops, nil
}

// prove wants each rule hit, and all that arrived to have gone through the classes.
func (k *kernel) prove(rose reading, a arrival, t trial, _ outcome) error {
	c := rose.sums
	if c[masqueraded] == 0 {
		return errors.New("no flow was masqueraded")
	}
	for _, way := range []struct {
		used             bool
		direction        string
		set, class, port string
		arrived          traffic
	}{
		{true, "up", setUp, classUp, wanPort, a.Up},
		{t.answers, "down", setDown, classDown, lanPort, a.Down},
	} {
		switch {
		case !way.used:
		case way.arrived.Packets == 0:
			return errors.New("nothing arrived " + way.direction)
		case c[way.set] == 0:
			return errors.New("the set " + way.direction + ", or the counter, counted nothing")
		case k.htb != nil && c[way.class] < way.arrived.Bytes:
			return errors.New("the classes on " + way.port + " passed " + strconv.FormatUint(c[way.class], 10) +
				" bytes, but " + strconv.FormatUint(way.arrived.Bytes, 10) + " arrived")
		}
	}
	return nil
}
