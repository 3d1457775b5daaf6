package sessions

import (
	"context"
	"time"
)

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
