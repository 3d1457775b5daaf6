package races

// undecided is a device whose running session has not begun, given what it was
// before that was chosen.
func (o owner) undecided(before *owner) owner {
	s := &o.sold[o.running-1]
	if at := before.place(s.id); s.start == o.starts && (at == 0 || before.sold[at-1].start == 0) {
		s.start = 0
		o.starts--
	}
	o.running, o.stalls, o.slowly, o.fell, o.waits = 0, false, false, 0, true
	return o
}

// steps are the states that a device may be in after a call that was answered
// so; none: it cannot have been.
func (o owner) steps(c Call, r Answer) (all []owner) {
	if o.waits {
		settled := o
		settled.waits = false
		settled.run(o.follows(0), true)
		all = settled.steps(c, r)
		switch c.Verb {
		case Pause, Resume, RunOut, Look, Disconnect:
			return all
		case Connect:
			if r.Said == Already {
				all = append(all, o)
			}
			return all
		}
	}
	if o.lags() {
		over := o
		over.run(o.best(0), o.stalls)
		if all = over.steps(c, r); o.late == mostLate {
			return all
		}
	}
	for _, n := range o.step(c, r) {
		if all = append(all, n); n.stalls && n.running != o.running {
			all = append(all, n.undecided(&o))
		}
	}
	return all
}

func (o owner) step(c Call, r Answer) []owner {
	if r.Said == Doubt {
		return o.doubted(c)
	}
	tops := c.Verb == Sell || c.Verb == Extend
	if o.ending && !(c.Verb == Pass && r.Session == Dropped || tops && o.place(c.Session) == o.running) {
		return nil
	}
	switch c.Verb {
	case Create:
		o.buy(sold{id: r.Session, time: c.Time, life: c.Life, limit: c.Limit, slow: c.Slow})
		o.mindPause()
		return []owner{o}
	case Connect:
		return o.connects(r)
	case Disconnect:
		if (o.running == 0 && o.paused == 0) != (r.Said == Not) {
			return nil
		}
		o.run(0, false)
		o.paused = 0
		return []owner{o}
	case Pause, Resume:
		return o.halts(c.Verb == Pause, r.Said)
	case Pass:
		return o.passes(r.Session)
	case RunOut:
		return o.runsOut(o.place(c.Session))
	case Expire:
		return o.expires(o.place(c.Session))
	case Look:
		if r.All != o.all() || o.running != 0 {
			return nil
		}
		return []owner{o}
	}
	at := o.place(c.Session)
	if (at == 0) != (r.Said == Unknown) {
		return nil
	}
	if at == 0 {
		return []owner{o}
	}
	fell, runs := o.fell, o.running == at
	o.change(c, at)
	all := []owner{o}
	if back := o.place(fell); fell != 0 && back != 0 && runs && o.running == 0 {
		o.run(back, true)
		all = append(all, o)
	}
	return all
}

func (o owner) connects(r Answer) []owner {
	best := o.follows(0)
	switch {
	case o.running != 0 || o.paused != 0:
		if r.Said != Already {
			return nil
		}
	case best == 0:
		if r.Said != None {
			return nil
		}
	case r.Said != "" || r.Session != 0 && r.Session != o.sold[best-1].id:
		return nil
	default:
		o.run(best, false)
	}
	return []owner{o}
}

// halts pauses, or has what is paused go on.
func (o owner) halts(pause bool, said string) []owner {
	switch {
	case pause && o.paused != 0:
		if said != Paused {
			return nil
		}
	case pause && o.running == 0:
		if said != Not {
			return nil
		}
	case !pause && o.paused == 0:
		if said != Goes {
			return nil
		}
	case pause && !o.sold[o.running-1].available() && o.after() != o.running && !o.slowly: // it ends as it is paused
		o.paused = o.follows(o.running)
		if (o.paused == 0) != (said == Not) {
			return nil
		}
		o.run(0, false)
	case said != "":
		return nil
	case pause:
		o.paused = o.running
		o.run(0, false)
	default:
		o.run(o.paused, false)
		o.paused = 0
	}
	return []owner{o}
}

// change applies a call to the session at a place.
func (o *owner) change(c Call, at int) {
	s := &o.sold[at-1]
	defer o.mindPause()
	switch c.Verb {
	case Slow:
		if s.slow = c.Slow; o.running == at && o.slowly && !s.slow {
			o.skip(at)
		}
		return
	case Sell, Extend:
		if c.Verb == Sell {
			s.limit, s.spent = c.Limit, false
		} else {
			s.time, s.over = Long, false
		}
		if o.ending {
			o.ending = false
			o.run(o.follows(0), true)
		}
		return // else one that runs ends with the packet that does not fit
	case Wind:
		s.over = c.Whole
	case Delete:
		o.skip(at)
		o.remove(at)
		return
	}
	if o.running == at && s.over && !o.slowly {
		o.run(o.after(), true)
	}
}

// passes is one packet that was billed to a session, or dropped.
func (o owner) passes(billed int64) []owner {
	passed := billed != Dropped
	if o.running == 0 {
		if passed {
			return nil
		}
		return []owner{o}
	}
	by := func(s *sold) bool { return billed == Somebody || billed == s.id }
	s := &o.sold[o.running-1]
	if o.slowly || s.limit == 0 || s.used < s.limit {
		if !passed && !o.stalls && s.time == Short && !o.slowly {
			o.ending = true // its time was used up, and it is topped up at that moment
			return []owner{o}
		}
		if !passed && !o.stalls && !o.ending || passed && !by(s) {
			return nil
		}
		if passed {
			s.used += Parcel
			o.stalls = false
			if o.lags() {
				o.late++
			}
		}
		return []owner{o}
	}
	topped := o // before control hears of it
	topped.ending = true
	s.spent = true // this is the packet that does not fit
	switch o.run(o.after(), !passed); {
	case !passed:
		return []owner{o, topped}
	case o.running == 0 || !by(&o.sold[o.running-1]):
		return nil
	}
	o.sold[o.running-1].used += Parcel
	o.takesOver(s)
	return []owner{o}
}

// takesOver notes that the running one took over by itself from s.
func (o *owner) takesOver(s *sold) {
	if o.running != 0 && !o.slowly && s.throttles() && s.life == 0 {
		o.fell = s.id
	}
}

// runsOut ends the session at a place, whose time is used up.
func (o owner) runsOut(at int) []owner {
	if at == 0 || o.running != at || o.slowly || !o.sold[at-1].timed() {
		return nil
	}
	topped := o // before control hears of it
	topped.ending = true
	o.sold[at-1].over = true
	o.run(o.after(), true)
	o.takesOver(&o.sold[at-1])
	return []owner{o, topped}
}

func (o owner) expires(at int) []owner {
	if at == 0 { // it was deleted
		return []owner{o}
	}
	if s := &o.sold[at-1]; s.start == 0 || s.life == 0 {
		return nil
	}
	if o.sold[at-1].expired = true; o.running == at || o.paused == at {
		o.skip(at)
	}
	return []owner{o}
}

// doubted are the states after a call of which nobody knows whether it was done.
func (o owner) doubted(c Call) []owner {
	all := []owner{o}
	switch at := o.place(c.Session); {
	case c.Verb == Connect && o.running == 0 && o.paused == 0 && o.follows(0) != 0:
		o.run(o.follows(0), false)
		all = append(all, o)
		o.run(0, false) // started, and not connected
		all = append(all, o)
	case c.Verb == Disconnect:
		o.run(0, false)
		o.paused = 0
		all = append(all, o)
	case c.Verb == Pause && o.running != 0:
		o.paused = o.running
		o.run(0, false)
		all = append(all, o)
	case c.Verb == Resume && o.paused != 0:
		o.run(o.paused, false)
		o.paused = 0
		all = append(all, o)
	case at != 0 && c.Session != 0:
		o.change(c, at)
		all = append(all, o)
	}
	return all
}
