package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

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
	listTime = 30 * time.Second // all pages together
	perPage  = 20
	maxPages = 50
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

// awaitsProviders reports that the providers are being asked what a device goes on with
// in the place of a session that ended before it was seen again: once, as for a connect,
// and nobody else waits for them. The device is looked up again after that. m.mu is held.
func (m *Manager) awaitsProviders(d *device, ended *session) bool {
	if !m.asksProviders() || d.ahead.consulted == ended.id {
		return d.ahead.consulting
	}
	d.ahead.consulted, d.ahead.consulting = ended.id, true
	id := d.id
	m.desk.jobs.Go(func() {
		m.consult(m.desk.ctx, id)
		m.mu.Lock()
		defer m.mu.Unlock()
		d.ahead.consulting = false
		m.wonder(d)
	})
	return true
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
