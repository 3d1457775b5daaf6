package sessions

import (
	"cmp"
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
	if err := cmp.Or(checkData(v.data), at.sameSession(v.data)); err != nil {
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
