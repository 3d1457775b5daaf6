package sessions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gatewayd/store/client"
)

// offer is what a provider offers a device. Manager.mu guards it.
type offer struct {
	by       *provider
	sessions []*session // in the provider's order
}

const maxUnused = 8 // shadows of a provider that a device never used, kept

// shadow returns the device's shadow of what a provider offers; nil when
// there is none. m.mu is held.
func (d *device) shadow(p *provider, o offered) *session {
	name := p.nameOf(o.data)
	for _, s := range d.sessions {
		if s.origin != nil && s.origin.Provider == name && s.origin.Key == o.key && (s.origin.by == nil || s.origin.by == p) {
			return s
		}
	}
	return nil
}

// nameOf returns the name of a provider as one of its sessions says it.
func (p *provider) nameOf(data SessionData) string {
	if data.Provider == "" {
		return fmt.Sprintf("provider %d", p.order)
	}
	return data.Provider
}

// newShadow makes a session for what a provider offers.
func newShadow(id, device int64, p *provider, o offered) *session {
	data := o.data
	s := newSession(id, device, Plan{Type: Type(data.Type)}, data.CreatedAt)
	s.origin = &origin{Provider: p.nameOf(data), Key: o.key, by: p}
	*s, _ = s.holding(data)
	s.origin.said, s.origin.Told = consumption(data), data.StartedAt != nil
	return s
}

// takeIn has a device offered what a provider answered to a question asked at
// began. Of a list, what comes after the first session that can be used next
// is left out.
func (m *Manager) takeIn(what question, began time.Duration, got []offered) error {
	p, id := what.by, what.device
	ctx, cancel, err := m.call(m.desk.ctx)
	if err != nil {
		return err
	}
	defer cancel()
	m.mu.Lock()
	err = m.replaced(what.restore)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	d, err := m.holdID(ctx, id)
	if err != nil {
		return err
	}
	defer m.finish(d)
	var use []*session
	bad := false
	for _, o := range got {
		if o.err != nil {
			bad = true
			m.mu.Lock()
			m.skip(p, id, o.key, o.err)
			m.mu.Unlock()
			continue
		}
		if !m.worthTaking(d, p, o) {
			continue
		}
		s, err := m.take(ctx, d, p, o, began)
		if err != nil {
			return err
		}
		if s == nil {
			bad = true // take has said why
			continue
		}
		if slices.Contains(use, s) {
			continue
		}
		use = append(use, s)
		m.mu.Lock()
		enough := what.list && s.available(m.clock.read().Wall) && s != d.using()
		m.mu.Unlock()
		if enough {
			break
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bad {
		delete(p.skips, id)
	}
	d.offer(p, use)
	d.review = true
	m.follow(d)
	return nil
}

// worthTaking reports that what a provider offers has a shadow, or is available: what
// cannot be used, and never was, is not kept. A list may hold thousands of those.
func (m *Manager) worthTaking(d *device, p *provider, o offered) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return d.shadow(p, o) != nil || newShadow(0, d.id, p, o).available(m.clock.read().Wall)
}

// offer puts a provider's offer in the place of its last one. m.mu and the
// turn are held.
func (d *device) offer(p *provider, use []*session) {
	if i := slices.IndexFunc(d.offers, func(o offer) bool { return o.by == p }); i >= 0 {
		d.offers[i].sessions = use
		return
	}
	d.offers = append(d.offers, offer{p, use})
	slices.SortFunc(d.offers, func(a, b offer) int { return a.by.order - b.by.order })
}

// take returns the shadow of what a provider offers, brought up to it; a new
// one is on disk first. The turn is held, m.mu is not.
func (m *Manager) take(ctx context.Context, d *device, p *provider, o offered, began time.Duration) (*session, error) {
	m.mu.Lock()
	s := d.shadow(p, o)
	name := p.nameOf(o.data)
	if s == nil && !p.names[name] && len(p.names) >= maxNames {
		defer m.mu.Unlock()
		m.skip(p, d.id, o.key, fmt.Errorf("it is of provider %q, and sessions of %d other names came from the same one; it should keep to one name", name, maxNames))
		return nil, nil
	}
	p.name = name
	p.names[name] = true
	if s != nil {
		s.origin.by = p
		m.errand(s).source = o.source
		m.mu.Unlock()
		return s, m.pull(ctx, d, s, o.data, began)
	}
	if d.claimed(p, o) {
		defer m.mu.Unlock()
		m.skip(p, d.id, o.key, fmt.Errorf("another provider of the name %q has a session of that key", p.name))
		return nil, nil
	}
	m.mu.Unlock()
	return m.shadowOf(ctx, d, p, o, began)
}

// claimed reports that another provider has a session of the same name and
// key. m.mu is held.
func (d *device) claimed(p *provider, o offered) bool {
	return slices.ContainsFunc(d.sessions, func(s *session) bool {
		return s.origin != nil && s.origin.Provider == p.nameOf(o.data) && s.origin.Key == o.key
	})
}

// shadowOf makes the shadow of what a provider offers, and forgets those that
// it offered before and the device never used if they are many. The turn is
// held, m.mu is not.
func (m *Manager) shadowOf(ctx context.Context, d *device, p *provider, o offered, began time.Duration) (*session, error) {
	id, err := m.newID(ctx, sessionIDs)
	if err != nil {
		return nil, err
	}
	s := newShadow(id, d.id, p, o)
	s.origin.read = began
	m.mu.Lock()
	s.origin.Restore = m.desk.restore
	old := d.unused(p)
	why := fmt.Sprintf("for device %d, %s: provider %s offers it", d.id, macText(d.mac), s.origin.Provider)
	s.ledger.add(m.line(s, use{}, m.opt.Boot(), LineCreate, why), m.opt.Boot())
	records := m.pending(d, s)
	for _, o := range old {
		records = append(records, o.removal()...)
		for n := range o.ledger.next {
			records = append(records, remove(lineKey(o.id, n)))
		}
	}
	m.mu.Unlock()
	err = m.save(ctx, records)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written(d, err)
	if err != nil {
		m.owe(append(s.removal(), remove(lineKey(id, 0)))...)
		for _, o := range old {
			o.unindexed = true
			m.soil(o)
		}
		return nil, err
	}
	for _, o := range old {
		m.forgetSession(d, o)
	}
	d.onDisk, s.unindexed = true, false
	s.ledger.landed()
	d.sessions = append(d.sessions, s)
	m.sessions[id] = s
	m.errand(s).source = o.source
	return s, nil
}

// removal returns what takes a session off the disk.
func (s *session) removal() []client.Record {
	rs := []client.Record{remove(sessionKey(s.device, s.id)), remove(indexKey(s.id)), remove(pausedKey(s.device, s.id))}
	if s.origin != nil {
		rs = append(rs, remove(openKey(s.id)))
	}
	return rs
}

// forgetSession takes a session out of memory. m.mu and the turn are held.
func (m *Manager) forgetSession(d *device, s *session) {
	delete(m.sessions, s.id)
	delete(m.desk.errands, s.id)
	same := func(o *session) bool { return o == s }
	d.sessions = slices.DeleteFunc(d.sessions, same)
	for i := range d.offers {
		d.offers[i].sessions = slices.DeleteFunc(d.offers[i].sessions, same)
	}
	if d.resume == s {
		d.resume = nil
	}
}

// unused returns the oldest shadows of a provider's sessions that the device
// never used, beyond those that are kept. m.mu and the turn are held.
func (d *device) unused(p *provider) (old []*session) {
	for _, s := range d.sessions {
		granted := slices.ContainsFunc(d.grants, func(g grant) bool { return g.session == s })
		if s.origin != nil && s.origin.by == p && s.settled == (use{}) && s.origin.Seq == 0 && !granted && d.resume != s && d.paused != s {
			old = append(old, s)
		}
	}
	return old[:max(len(old)-maxUnused+1, 0)]
}

// lastKnown has a device offered what providers that do not answer have
// offered before, also before a restart. m.mu and the turn are held.
func (m *Manager) lastKnown(d *device) {
	for _, p := range m.desk.providers {
		if p.trouble() == nil || slices.ContainsFunc(d.offers, func(o offer) bool { return o.by == p }) {
			continue
		}
		use := m.had(d, p)
		if len(use) == 0 {
			continue
		}
		slices.SortFunc(use, func(a, b *session) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		d.offer(p, use)
	}
}
