package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// visit goes to the source of a session: it brings the session up to what the
// source holds, settles a Save whose end is not known, and delivers what was
// counted since, with a change of the session if there is one. again is when
// the next visit is due. Nothing is held.
func (m *Manager) visit(ctx context.Context, id int64, change *edit) (again time.Duration, err error) {
	at, err := m.reach(ctx, id)
	if err != nil {
		return 0, err
	}
	unlock, err := m.lockSource(ctx, at.name+"\x00"+at.key)
	if err != nil {
		return 0, at.fails("wait for it", err)
	}
	defer unlock()
	var refused error // of a Save of change
	tries := 0
	for {
		began := m.opt.Boot()
		data, err := calling(ctx, m, at.by, func(ctx context.Context) (SessionData, error) {
			data, err := at.source.Reload(ctx)
			return tidy(data), err
		})
		if err = m.answered(at, err); err != nil {
			return 0, at.fails("Reload", errors.Join(refused, err))
		}
		if err := checkData(data); err != nil {
			m.mu.Lock()
			m.skip(at.by, at.device, at.key, err)
			m.mu.Unlock()
			return 0, at.fails("Reload", err)
		}
		todo := visiting{at: at, data: data, began: began, change: change}
		if refused != nil {
			todo.change, todo.only = nil, true
		}
		if err := m.settleLetter(ctx, &todo); err != nil {
			return 0, err
		}
		switch {
		case refused != nil && todo.applied:
			return todo.again, nil
		case refused != nil:
			return 0, at.fails("Save", refused)
		case todo.letter == nil:
			return todo.again, nil
		}
		if err := m.send(ctx, at, todo.letter); err != nil {
			if errors.Is(err, ErrNotSaved) && !todo.resent && tries < maxTries {
				tries++
				if err := m.withdraw(ctx, at, todo.letter); err != nil {
					return 0, err
				}
				continue
			}
			if !todo.letter.Edit {
				return 0, at.fails("Save", err)
			}
			refused = err
			continue
		}
		if again, err = m.delivered(ctx, at, todo.letter); err != nil {
			if todo.letter.Edit {
				err = fmt.Errorf("provider %s: %w: %w", at.name, errMade, err)
			}
			return 0, err
		}
		if todo.letter.Edit || change == nil {
			return again, nil
		}
	}
}

// address is where a session is kept.
type address struct {
	session   int64
	restore   uint64 // the newest one when the session was looked up
	by        *provider
	source    SessionSource
	device    int64
	name, key string
}

// replaced says whether an id is not what it was when a provider was called: a
// backup was restored meanwhile. m.mu is held.
func (m *Manager) replaced(before uint64) error {
	if before != m.desk.restore {
		return fmt.Errorf("%w: a backup was restored meanwhile", ErrUnavailable)
	}
	return nil
}

func (a address) fails(what string, err error) error {
	return fmt.Errorf("provider %s: %s: %w: %w", a.name, what, ErrProvider, err)
}

// answered notes how a call to a source went, and returns err.
func (m *Manager) answered(at address, err error) error {
	if err == nil || ofProvider(err) {
		m.noted(at.by, &at.by.saves, at.device, err)
	}
	return err
}

// reach finds the source of a session.
func (m *Manager) reach(ctx context.Context, id int64) (at address, err error) {
	at, err = m.whereabouts(ctx, id)
	switch {
	case err != nil || at.source != nil:
		return at, err
	case at.by == nil:
		return at, at.fails("look for the session", errors.New("no provider of that name is registered"))
	}
	at.source, err = m.locate(ctx, at)
	if err = m.answered(at, err); err != nil {
		return at, at.fails("look for the session", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.replaced(at.restore); err != nil {
		return at, fmt.Errorf("session %d: %w", id, err)
	}
	if s := m.sessions[id]; s != nil {
		s.origin.by = at.by
		m.errand(s).source = at.source
	}
	return at, nil
}

// whereabouts returns what is known of where a session is kept.
func (m *Manager) whereabouts(ctx context.Context, id int64) (at address, err error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return at, err
	}
	defer cancel()
	d, s, err := m.holdSession(ctx, id)
	if err != nil {
		return at, err
	}
	defer m.finish(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.origin == nil {
		return at, fmt.Errorf("session %d is no provider's: %w", id, ErrUnknownSession)
	}
	at = address{id, m.desk.restore, s.origin.by, m.errand(s).source, d.id, s.origin.Provider, s.origin.Key}
	if at.by == nil {
		at.by = m.keeper(at.name)
	}
	return at, nil
}

var errGone = errors.New("it does not have it any more, see gatewayd sessions delete")

// locate asks a provider for the source of a session that it offered before
// this process started.
func (m *Manager) locate(ctx context.Context, at address) (found SessionSource, err error) {
	look := func(page []offered) bool {
		for _, o := range page {
			if o.key == at.key && at.by.nameOf(o.data) == at.name {
				found = o.source
			}
		}
		return found != nil
	}
	if err := m.leaf(at.by, at.device, look); err != nil || found != nil {
		return found, err
	}
	page, err := calling(ctx, m, at.by, func(ctx context.Context) ([]offered, error) {
		source, ok := at.by.of.GetSession(ctx, m.client(at.device))
		if !ok || source == nil {
			return nil, nil
		}
		return []offered{readSource(source)}, nil
	})
	if err == nil && !look(page) {
		err = fmt.Errorf("%w: session %q", errGone, at.key)
	}
	return found, err
}

// lockSource waits until nobody else changes a session at its source.
func (m *Manager) lockSource(ctx context.Context, key string) (unlock func(), err error) {
	m.mu.Lock()
	l := m.desk.locks[key]
	if l == nil {
		l = &lock{turn: newTurn()}
		m.desk.locks[key] = l
	}
	l.users++
	m.mu.Unlock()
	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.desk.locks, key)
		}
	}
	if err := l.turn.take(ctx); err != nil {
		leave()
		return nil, err
	}
	return func() { l.turn.done(); leave() }, nil
}

// visiting is what a visit knows and what comes of it.
type visiting struct {
	at     address
	data   SessionData // as just read
	began  time.Duration
	change *edit
	only   bool // nothing new is to be sent

	letter  *letter // to be sent
	resent  bool    // it was sent before, and may have arrived then
	applied bool    // a letter before turned out to have arrived
	again   time.Duration
}

// callSession prepares a call and holds the device of a session that was found
// before a provider was called, until done.
func (m *Manager) callSession(ctx context.Context, at address) (_ context.Context, d *device, s *session, done func(), err error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	m.mu.Lock()
	err = m.replaced(at.restore)
	m.mu.Unlock()
	if err == nil {
		d, s, err = m.holdSession(ctx, at.session)
	}
	if err != nil {
		cancel()
		return nil, nil, nil, nil, err
	}
	return ctx, d, s, func() { m.finish(d); cancel() }, nil
}

// settleLetter finds out from what the source holds whether the last letter
// arrived, brings the session up to the source, and writes the next letter.
func (m *Manager) settleLetter(ctx context.Context, v *visiting) error {
	ctx, d, s, done, err := m.callSession(ctx, v.at)
	if err != nil {
		return err
	}
	defer done()
	m.mu.Lock()
	m.follow(d)
	if s.origin.Letter != nil {
		switch s.verdict(v.data, v.at.source) {
		case resend:
			v.letter, v.resent = s.origin.Letter, true
			m.mu.Unlock()
			return nil
		case arrived:
			v.applied = true
			s.arrive()
		case lost:
			s.origin.said, s.origin.Letter = s.origin.Letter.Base, nil
		}
		m.soil(s)
	}
	if s.origin.Old != nil {
		s.disown(v.data, m.used(d, s))
		s.origin.Old = nil
		m.soil(s)
	}
	m.mu.Unlock()
	if err := m.pull(ctx, d, s, v.data, v.began); err != nil {
		return err
	}
	return m.write(ctx, d, s, v)
}

// What is known of a letter.
const (
	arrived = iota
	lost
	resend
)

// verdict says what became of a letter whose end is not known, given what the
// source holds now. A source that holds what it held before has not taken it.
// One that holds something else and less than intended is believed to have
// taken it, in the customer's favour, unless it can be asked with the sequence:
// not with one of a backup, which others may have followed.
func (s *session) verdict(data SessionData, source SessionSource) int {
	l, held := s.origin.Letter, consumption(data)
	_, exact := source.(sequenced)
	exact = exact && !l.Edit && !l.Old
	told := consumption(l.Intended)
	switch {
	case held == l.Base && !(told == l.Base && sameTerms(data, l.Intended)):
		if exact && sameTerms(data, l.Intended) {
			return resend
		}
		return lost
	case exact && !held.covers(told):
		return resend
	}
	return arrived
}

// sameTerms reports that two readings of a source sell the same, from the
// same start.
func sameTerms(a, b SessionData) bool {
	same := a.TimeSecs == b.TimeSecs && a.DataMb == b.DataMb && equalDays(a.ExpDays, b.ExpDays) &&
		a.DownMbits == b.DownMbits && a.UpMbits == b.UpMbits && a.UseGlobalSpeed == b.UseGlobalSpeed
	if a.StartedAt == nil || b.StartedAt == nil {
		return same && a.StartedAt == b.StartedAt
	}
	return same && a.StartedAt.Equal(*b.StartedAt)
}

// arrive takes the letter for taken by the source. m.mu and the turn are held.
func (s *session) arrive() {
	o, l := s.origin, s.origin.Letter
	o.Sent = o.Sent.plus(l.Delta)
	o.Told = o.Told || l.Intended.StartedAt != nil
	o.said = consumption(l.Intended)
	if o.Old != nil {
		o.Old.Held = o.said
	}
	o.Letter = nil
}

// pull brings a shadow, and its running grant, up to what its source held at
// began or later. The turn is held, m.mu is not.
func (m *Manager) pull(ctx context.Context, d *device, s *session, data SessionData, began time.Duration) error {
	m.mu.Lock()
	o := s.origin
	if o.Letter != nil || began < o.read {
		m.mu.Unlock()
		return nil // what is known is newer, or it is not known whether the letter is in it
	}
	o.read = m.opt.Boot()
	held := consumption(data)
	if !o.doubted && !held.covers(o.said) {
		o.doubted = true
		m.log.Warn("provider holds less consumption than it was told", "session", s.id, "provider", o.Provider,
			"told_s", o.said.Secs, "told_bytes", o.said.Bytes, "holds_s", held.Secs, "holds_bytes", held.Bytes)
		m.hub.emit(s.device, SessionChanged, message{"its provider holds less consumption than it was told: the provider's word counts", s.id})
	}
	o.said = held
	m.follow(d)
	s.disown(data, m.used(d, s))
	n, err := s.holding(data)
	if err != nil {
		if p := o.by; p != nil {
			m.skip(p, s.device, o.Key, err)
		}
		m.mu.Unlock()
		return nil
	}
	if n.samePlan(s) && n.timeEdit == s.timeEdit && n.dataEdit == s.dataEdit {
		m.mu.Unlock()
		return nil
	}
	_, err = m.change(ctx, d, s, n)
	return err
}

// write journals the next letter to a source if one is due. The turn is held,
// m.mu is not.
func (m *Manager) write(ctx context.Context, d *device, s *session, v *visiting) error {
	m.mu.Lock()
	m.follow(d)
	o, now := s.origin, m.opt.Boot()
	u := m.used(d, s)
	e := m.errand(s)
	delta := s.owed(u)
	start := !s.startedAt.IsZero() && !o.Told
	due := v.change != nil || start || delta != (tally{}) && (!s.running || now-e.told >= tellEvery)
	v.again = m.nextVisit(s, now)
	if v.only || !due {
		m.mu.Unlock()
		return nil
	}
	if err := s.address(v.data, u, v.change, uint64(m.clock.read().Wall.UnixMilli())); err != nil {
		m.mu.Unlock()
		return err
	}
	l := o.Letter
	e.told = now
	m.soil(s)
	records := m.pending(d, nil)
	m.mu.Unlock()
	err := m.save(ctx, records)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written(d, err)
	if err != nil {
		o.Letter = nil // it was not sent, and if it is on disk it is found lost
		return err
	}
	v.letter = l
	return nil
}

// address writes the letter that adds what was counted to what a source holds,
// with a change if there is one. Its sequence is above all before, also if those
// are forgotten because a backup was restored: it is at least the wall time, ms.
func (s *session) address(data SessionData, u use, change *edit, ms uint64) error {
	o, held, delta := s.origin, consumption(data), s.owed(u)
	told := held.plus(delta)
	if delta.Secs != 0 {
		data.TimeCons = uint(min(told.Secs, maxTimeSecs))
	}
	if delta.Bytes != 0 {
		data.DataCons = min(float64(told.Bytes)/1e6, maxDataMB)
	}
	if !s.startedAt.IsZero() {
		data.StartedAt = copied(&s.startedAt)
	}
	if change != nil {
		if err := change.applyTo(&data); err != nil {
			return err
		}
	}
	o.Seq = max(o.Seq+1, ms)
	o.Letter = &letter{Base: held, Delta: delta, Intended: data, Seq: o.Seq, Edit: change != nil}
	return nil
}

// nextVisit is when the source of a session is to be visited again. m.mu is
// held.
func (m *Manager) nextVisit(s *session, now time.Duration) time.Duration {
	switch {
	case s.running:
		return now + lookEvery
	case s.open(s.settled):
		return now + firstBackoff
	}
	return never
}

// send makes the call that a letter is about.
func (m *Manager) send(ctx context.Context, at address, l *letter) error {
	_, err := calling(ctx, m, at.by, func(ctx context.Context) (struct{}, error) {
		data := tidy(l.Intended) // the source may do with it what it likes
		if exact, ok := at.source.(sequenced); ok {
			return struct{}{}, exact.SaveSeq(ctx, data, l.Seq)
		}
		return struct{}{}, at.source.Save(ctx, data)
	})
	return m.answered(at, err)
}

// withdraw forgets a letter that the source has certainly not taken.
func (m *Manager) withdraw(ctx context.Context, at address, l *letter) error {
	_, _, s, done, err := m.callSession(ctx, at)
	if err != nil {
		return err
	}
	defer done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.origin.Letter != nil && s.origin.Letter.Seq == l.Seq {
		s.origin.Letter = nil
		m.errand(s).told = -tellEvery // it is due again
		m.soil(s)
	}
	return nil
}

// delivered takes in that the source has taken a letter.
func (m *Manager) delivered(ctx context.Context, at address, l *letter) (again time.Duration, err error) {
	ctx, d, s, done, err := m.callSession(ctx, at)
	if err != nil {
		return 0, err
	}
	defer done()
	m.mu.Lock()
	now := m.opt.Boot()
	if s.origin.Letter != nil && s.origin.Letter.Seq == l.Seq {
		s.arrive()
		m.soil(s)
	}
	s.origin.read = now
	again = m.nextVisit(s, now)
	m.mu.Unlock()
	if l.Edit {
		err = m.pull(ctx, d, s, l.Intended, now)
	}
	return again, err
}
