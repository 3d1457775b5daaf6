package sessions

import "time"

// edit is what Save of a handle and Update change: nil or zero leaves a field
// as it is.
type edit struct {
	Change
	incTime    time.Duration
	incData    int64 // bytes
	setStarted bool
	startedAt  *time.Time
	save       *int // the same when a Save that failed is made again; nil: it is not a handle's
}

// same reports that two edits are one, which a handle saves again.
func (e *edit) same(o *edit) bool { return e != nil && o != nil && e.save != nil && e.save == o.save }

// unstarts reports that an edit, if there is one, takes the start away.
func (e *edit) unstarts() bool {
	return e != nil && e.setStarted && (e.startedAt == nil || e.startedAt.IsZero())
}

func (e *edit) empty() bool {
	return e.Change == Change{} && e.incTime == 0 && e.incData == 0 && !e.setStarted
}

// set puts what an edit sets in the place of what is in data.
func (e *edit) set(data *SessionData) {
	set(&data.TimeSecs, e.TimeSecs)
	set(&data.DataMb, e.DataMB)
	set(&data.TimeCons, e.TimeCons)
	set(&data.DataCons, e.DataCons)
	set(&data.DownMbits, e.DownMbits)
	set(&data.UpMbits, e.UpMbits)
	set(&data.UseGlobalSpeed, e.UseGlobalSpeed)
	if e.NeverExpires {
		data.ExpDays = nil
	}
	if e.ExpDays != nil {
		data.ExpDays = copied(e.ExpDays)
	}
	if e.setStarted {
		data.StartedAt = copied(e.startedAt)
	}
}

// add adds what an edit adds to the consumption in data.
func (e *edit) add(data *SessionData) {
	data.TimeCons = uint(min(uint64(data.TimeCons)+uint64(e.incTime/time.Second), maxTimeSecs))
	data.DataCons = min(data.DataCons+float64(e.incData)/1e6, maxDataMB)
}

// applyTo makes the change in what a source is to have.
func (e *edit) applyTo(data *SessionData) error {
	e.set(data)
	if err := checkData(*data); err != nil {
		return err
	}
	e.add(data)
	*data = tidy(*data)
	return nil
}

// apply returns a local session as the edit makes it. u is what it has used.
func (e *edit) apply(s *session, u use) (session, error) {
	n := *s
	data := s.plan().data()
	e.set(&data)
	p := planIn(data)
	p.Weight = s.weight
	set(&p.Weight, e.Weight)
	p.ThrottleDown, p.ThrottleUp = s.throttle.down, s.throttle.up
	set(&p.ThrottleDown, e.ThrottleDown)
	set(&p.ThrottleUp, e.ThrottleUp)
	if err := p.Check(); err != nil {
		return n, err
	}
	if err := checkConsumption(data); err != nil {
		return n, err
	}
	n.timeLimit, n.dataLimit, n.expDays = seconds(p.TimeSecs), megabytes(p.DataMB), p.ExpDays
	n.downMbits, n.upMbits = p.own()
	n.global = p.UseGlobalSpeed
	n.weight = p.weight()
	n.throttle = throttle{p.ThrottleDown, p.ThrottleUp}
	if e.TimeCons != nil {
		n.timeEdit = seconds(data.TimeCons) - u.time
	}
	if e.DataCons != nil {
		n.dataEdit = megabytes(data.DataCons) - int64(u.up+u.down)
	}
	n.timeEdit = min(n.timeEdit+e.incTime, maxTimeSecs*time.Second-u.time) // neither sum overflows
	n.dataEdit = min(n.dataEdit+e.incData, maxDataMB*1e6-int64(u.up+u.down))
	if e.setStarted {
		n.startedAt, n.unsure = time.Time{}, time.Time{}
		if at := data.StartedAt; at != nil {
			if err := checkStart(*at); err != nil {
				return n, err
			}
			n.startedAt = at.UTC().Round(0)
		}
	}
	if e.DataMB != nil || e.DataCons != nil {
		n.spent = false
	}
	return n, nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
