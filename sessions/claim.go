package sessions

import (
	"context"
	"fmt"
	"time"
)

const (
	probeTime   = time.Second            // how long the holder of an address has to answer
	probeAgain  = 500 * time.Millisecond // when it is asked a second time
	maxContests = 64                     // under way at once
	refusalTime = 10 * time.Second       // how long a refused client is not heard again
)

// moved takes in that a bound client uses another address. m.mu is held.
func (m *Manager) moved(ctx context.Context, d *device, ip uint32) {
	now := m.opt.Boot()
	if ip == 0 || ip == d.ip || !m.isClientIP(ip) || m.contests[ip] || ip == d.refused && now < d.refusedUntil {
		return
	}
	if m.byIP[ip] == nil {
		m.rebind(d, ip)
		m.tellMoved(d)
		return
	}
	if len(m.contests) >= maxContests {
		return
	}
	m.contests[ip] = true
	mac := macText(d.mac)
	m.jobs.Go(func() {
		gen, slot, err := m.contest(ctx, d, ip)
		if err == nil {
			m.mu.Lock()
			m.tellMoved(d)
			m.mu.Unlock()
			err = m.wait(slot, gen)
		}
		if err != nil {
			m.log.Info("address not given", "mac", mac, "error", err)
		}
	})
}

// tellMoved says that a device has another address. m.mu is held.
func (m *Manager) tellMoved(d *device) {
	m.writeAddress(d)
	if d.id != 0 && !d.untold { // what is new is told of with its address
		m.hub.emit(d.id, ClientChanged, m.viewDevice(d))
	}
}

// contest gives a bound device an address that another one holds, if that one
// fails two ARP probes within a second; else ErrConflict. The caller has
// entered ip into m.contests; contest takes it out.
func (m *Manager) contest(ctx context.Context, d *device, ip uint32) (gen uint64, slot int, err error) {
	holder, err := m.probe(ctx, d, ip)
	if holder != nil && err == nil {
		m.evict(holder, ip)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.contests, ip)
	switch {
	case err != nil:
		return 0, 0, err
	case m.byIP[ip] != nil && m.byIP[ip] != d:
		return 0, 0, fmt.Errorf("address %s for %s: %w", ipText(ip), macText(d.mac), ErrConflict)
	case d.slot == 0:
		return 0, 0, fmt.Errorf("address %s for %s: %w", ipText(ip), macText(d.mac), ErrNoBinding)
	}
	gen = m.rebind(d, ip)
	return gen, d.slot, nil
}

// probe asks the holder of an address, which another device wants, twice whether it is
// there and returns it if it is silent; nil when there is none. ErrConflict when it
// answers.
func (m *Manager) probe(ctx context.Context, d *device, ip uint32) (*device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	holder := m.byIP[ip]
	if holder == nil {
		return nil, nil
	}
	slot := m.table.Slot(holder.slot)
	start := m.opt.Boot()
	asked := 0
	for m.byIP[ip] == holder {
		passed := m.opt.Boot() - start
		if time.Duration(slot.Heard.Load()) > start || time.Duration(slot.LastSeen.Load()) > start {
			m.refusals++
			d.refused, d.refusedUntil = ip, m.opt.Boot()+refusalTime
			return nil, fmt.Errorf("address %s for %s: %w: %s answers", ipText(ip), macText(d.mac), ErrConflict, macText(holder.mac))
		}
		if passed >= probeTime {
			return holder, nil
		}
		if asked == 0 || asked == 1 && passed >= probeAgain {
			asked++
			slot.Probe.Add(1)
			m.changed(holder)
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			m.mu.Lock()
			return nil, unavailable("probe", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
		m.mu.Lock()
	}
	return nil, nil
}

// evict takes an address from its silent holder, and returns when the forwarder knows.
// m.mu is not held.
func (m *Manager) evict(holder *device, ip uint32) {
	m.mu.Lock()
	if m.byIP[ip] != holder {
		m.mu.Unlock()
		return
	}
	gen, at := m.rebind(holder, 0), holder.slot
	holder.lastIP = 0
	m.tellMoved(holder)
	m.mu.Unlock()
	_ = m.wait(at, gen) // a forwarder that does not answer forwards nothing wrong
}
