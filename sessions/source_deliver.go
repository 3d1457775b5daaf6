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
	v := visiting{at: at, change: change}
	for tries := 0; ; tries++ {
		if err := m.readThere(ctx, &v); err != nil {
			return 0, err
		}
		if err := m.settleLetter(ctx, &v); err != nil {
			return 0, err
		}
		switch {
		case v.letter == nil && v.refused != nil:
			return 0, at.fails("Save", v.refused)
		case v.letter == nil:
			return v.again, nil
		}
		if err := m.deliver(ctx, &v, tries < maxTries); err != nil || v.done {
			return v.again, err
		}
	}
}

// readThere reads what the source of a visit holds.
func (m *Manager) readThere(ctx context.Context, v *visiting) (err error) {
	at := v.at
	v.began = m.opt.Boot()
	v.data, err = calling(ctx, m, at.by, func(ctx context.Context) (SessionData, error) {
		data, err := at.source.Reload(ctx)
		return tidy(data), err
	})
	if err = m.answered(at, err); err != nil {
		return at.fails("Reload", errors.Join(v.refused, err))
	}
	if err := checkData(v.data); err != nil {
		m.mu.Lock()
		m.skip(at.by, at.device, at.key, err)
		m.mu.Unlock()
		return at.fails("Reload", errors.Join(v.refused, err))
	}
	return nil
}

// deliver sends the letter of a visit and takes in what the source says. The visit
// goes on if the source has to be read again after it: what it holds now is not
// known, or somebody else changed it, and more tries are left.
func (m *Manager) deliver(ctx context.Context, v *visiting, more bool) error {
	err := m.send(ctx, v.at, v.letter)
	switch {
	case errors.Is(err, ErrNotSaved) && more && v.resent:
		return nil // with the same sequence, added to what it holds then
	case errors.Is(err, ErrNotSaved) && !v.resent:
		if withdrawn := m.withdraw(ctx, v.at, v.letter); withdrawn != nil || more {
			return withdrawn
		}
		return v.at.fails("Save", err)
	case err != nil && v.letter.Edit && !v.resent:
		v.refused = err
		return nil
	case err != nil && v.resent:
		return v.at.fails("Save again, which may have been done before", err)
	case err != nil:
		return v.at.fails("Save", err)
	}
	if err := m.delivered(ctx, v); err != nil {
		if v.letter.Edit {
			err = fmt.Errorf("provider %s: %w: %w", v.at.name, errMade, err)
		}
		return err
	}
	v.done = !v.resent
	if v.resent && v.letter.Edit {
		v.change, v.refused = nil, nil
	}
	return nil
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
	at      address
	data    SessionData // as just read
	began   time.Duration
	change  *edit // to be made; nil: none, or it is made
	refused error // what the Save of change ended with; nil: it was not tried, or has arrived

	letter *letter // to be sent
	resent bool    // it was sent before, and may have arrived then
	done   bool    // the source holds what the letter says
	again  time.Duration
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
	v.letter, v.resent = nil, false
	if l := s.origin.Letter; l != nil {
		of := v.change // which the letter is about
		if !l.Edit || v.refused == nil && !m.errand(s).edit.same(of) {
			of = nil
		}
		switch s.verdict(v.data, v.at.source, m.errand(s).fails) {
		case resend:
			v.letter, err = s.anew(v.data, of)
			v.resent = true
			m.mu.Unlock()
			return err
		case arrived:
			if of != nil && l.shows(v.data, of) {
				v.change, v.refused = nil, nil
			}
			s.arrive()
		case lost:
			s.origin.said, s.origin.Letter, s.origin.Unstart = l.Base, nil, false
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

// verdict says what is to be done about a letter whose end is not known, given what
// the source holds now. One that takes each sequence once is sent it again: it knows;
// but one that never says so, after so many fails, and holds what the letter says.
// Of the others, one that holds what it held before has not taken the letter; one that
// holds something else is believed to have, in the customer's favour. So is one with
// sequences if the letter is a backup's: others may have followed it.
func (s *session) verdict(data SessionData, source SessionSource, fails int) int {
	l := s.origin.Letter
	told := consumption(l.Intended)
	holds := consumption(data) == told && sameTerms(data, l.Intended)
	if _, exact := source.(sequenced); exact && !l.Old && (fails < maxTries || !holds) {
		return resend
	}
	if consumption(data) == l.Base && !holds {
		return lost
	}
	return arrived
}

// shows reports that a source holds what a letter changes, and the consumption in it.
func (l *letter) shows(data SessionData, change *edit) bool {
	changed := data
	return change.applyTo(&changed) == nil && sameTerms(data, changed) && consumption(data).covers(consumption(l.Intended))
}

// anew returns the letter with the same sequence for what a source holds now: what
// others changed since the letter was written stays if the source takes it only now.
// change is the one in the letter; nil: there is none, or its caller has left and
// knows that it may not be made.
func (s *session) anew(data SessionData, change *edit) (*letter, error) {
	l := s.origin.Letter
	intended, err := s.intended(data, l.Delta, change)
	return &letter{Base: consumption(data), Delta: l.Delta, Intended: intended, Seq: l.Seq, Edit: change != nil}, err
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
		if n.origin != o {
			s.origin = n.origin
			m.soil(s)
		}
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
	if v.refused != nil || !due {
		m.mu.Unlock()
		return nil
	}
	if err := s.address(v.data, u, v.change, uint64(m.clock.read().Wall.UnixMilli())); err != nil {
		m.mu.Unlock()
		return err
	}
	e.edit = v.change
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
		o.Letter, o.Unstart = nil, false // it was not sent, and if it is on disk it is found lost
		return err
	}
	v.letter = l
	return nil
}

// address writes the letter that adds what was counted to what a source holds,
// with a change if there is one. Its sequence is above all before, also if those
// are forgotten because a backup was restored: it is at least the wall time, ms.
func (s *session) address(data SessionData, u use, change *edit, ms uint64) error {
	o, delta := s.origin, s.owed(u)
	intended, err := s.intended(data, delta, change)
	if err != nil {
		return err
	}
	o.Seq = max(o.Seq+1, ms)
	o.Letter = &letter{Base: consumption(data), Delta: delta, Intended: intended, Seq: o.Seq, Edit: change != nil}
	o.Unstart = o.Unstart || change.unstarts() && !s.startedAt.IsZero()
	return nil
}

// intended returns what a source is to have that holds data: the start, delta, and a
// change if there is one.
func (s *session) intended(data SessionData, delta tally, change *edit) (SessionData, error) {
	told := consumption(data).plus(delta)
	if delta.Secs != 0 {
		data.TimeCons = uint(min(told.Secs, maxTimeSecs))
	}
	if delta.Bytes != 0 {
		data.DataCons = min(float64(told.Bytes)/1e6, maxDataMB)
	}
	if data.StartedAt == nil && !s.startedAt.IsZero() && !s.origin.Unstart {
		data.StartedAt = copied(&s.startedAt)
	}
	if change == nil {
		return data, nil
	}
	err := change.applyTo(&data)
	return data, err
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
		s.origin.Letter, s.origin.Unstart = nil, false
		m.errand(s).told = -tellEvery // it is due again
		m.soil(s)
	}
	return nil
}

// delivered takes in that the source has taken a letter. What it holds after one that
// was sent before is not known.
func (m *Manager) delivered(ctx context.Context, v *visiting) error {
	l := v.letter
	ctx, d, s, done, err := m.callSession(ctx, v.at)
	if err != nil {
		return err
	}
	defer done()
	m.mu.Lock()
	now := m.opt.Boot()
	if s.origin.Letter != nil && s.origin.Letter.Seq == l.Seq {
		s.arrive()
		m.soil(s)
	}
	s.origin.read = now
	v.again = m.nextVisit(s, now)
	m.mu.Unlock()
	if l.Edit && !v.resent {
		return m.pull(ctx, d, s, l.Intended, now)
	}
	return nil
}
