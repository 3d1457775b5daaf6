package sessions

import (
	"context"
	"errors"
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

// inquiry is a question to a provider about a device, under way.
type inquiry struct {
	done chan struct{}
	err  error // valid after done
}

type question struct {
	by     *provider
	device int64
	list   bool // FetchSessions, not GetSession

	restore uint64 // the newest one when it was asked: device is of that time
}

const (
	listTime  = 30 * time.Second // all pages together
	perPage   = 20
	maxPages  = 50
	maxUnused = 8 // shadows of a provider that a device never used, kept
)

// consult asks the providers, in order, until one offers the device an
// available session, so that the device's offers are fresh. Whoever does not
// answer in time is passed over; its answer is taken in when it comes.
// Nothing is held.
func (m *Manager) consult(ctx context.Context, id int64) {
	asked := m.providers()
	m.mu.Lock()
	d := m.byID[id]
	connected := d != nil && (d.connected || d.paused != nil && d.paused.available(m.clock.read().Wall))
	m.mu.Unlock()
	if len(asked) == 0 || connected || m.present(ctx, id) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, consultTime)
	defer cancel()
	for i, p := range asked {
		if m.mayCall(&p.gets) {
			m.await(ctx, m.inquire(question{by: p, device: id}), p, id, i+1 < len(asked))
		}
		if m.hasOffer(id, p) {
			return
		}
	}
}

// await waits for an inquiry: half of the time that ctx has left if others
// are to be asked after it.
func (m *Manager) await(ctx context.Context, q *inquiry, p *provider, id int64, others bool) {
	limit := providerTime
	if end, ok := ctx.Deadline(); ok && others {
		limit = time.Until(end) / 2
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-q.done:
		return
	case <-timer.C:
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return // the caller has left
		}
	}
	m.noted(p, &p.gets, id, errLate)
}

// hasOffer reports that a provider offers a device an available session.
func (m *Manager) hasOffer(id int64, p *provider) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.byID[id]
	if d == nil {
		return false
	}
	now := m.clock.read().Wall
	i := slices.IndexFunc(d.offers, func(o offer) bool { return o.by == p })
	return i >= 0 && slices.ContainsFunc(d.offers[i].sessions, func(s *session) bool { return s.available(now) })
}

// inquire asks a question unless it is being asked.
func (m *Manager) inquire(what question) *inquiry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inquiry(what)
}

// inquiry is inquire with m.mu held.
func (m *Manager) inquiry(what question) *inquiry {
	what.restore = m.desk.restore
	if q := m.desk.asking[what]; q != nil {
		return q
	}
	q := &inquiry{done: make(chan struct{})}
	if m.desk.ctx.Err() != nil {
		q.err = ErrStopped
		close(q.done)
		return q
	}
	m.desk.asking[what] = q
	m.desk.jobs.Go(func() {
		q.err = m.present(m.desk.ctx, what.device)
		switch {
		case q.err != nil:
			m.excuse(what.by, what.device, q.err)
		case what.list:
			q.err = m.askList(what)
		default:
			q.err = m.askOne(what)
		}
		m.mu.Lock()
		delete(m.desk.asking, what)
		m.mu.Unlock()
		close(q.done)
	})
	return q
}

// present has a device in memory, so that its handle says who it is.
func (m *Manager) present(ctx context.Context, id int64) error {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	d, err := m.holdID(ctx, id)
	if err == nil {
		m.finish(d)
	}
	return err
}

// excuse keeps a provider that failed from being asked again at once about a
// device that cannot be read now, or at all about one that is gone.
func (m *Manager) excuse(p *provider, device int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range []*health{&p.gets, &p.lists} {
		if h.trouble == nil || h.device != device {
			continue
		}
		if errors.Is(err, ErrNoDevice) {
			h.trouble = nil
		}
		h.until = max(h.until, m.opt.Boot()+firstBackoff)
	}
}

// client returns the handle of a device, which is in memory, for a provider.
func (m *Manager) client(id int64) ClientDevice {
	return &clientDevice{m: m, last: Device{ID: id}}
}

// askOne takes in what GetSession of a provider returns. A provider that says
// no because it cannot look has no other way to say so: one that had something
// for the device is asked for the list too.
func (m *Manager) askOne(what question) error {
	p, id, began := what.by, what.device, m.opt.Boot()
	got, err := calling(m.desk.ctx, m, p, func(ctx context.Context) ([]offered, error) {
		source, ok := p.of.GetSession(ctx, m.client(id))
		switch {
		case !ok:
			return nil, nil
		case source == nil:
			return nil, errors.New("GetSession returned no session and said ok")
		}
		return []offered{readSource(source)}, nil
	})
	m.noted(p, &p.gets, id, err)
	if err != nil {
		return err
	}
	if len(got) > 0 || !m.knows(p, id) {
		return m.takeIn(what, began, got)
	}
	if !m.mayCall(&p.lists) {
		return errBackoff
	}
	what.list = true
	return m.askList(what)
}

// knows reports that a device has had sessions of a provider that it could use
// now if they are still offered.
func (m *Manager) knows(p *provider, id int64) bool {
	ctx, cancel, err := m.call(m.desk.ctx)
	if err != nil {
		return false
	}
	defer cancel()
	d, err := m.holdID(ctx, id)
	if err != nil {
		return false
	}
	defer m.finish(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.read().Wall
	return slices.ContainsFunc(m.had(d, p), func(s *session) bool { return s.available(now) })
}

// had returns the shadows of a device that are a provider's. m.mu is held.
func (m *Manager) had(d *device, p *provider) (all []*session) {
	for _, s := range d.sessions {
		if s.origin != nil && (s.origin.by == p || s.origin.by == nil && m.keeper(s.origin.Provider) == p) {
			all = append(all, s)
		}
	}
	return all
}

// askList takes in what FetchSessions of a provider returns, as far as the
// first session that the device can use and does not use yet.
func (m *Manager) askList(what question) error {
	p, id, began := what.by, what.device, m.opt.Boot()
	var all []offered
	err := m.leaf(p, id, func(page []offered) (enough bool) {
		all = append(all, page...)
		return slices.ContainsFunc(page, func(o offered) bool { return m.wouldUse(p, id, o) })
	})
	m.noted(p, &p.lists, id, err)
	if err != nil {
		return err
	}
	return m.takeIn(what, began, all)
}

// leaf calls f with the pages of a provider's list until it has enough or
// there are no more.
func (m *Manager) leaf(p *provider, id int64, f func(page []offered) (enough bool)) error {
	ctx, cancel := context.WithTimeout(m.desk.ctx, listTime)
	defer cancel()
	pages := uint(1)
	for page := uint(1); page <= min(pages, maxPages); page++ {
		type leaf struct {
			offers []offered
			pages  uint
		}
		got, err := calling(ctx, m, p, func(ctx context.Context) (leaf, error) {
			r, err := p.of.FetchSessions(ctx, m.client(id), int(page), perPage)
			if err != nil {
				return leaf{}, err
			}
			var l leaf
			for _, source := range r.Sessions[:min(len(r.Sessions), 10*perPage)] {
				if source != nil {
					l.offers = append(l.offers, readSource(source))
				}
			}
			l.pages = r.Pages
			return l, nil
		})
		if err != nil {
			return fmt.Errorf("FetchSessions page %d: %w", page, err)
		}
		pages = got.pages
		if f(got.offers) || len(got.offers) == 0 {
			return nil
		}
	}
	return nil
}

// wouldUse reports that a device can use what is offered and does not use it
// now.
func (m *Manager) wouldUse(p *provider, id int64, o offered) bool {
	if o.err != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.read().Wall
	if d := m.byID[id]; d != nil {
		if s := d.shadow(p, o); s != nil {
			return s.available(now) && s != d.using()
		}
	}
	return newShadow(0, id, p, o).available(now)
}

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

// unanswered adds to ErrNoSession which providers could not be asked. m.mu is
// held.
func (m *Manager) unanswered(err error) error {
	if !errors.Is(err, ErrNoSession) {
		return err
	}
	for _, p := range m.desk.providers {
		if why := p.trouble(); why != nil {
			err = fmt.Errorf("%w; %s could not be asked: %w", err, p.label(), why)
		}
	}
	return err
}
