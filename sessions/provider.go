package sessions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"time"
)

// SessionProvider gives client devices sessions that are kept elsewhere. See
// RegisterSessionProvider of SessionsMgrApi.
//
// Its methods, and those of the sources it returns, are called from many
// goroutines that hold nothing of the gateway's: they may take their time,
// call the gateway, fail or panic. A call has 10 s, after which ctx ends; a
// caller of the gateway waits at most 1.5 s for all providers together, and an
// answer that comes later is used from then on. At most 16 calls to a provider
// are under way, also of those that go on after their ctx ended. One that
// fails is asked again after 1 s, then 2 s, up to 30 s; meanwhile what it
// offered last is offered, as far as something is left of it.
type SessionProvider interface {
	// GetSession returns an available session of a device; ok is false when
	// there is none. It is called when somebody asks or connects.
	GetSession(ctx context.Context, clnt ClientDevice) (s SessionSource, ok bool)
	// FetchSessions returns a page of the device's sessions in the order in
	// which they are to be used; the first page is 1, perPage 20, and 50 pages
	// are read at most, each in a call. It is called ahead of
	// the running session's end, for what goes on after it; for a device that
	// has used a session when GetSession says no; and for the source of one
	// that was used before the program started.
	FetchSessions(ctx context.Context, clnt ClientDevice, page int, perPage int) (FetchSessionsResult, error)
}

// FetchSessionsResult is a page of sessions. The gateway keeps the sources, and
// changes nothing of it.
type FetchSessionsResult struct {
	Sessions []SessionSource // in the order in which they are to be used
	Pages    uint            // in all; 0 is taken for 1
	Count    uint            // sessions in all
}

// SessionSource is a session that a provider keeps. Consumption in it is
// seconds for the types time and time_or_data, megabytes for data and
// time_or_data.
//
// What the gateway counts is added to what the source holds: it calls Reload,
// writes down what it is about to do, and calls Save with the sum. After a
// Save whose end is not known it calls Reload again: a source that holds what
// it held before has not taken it; else it has, in the customer's favour.
// Of what it reads it believes all that can be sold, also less consumption than
// it told. What cannot be, or is another session's (the type has changed, or
// Provider or, by more than a minute, CreatedAt, which may be left empty) is
// not used: a running session goes on as it was, and status says why.
// Two gateways, or a gateway and a clerk, that save one session at the same
// moment are kept apart by the source, with ErrNotSaved.
//
// Two more methods are used if a source has them:
//
//	ID() string
//
// is the session's key at the provider, at most 1024 bytes. Without it the
// key is provider, device and CreatedAt.
//
//	SaveSeq(ctx context.Context, data SessionData, seq uint64) error
//
// is called in the place of Save. After one whose end is not known it is
// called again with the same seq, and the same consumption added to what the
// source holds then. A source that takes each seq once, and none below the
// highest it took, and returns nil for those, bills exactly once, also what
// others change meanwhile. Sequences of a session only grow.
type SessionSource interface {
	// Data returns the session as last read. It does not wait.
	Data() SessionData
	// Save has the session kept; all fields are absolute.
	Save(context.Context, SessionData) error
	// Reload reads the session anew.
	Reload(context.Context) (SessionData, error)
}

// keyed and sequenced are what a source may be besides.
type (
	keyed     interface{ ID() string }
	sequenced interface {
		SaveSeq(ctx context.Context, data SessionData, seq uint64) error
	}
)

// ErrNotSaved is for a source's Save or SaveSeq to say, wrapped in its error,
// that for certain nothing was saved, as when somebody else has changed the
// session since it was read. The session is then read anew, what was counted is
// added to that, and it is saved again, at once.
var ErrNotSaved = errors.New("nothing was saved")

// ErrProvider: a session's provider does not answer, refuses, or is not
// registered. The error's text says which, and whether something may have
// been changed there.
var ErrProvider = errors.New("the session's provider does not do it")

// ErrNotLocal: it is to be done where the session is kept.
var ErrNotLocal = errors.New("the session is its provider's")

const (
	providerTime  = 10 * time.Second        // a call to a provider or source
	consultTime   = 1500 * time.Millisecond // how long a caller waits for all providers
	providerLanes = 16                      // calls to one provider under way
	firstBackoff  = time.Second
	lastBackoff   = 30 * time.Second
	maxSkips      = 100              // devices whose skipped sessions are told of, and events of them within skipAgain
	skipAgain     = 10 * time.Minute // between events that say the same
	maxNames      = 256              // that a provider gives itself in its sessions
)

// provider is a registered SessionProvider. Manager.mu guards what is below mu.
type provider struct {
	of    SessionProvider
	order int           // of registration, from 1
	lanes chan struct{} // calls under way

	// mu is Manager.mu.
	names  map[string]bool          // as its sessions say
	name   string                   // the last of them
	gets   health                   // of GetSession
	lists  health                   // of FetchSessions
	saves  health                   // of Reload and Save
	visits int                      // workers that deliver
	queue  []int64                  // sessions that they are to deliver
	skips  map[int64]string         // by device, why a session is not used now
	said   map[string]time.Duration // since boot; when that was last an event
}

// health is how calls to a provider go.
type health struct {
	trouble error         // of the last call; nil: it answered
	device  int64         // that it was about
	fails   int           // in a row
	until   time.Duration // since boot; not called before
}

// label names a provider to people. m.mu is held.
func (p *provider) label() string {
	if p.name == "" {
		return fmt.Sprintf("provider %d", p.order)
	}
	return "provider " + p.name
}

// register adds a provider after those that are there.
func (m *Manager) register(of SessionProvider) {
	if of == nil {
		panic("sessions: RegisterSessionProvider of nil")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.desk.providers = append(m.desk.providers, &provider{
		of: of, order: len(m.desk.providers) + 1, lanes: make(chan struct{}, providerLanes),
		names: make(map[string]bool), skips: make(map[int64]string), said: make(map[string]time.Duration),
	})
	for _, d := range m.slots { // who is connected may go on with one of its sessions
		if d != nil {
			d.ahead = lookahead{}
		}
	}
	m.Wake()
	nudge(m.desk.bell)
}

// providers returns those registered, in order.
func (m *Manager) providers() []*provider {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.desk.providers[:len(m.desk.providers):len(m.desk.providers)]
}

// keeper returns the provider of a session of that name: the one whose
// sessions said so, else the first that has not said a name yet; nil when
// there is none. m.mu is held.
func (m *Manager) keeper(name string) *provider {
	var unnamed *provider
	for _, p := range m.desk.providers {
		if p.names[name] {
			return p
		}
		if len(p.names) == 0 && unnamed == nil {
			unnamed = p
		}
	}
	return unnamed
}

var (
	errLate    = errors.New("it does not answer in time")
	errBackoff = errors.New("it failed and is not called for a while")
	errLanes   = fmt.Errorf("%d calls to it do not end", providerLanes)
	errExit    = errors.New("it ended its goroutine")
	errPanic   = errors.New("it panicked")
)

// calling calls a provider or one of its sources in a goroutine of its own
// and waits until it answers or has had its time. Nothing is held.
func calling[T any](ctx context.Context, m *Manager, p *provider, f func(context.Context) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, providerTime)
	defer cancel()
	var none T
	select {
	case p.lanes <- struct{}{}:
	case <-ctx.Done():
		return none, errLanes
	}
	got := make(chan answer, 1)
	go func() {
		a := answer{err: errExit}
		defer func() {
			if r := recover(); r != nil {
				a = answer{err: fmt.Errorf("%w: %v", errPanic, r)}
				m.log.Error("session provider panicked", "panic", r, "stack", string(debug.Stack()))
			}
			<-p.lanes
			got <- a
		}()
		a.v, a.err = f(ctx)
	}()
	select {
	case a := <-got:
		return a.v, a.err
	case <-ctx.Done():
		return none, errLate
	}
}

// ofProvider reports an error that says something of the provider, not of one
// of its sessions.
func ofProvider(err error) bool {
	return errors.Is(err, errLate) || errors.Is(err, errLanes) || errors.Is(err, errPanic) || errors.Is(err, errExit)
}

// noted keeps how a call to a provider about a device went.
func (m *Manager) noted(p *provider, h *health, device int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.desk.ctx.Err() != nil {
		return
	}
	before := h.trouble
	h.trouble, h.device = err, device
	if err == nil {
		h.fails, h.until = 0, 0
		if before != nil {
			m.log.Info("session provider answers again", "provider", p.label())
			m.hub.emit(0, ProviderAnswered, message{p.label() + " answers again", 0})
			nudge(m.desk.bell)
		}
		return
	}
	h.until = m.opt.Boot() + backoff(h.fails)
	h.fails++
	if before == nil {
		m.log.Warn("session provider fails", "provider", p.label(), "error", err)
		m.hub.emit(0, ProviderFailed, message{fmt.Sprintf("%s: %v", p.label(), err), 0})
	}
}

// askAgain asks a provider that failed the same as soon as it may be called, so
// that what status says of it is of now. m.mu is held.
func (m *Manager) askAgain(p *provider, now time.Duration) {
	for list, h := range map[bool]*health{false: &p.gets, true: &p.lists} {
		if h.trouble != nil && now >= h.until {
			m.inquiry(question{by: p, device: h.device, list: list})
		}
	}
}

// backoff is how long nothing is asked after so many failures before this one.
func backoff(fails int) time.Duration { return min(firstBackoff<<min(fails, 10), lastBackoff) }

// mayCall says whether a provider that may have failed is to be called now.
func (m *Manager) mayCall(h *health) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opt.Boot() >= h.until
}

// trouble is why a provider's last offers are used; nil: they are not. m.mu is
// held.
func (p *provider) trouble() error { return cmp.Or(p.gets.trouble, p.lists.trouble) }

// skip notes why a session that a provider offers to a device is not used.
// m.mu is held.
func (m *Manager) skip(p *provider, device int64, key string, err error) {
	why := fmt.Sprintf("%s: session %q of device %d is not used: %v", p.label(), key, device, err)
	if _, known := p.skips[device]; known || len(p.skips) < maxSkips {
		p.skips[device] = why
	}
	now := m.opt.Boot()
	if at, known := p.said[why]; known && now-at < skipAgain {
		return
	}
	maps.DeleteFunc(p.said, func(_ string, at time.Duration) bool { return now-at >= skipAgain })
	if len(p.said) >= maxSkips {
		return
	}
	p.said[why] = now
	m.log.Warn("session of a provider skipped", "provider", p.label(), "device", device, "session", key, "error", err)
	m.hub.emit(device, SessionSkipped, message{why, 0})
}

// providersDegraded returns what is wrong with providers. m.mu is held.
func (m *Manager) providersDegraded() (why []string) {
	for _, p := range m.desk.providers {
		if err := p.trouble(); err != nil {
			why = append(why, fmt.Sprintf("%s fails, what it offered last is used: %v", p.label(), err))
		}
		for _, s := range p.skips {
			if more := len(p.skips) - 1; more > 0 {
				s += fmt.Sprintf(" (and sessions of %d more devices)", more)
			}
			why = append(why, s)
			break
		}
	}
	return append(why, m.undelivered()...)
}
