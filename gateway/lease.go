package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/config"
	"gatewayd/gateway/dhcp"
	storeclient "gatewayd/store/client"
)

// leasing has the WAN's address by DHCP, while the config says so. One goroutine keeps
// it; mu is for who else wants to know.
type leasing struct {
	boot   string        // the kernel's name of this boot
	wake   chan struct{} // something is to be looked at
	client *dhcp.Client  // nil: not by DHCP, or not begun
	mac    string        // of client
	linked bool          // the WAN had a link when last looked
	heard  uint64        // of the inbox
	unkept bool          // the lease is not on disk as it is
	again  time.Duration // when that is tried again

	mu       sync.Mutex // one says at a time where the gateway is, too
	standing bool       // what the table says of the address counts: what control knew of it was not read yet
	lease    dhcp.Lease
	held     bool // it is in force
	state    dhcp.State
	since    time.Duration
	why      string
}

const (
	leaseKey    = "wan/lease"            // in the store
	leaseLook   = 500 * time.Millisecond // between two looks at the ports, and the config
	leaseCall   = time.Second            // of the store
	leaseKeep   = 10 * time.Second       // between two tries to write a lease down
	mostLetters = 64                     // taken in at once
)

func newLeasing(cfg *config.Config) leasing {
	return leasing{boot: bootID(), wake: make(chan struct{}, 1), standing: cfg.WAN.ByDHCP()}
}

// stir has the lease looked at.
func (l *leasing) stir() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// readdress says in the table where the gateway is on the WAN: as the config has it, or
// by the lease that is in force.
func (c *control) readdress() {
	l := &c.leasing
	l.mu.Lock()
	defer l.mu.Unlock()
	cfg := c.cfg.Load()
	a := addressing(cfg)
	switch {
	case !cfg.WAN.ByDHCP():
		l.standing = false
	case l.standing:
		return
	case l.held:
		a = clients.Addressing{Addresses: []uint32{bits(l.lease.Address.Addr())}, Bits: l.lease.Address.Bits(), Gateway: bits(l.lease.Router)}
	}
	c.table.Header().SetAddressing(a)
	c.forward.Ring()
}

// keepLease has a lease while the config asks for one, until ctx ends.
func (c *control) keepLease(ctx context.Context) {
	select {
	case <-c.manager.Ready():
	case <-ctx.Done():
		return
	}
	l := &c.leasing
	l.heard = c.table.Inbox().Begin()
	for {
		next := c.lookAtLease(ctx)
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-time.After(next):
		}
	}
}

// lookAtLease does what is due, and returns after how long something will be again.
func (c *control) lookAtLease(ctx context.Context) time.Duration {
	l, h, now := &c.leasing, c.table.Header(), c.clock.Now()
	port := c.told().Ports["wan"]
	linked := c.forwards(h) && h.Down.Load()>>clients.WAN&1 == 0
	switch {
	case !c.cfg.Load().WAN.ByDHCP():
		l.client, l.mac = nil, ""
		h.SetLeasing(false, 0)
		l.heard = c.table.Inbox().Begin()
		l.mu.Lock()
		l.held, l.state, l.why = false, "", ""
		l.mu.Unlock()
		return leaseLook
	case l.client == nil || l.mac != port.MAC:
		if mac, err := net.ParseMAC(port.MAC); linked && err == nil {
			h.SetLeasing(true, 0)
			l.mac = port.MAC
			c.beginLease(ctx, now, mac)
		}
	case linked && !l.linked:
		l.client.Relinked(now)
	}
	l.linked = linked
	c.hearServers(now)
	if l.client == nil {
		return leaseLook
	}
	l.client.Tick(now)
	c.settleLease(ctx, now)
	return min(max(l.client.Next()-now, time.Millisecond), leaseLook)
}

// beginLease begins with what is known of before.
func (c *control) beginLease(ctx context.Context, now time.Duration, mac net.HardwareAddr) {
	l := &c.leasing
	l.client = dhcp.New(dhcp.Options{
		MAC: mac, Usable: c.canUse, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Send: func(frame []byte) {
			c.table.Outbox().Put(clients.Copy{Port: clients.WAN, Length: len(frame)}, nil, frame)
		},
	})
	former, err := c.recallLease(ctx, now)
	if err != nil {
		c.log.Warn("the WAN's lease of before is not known", "error", err)
	}
	is, _ := c.table.Header().Addressing()
	l.mu.Lock()
	inForce := l.standing && former != nil && len(is.Addresses) == 1 && is.Addresses[0] == bits(former.Address.Addr()) &&
		is.Gateway == bits(former.Router) && former.MAC.String() == mac.String()
	l.standing = l.standing && err != nil // nobody knows better than the table then
	l.mu.Unlock()
	if inForce {
		l.client.Resume(now, former)
	} else {
		l.client.Begin(now, former)
	}
	c.log.Info("the WAN's address comes by DHCP", "port", c.cfg.Load().WAN.Port(), "known", former != nil, "in_force", inForce)
}

// canUse says why the gateway cannot do with a lease: what would be wrong with it in the
// config.
func (c *control) canUse(l *dhcp.Lease) error {
	cfg := *c.cfg.Load()
	cfg.WAN.Addresses = config.Addresses{List: []netip.Prefix{l.Address}}
	cfg.WAN.Gateway = l.Router
	if !l.Router.IsValid() {
		if cfg.WAN.Gateway = l.Address.Addr().Next(); !l.Address.Contains(cfg.WAN.Gateway) || cfg.WAN.Gateway.Next().IsValid() && !l.Address.Contains(cfg.WAN.Gateway.Next()) {
			cfg.WAN.Gateway = l.Address.Addr().Prev()
		}
	}
	return cfg.Check()
}

// hearServers takes in what came for control by the WAN.
func (c *control) hearServers(now time.Duration) {
	l, in := &c.leasing, c.table.Inbox()
	for range mostLetters {
		what, frame, next, ok := in.Next(l.heard)
		l.heard = next
		if ok && l.client != nil {
			if err := l.client.Hear(now, frame, what.SumFrom != 0); err != nil {
				c.log.Debug("not for us", "on", "wan", "error", err)
			}
		}
		in.Done(next)
		if !ok {
			return
		}
	}
	l.stir()
}

// settleLease has what the client came to in force, and on the disk.
func (c *control) settleLease(ctx context.Context, now time.Duration) {
	l := &c.leasing
	lease, held := l.client.Lease()
	state, since, why := l.client.State()
	c.table.Header().SetLeasing(true, bits(l.client.Watched()))
	l.mu.Lock()
	was, had, said := l.lease, l.held, l.why
	l.lease, l.held, l.state, l.since, l.why = lease, held, state, since, why
	if held {
		l.standing = false
	}
	l.mu.Unlock()
	c.readdress()
	if why != said && why != "" {
		c.log.Warn("DHCP on the WAN", "state", string(state), "why", why)
	}
	if held && (!had || was.Address != lease.Address || was.Router != lease.Router) {
		c.log.Info("the WAN has an address", "address", lease.Address, "router", lease.Router, "server", lease.Server, "for", lasts(lease.End, now))
	}
	if had && !held {
		c.log.Warn("the WAN has no address any more", "address", was.Address, "why", why)
	}
	if held && (was.Since != lease.Since || !had) || had && !held {
		l.unkept, l.again = true, now
	}
	if l.unkept && now >= l.again {
		l.unkept, l.again = !c.keptLease(ctx, now, lease, held), now+leaseKeep
	}
}

// lasts is for how long a lease still is, as a log has it.
func lasts(end, now time.Duration) string {
	if end == dhcp.Never {
		return "ever"
	}
	return (end - now).Round(time.Second).String()
}

// keptOnDisk is a lease on the disk. Its moments are of a boot; of another one only its
// end is known, in wall time.
type keptOnDisk struct {
	Lease dhcp.Lease `json:"lease"`
	Boot  string     `json:"boot"`
	Ends  time.Time  `json:"ends,omitzero"` // zero: never
}

// keptLease says whether the disk has the lease as it is now.
func (c *control) keptLease(ctx context.Context, now time.Duration, lease dhcp.Lease, held bool) bool {
	record := storeclient.Record{Key: []byte(leaseKey), Delete: !held}
	if held {
		kept := keptOnDisk{Lease: lease, Boot: c.leasing.boot}
		if lease.End != dhcp.Never {
			kept.Ends = c.manager.Wall(lease.End)
		}
		var err error
		if record.Value, err = json.Marshal(kept); err != nil {
			c.log.Error("write down the lease", "error", err)
			return true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, leaseCall)
	defer cancel()
	err := c.store.Batch(ctx, []storeclient.Record{record})
	if err != nil {
		c.log.Debug("the lease is not on the disk yet", "error", err)
	}
	return err == nil
}

// recallLease is what was had before; nil: nothing, or what is over.
func (c *control) recallLease(ctx context.Context, now time.Duration) (*dhcp.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseCall)
	defer cancel()
	value, found, err := c.store.Get(ctx, []byte(leaseKey))
	if err != nil || !found {
		return nil, err
	}
	var kept keptOnDisk
	if err := json.Unmarshal(value, &kept); err != nil {
		return nil, fmt.Errorf("what the store has of it: %w", err)
	}
	l := &kept.Lease
	if !l.Address.IsValid() || !l.Address.Addr().Is4() || !l.Server.Is4() || l.Router.IsValid() && !l.Router.Is4() {
		return nil, fmt.Errorf("what the store has of it is none: %.200s", value)
	}
	if kept.Boot == c.leasing.boot && kept.Boot != "" {
		return l, nil
	}
	l.Since, l.Renew, l.Rebind, l.End = now, now, now, dhcp.Never
	if !kept.Ends.IsZero() {
		l.End = now + kept.Ends.Sub(c.manager.Wall(now))
		if !c.manager.WallTrusted() { // for how long the box was off is not known
			l.End = min(l.End, now+1)
		}
		l.Renew, l.Rebind = min(l.Renew, l.End), min(l.End-(l.End-now)/8, l.End)
	}
	return l, nil
}

// leaseStatus is the lease as the status shows it; nil: the address is the config's.
func (c *control) leaseStatus() *api.Lease {
	l := &c.leasing
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == "" || !c.cfg.Load().WAN.ByDHCP() {
		return nil
	}
	s := &api.Lease{State: string(l.state), Trouble: l.why, DNS: []string{}}
	if !l.held {
		return s
	}
	s.Address, s.Server = l.lease.Address.String(), l.lease.Server.String()
	if l.lease.Router.IsValid() {
		s.Router = l.lease.Router.String()
	}
	for _, a := range l.lease.DNS {
		s.DNS = append(s.DNS, a.String())
	}
	since := c.manager.Wall(l.lease.Since)
	s.Since = &since
	if l.lease.End != dhcp.Never {
		renews, ends := c.manager.Wall(l.lease.Renew), c.manager.Wall(l.lease.End)
		s.Renews, s.Ends = &renews, &ends
	}
	return s
}

// advice is what is wrong, and what to do about it.
type advice struct{ seen, do string }

// leaseTrouble says what is wrong with the WAN's address; empty: nothing, or it does not
// come by DHCP.
func (c *control) leaseTrouble() advice {
	l := &c.leasing
	l.mu.Lock()
	defer l.mu.Unlock()
	cfg := c.cfg.Load()
	if !cfg.WAN.ByDHCP() || l.standing {
		return advice{}
	}
	check := "check the cable of " + cfg.WAN.Port() + " and the network behind it"
	switch {
	case l.held && !l.lease.Router.IsValid():
		return advice{fmt.Sprintf("the DHCP server %v names no router: nothing goes beyond %v", l.lease.Server, l.lease.Address.Masked()),
			"have it name one, or set wan.address and wan.gateway"}
	case l.held && l.why != "":
		return advice{fmt.Sprintf("the WAN's address %v is not renewed: %s", l.lease.Address.Addr(), l.why), check}
	case l.held:
		return advice{}
	case l.why != "":
		return advice{"the gateway has no address on the WAN, so nothing goes out: " + l.why, check + ", or set wan.address and wan.gateway"}
	}
	return advice{"the gateway has no address on the WAN yet, so nothing goes out: it asks for one by DHCP on " + cfg.WAN.Port(),
		"wait a few seconds; if it stays so, " + check}
}
