package gateway

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
)

// release is set when a release is built.
var release = "devel"

// silence is after how long without a round the forwarder counts as stuck.
const silence = 2 * time.Second

// status composes what is known: the keeper's view, the table's counters, the
// sessions'.
func (c *control) status(context.Context) api.Status {
	state := c.told()
	h := c.table.Header()
	counters := h.Counters()
	mappings, flows := h.Translations()
	s := api.Status{
		Sessions:    c.manager.Counts(),
		NAT:         api.NAT{Mappings: int(mappings), Flows: int(flows)},
		Drops:       map[string]uint64{},
		BilledBytes: counters.Totals.BilledBytes,
		ExemptBytes: counters.Totals.ExemptBytes,
		Version:     Version(),
		UptimeSecs:  uint64(time.Since(c.started).Seconds()),
		Processes:   state.Processes,
		Config:      state.Config,
	}
	own, _ := h.Addressing()
	for _, ip := range own.Addresses {
		s.NAT.Addresses = append(s.NAT.Addresses, api.NATAddress{Address: ipv4(ip).String(), Mappings: int(h.Use(ip))})
	}
	s.Lease = c.leaseStatus()
	ports := maps.Clone(state.Ports)
	for i, p := range []*api.Port{&s.Ports.LAN, &s.Ports.WAN, &s.Ports.Host} {
		*p = ports[[]string{"lan", "wan", "host"}[i]]
		count(p, &counters.Ports[i])
	}
	for i, name := range forwarder.Reasons() {
		if n := counters.Drops[i]; n != 0 {
			s.Drops[name] = n
		}
	}
	for i := 1; i < c.table.Slots(); i++ {
		if c.table.Policy(i) == 0 {
			continue
		}
		slot := c.table.Slot(i)
		if slot.State.Load() != clients.SlotBound {
			continue
		}
		s.Clients.Bound++
		if seq := slot.Active.Load(); seq != 0 {
			if u := slot.Record(seq).Use(seq); u.Started != 0 && u.Ended == 0 {
				s.Clients.Connected++
			}
		}
	}
	s.Ready, s.Degraded = c.health(state, &counters)
	return s
}

// health says whether packets pass, and what is not as it should be. Unlike the rest of
// a status it looks at no session.
func (c *control) health(state keeperState, counters *clients.Counters) (ready bool, degraded []string) {
	h := c.table.Header()
	degraded = slices.Clone(state.Degraded)
	forwards := c.forwards(h)
	if !forwards {
		degraded = append(degraded, "the forwarder is not running: no packet passes; it is being started again")
	} else if a, _ := h.Addressing(); a.Gateway != 0 && !h.Resolved() {
		check := "check the cable and wan.gateway"
		if c.cfg.Load().WAN.ByDHCP() {
			check = "check the cable and the network behind it"
		}
		degraded = append(degraded, "the next router "+ipv4(a.Gateway).String()+" does not answer ARP on "+c.cfg.Load().WAN.Port()+": "+check)
	} else if len(a.Addresses) == 0 && !c.cfg.Load().Bridges() && !c.cfg.Load().WAN.ByDHCP() {
		degraded = append(degraded, "the gateway has no address on the WAN: nothing goes out")
	}
	if is := c.leaseTrouble(); is.seen != "" {
		degraded = append(degraded, is.seen+"; "+is.do)
	}
	if h.Looped(c.clock.Now()) {
		degraded = append(degraded, "the LAN and the WAN are joined elsewhere, too, so frames would go round for ever: nothing is bridged until 30 s after that way is gone; "+
			"look for a cable or an access point that joins "+c.cfg.Load().LAN.Port()+"'s network with "+c.cfg.Load().WAN.Port()+"'s")
	}
	degraded = append(degraded, c.manager.Degraded()...)
	before := c.losses.oldest()
	degraded = append(degraded, lost(&before, counters, c.cfg.Load())...)
	degraded = append(degraded, restless(state.Ends, c.clock.Now())...)
	return state.PortsOpen && forwards && h.Stop.Load() == 0, degraded
}

// healthNow is health of now.
func (c *control) healthNow() (ready bool, degraded []string) {
	counters := c.table.Header().Counters()
	return c.health(c.told(), &counters)
}

// judgeEvery is how soon a change of the verdict is told.
const judgeEvery = time.Second

// judge tells each new verdict until ctx ends.
func (c *control) judge(ctx context.Context, tell func(string)) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for said := ""; ; {
		if now := verdict(c.healthNow()); now != said {
			said = now
			tell(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Verdict is what a status comes to, in a few words.
func Verdict(ready bool, degraded []string) string {
	switch {
	case !ready:
		return "NOT READY: nothing is forwarded"
	case len(degraded) > 0:
		return "ready, but DEGRADED"
	}
	return "ready"
}

// verdict is the status in one line: as its command's first one, with the first
// reason.
func verdict(ready bool, degraded []string) string {
	said := Verdict(ready, degraded)
	if len(degraded) > 0 {
		said += ": " + degraded[0]
	}
	if more := len(degraded) - 1; more > 0 {
		said += fmt.Sprintf(" (and %d more: gatewayd status)", more)
	}
	return said
}

// forwards says whether the forwarder goes round.
func (c *control) forwards(h *clients.Header) bool {
	return h.GoesRound(c.clock.Now(), silence)
}

func count(p *api.Port, n *clients.PortCounters) {
	p.RxPackets, p.RxBytes = n.RxPackets, n.RxBytes
	p.TxPackets, p.TxBytes = n.TxPackets, n.TxBytes
	p.Refused, p.Overflow = n.Refused, n.Overflow
}

// Version is the release, or the commit that was built.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && release == "devel" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return release + "-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return release
}
