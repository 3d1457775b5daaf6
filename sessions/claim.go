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
	holds := m.probe(ctx, ip)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.contests, ip)
	switch {
	case ctx.Err() != nil:
		return 0, 0, unavailable("probe", ctx.Err())
	case holds != nil:
		m.refusals++
		d.refused, d.refusedUntil = ip, m.opt.Boot()+refusalTime
		return 0, 0, fmt.Errorf("address %s for %s: %w: %s answers", ipText(ip), macText(d.mac), ErrConflict, macText(holds.mac))
	case m.byIP[ip] != nil && m.byIP[ip] != d:
		return 0, 0, fmt.Errorf("address %s for %s: %w", ipText(ip), macText(d.mac), ErrConflict)
	case d.slot == 0:
		return 0, 0, fmt.Errorf("address %s for %s: %w", ipText(ip), macText(d.mac), ErrNoBinding)
	}
	gen = m.rebind(d, ip)
	return gen, d.slot, nil
}

// probe asks the holder of an address twice whether it is there and returns
// it if it is; else the address is nobody's when it returns.
func (m *Manager) probe(ctx context.Context, ip uint32) *device {
	m.mu.Lock()
	holder := m.byIP[ip]
	if holder == nil {
		m.mu.Unlock()
		return nil
	}
	slot := m.table.Slot(holder.slot)
	start := m.opt.Boot()
	asked := 0
	for m.byIP[ip] == holder {
		passed := m.opt.Boot() - start
		if time.Duration(slot.Heard.Load()) > start || time.Duration(slot.LastSeen.Load()) > start {
			m.mu.Unlock()
			return holder
		}
		if passed >= probeTime {
			gen := m.rebind(holder, 0)
			holder.lastIP = 0
			at := holder.slot
			m.tellMoved(holder)
			m.mu.Unlock()
			_ = m.wait(at, gen) // a forwarder that does not answer forwards nothing wrong
			return nil
		}
		if asked == 0 || asked == 1 && passed >= probeAgain {
			asked++
			slot.Probe.Add(1)
			m.changed(holder)
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Millisecond):
		}
		m.mu.Lock()
	}
	m.mu.Unlock()
	return nil
}

// claim gives a device a slot with address ip by the binding rule, and
// returns when the forwarder knows. ip 0 leaves the address as it is. The
// turn is held, m.mu is not.
func (m *Manager) claim(ctx context.Context, d *device, ip uint32) error {
	if err := m.place(ctx, d); err != nil {
		return err
	}
	m.mu.Lock()
	if ip == 0 || ip == d.ip {
		m.mu.Unlock()
		return nil
	}
	if m.contests[ip] {
		m.mu.Unlock()
		return fmt.Errorf("address %s for %s: %w: another client asks for it right now", ipText(ip), macText(d.mac), ErrConflict)
	}
	if m.byIP[ip] == nil {
		gen, slot := m.rebind(d, ip), d.slot
		m.mu.Unlock()
		return m.wait(slot, gen)
	}
	m.contests[ip] = true
	m.mu.Unlock()
	gen, slot, err := m.contest(ctx, d, ip)
	if err != nil {
		return err
	}
	return m.wait(slot, gen)
}
