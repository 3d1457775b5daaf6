package sessions

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// handle is a ClientSession.
type handle struct {
	m *Manager

	mu    sync.Mutex
	last  Session // as last read
	edits edit
}

// view returns the live values with the unsaved edits; mu is held.
func (h *handle) view() Session {
	h.m.mu.Lock()
	if s := h.m.sessions[h.last.ID]; s != nil {
		h.last = h.m.viewSession(s)
	}
	h.m.mu.Unlock()
	v, e := h.last, &h.edits
	data := v.data()
	e.set(&data)
	e.add(&data)
	v.TimeSecs, v.DataMB, v.TimeCons, v.DataCons = data.TimeSecs, data.DataMb, data.TimeCons, data.DataCons
	v.StartedAt, v.ExpDays = data.StartedAt, data.ExpDays
	v.DownMbits, v.UpMbits, v.UseGlobalSpeed = data.DownMbits, data.UpMbits, data.UseGlobalSpeed
	if e.empty() {
		return v
	}
	spent := v.RemainingData == 0 && e.DataMB == nil && e.DataCons == nil // with a rest that no packet fitted, maybe
	v.RemainingTime, v.RemainingData, v.ExpiresAt = 0, 0, nil
	if v.Type.hasTime() && v.TimeSecs > v.TimeCons {
		v.RemainingTime = v.TimeSecs - v.TimeCons
	}
	if v.Type.hasData() && !spent {
		v.RemainingData = max(v.DataMB-v.DataCons, 0)
	}
	if v.StartedAt != nil && v.ExpDays != nil {
		at := v.StartedAt.Add(time.Duration(*v.ExpDays) * 24 * time.Hour)
		if v.Type.hasTime() {
			at = at.Add(time.Duration(v.TimeSecs) * time.Second)
		}
		v.ExpiresAt = &at
	}
	return v
}

func (h *handle) read() Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.view()
}

func (h *handle) Provider() string         { return h.read().Provider }
func (h *handle) Type() uint8              { return uint8(h.read().Type) }
func (h *handle) TimeSecs() uint           { return h.read().TimeSecs }
func (h *handle) DataMb() float64          { return h.read().DataMB }
func (h *handle) TimeConsumption() uint    { return h.read().TimeCons }
func (h *handle) DataConsumption() float64 { return h.read().DataCons }
func (h *handle) RemainingTime() uint      { return h.read().RemainingTime }
func (h *handle) RemainingData() float64   { return h.read().RemainingData }
func (h *handle) StartedAt() *time.Time    { return h.read().StartedAt }
func (h *handle) CreatedAt() time.Time     { return h.read().CreatedAt }
func (h *handle) ExpDays() *uint           { return h.read().ExpDays }
func (h *handle) ExpiresAt() *time.Time    { return h.read().ExpiresAt }
func (h *handle) DownMbits() int           { return h.read().DownMbits }
func (h *handle) UpMbits() int             { return h.read().UpMbits }
func (h *handle) UseGlobalSpeed() bool     { return h.read().UseGlobalSpeed }

func (h *handle) edit(change func(e *edit)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.edits)
	h.edits.save = nil
}

func (h *handle) IncTimeCons(sec uint) {
	h.edit(func(e *edit) {
		more := time.Duration(min(uint64(sec), maxTimeSecs)) * time.Second
		e.incTime = min(e.incTime+more, maxTimeSecs*time.Second)
	})
}

// IncDataCons ignores what is not a number or below zero: consumption does
// not shrink by adding.
func (h *handle) IncDataCons(mbytes float64) {
	if math.IsNaN(mbytes) || mbytes < 0 {
		return
	}
	h.edit(func(e *edit) { e.incData = min(e.incData+megabytes(min(mbytes, maxDataMB)), maxDataMB*1e6) })
}

func (h *handle) SetTimeSecs(v uint)    { h.edit(func(e *edit) { e.TimeSecs = &v }) }
func (h *handle) SetDataMb(v float64)   { h.edit(func(e *edit) { e.DataMB = &v }) }
func (h *handle) SetTimeCons(v uint)    { h.edit(func(e *edit) { e.TimeCons, e.incTime = &v, 0 }) }
func (h *handle) SetDataCons(v float64) { h.edit(func(e *edit) { e.DataCons, e.incData = &v, 0 }) }
func (h *handle) SetStartedAt(v *time.Time) {
	h.edit(func(e *edit) { e.setStarted, e.startedAt = true, copied(v) })
}
func (h *handle) SetExpDays(v *uint) {
	h.edit(func(e *edit) { e.ExpDays, e.NeverExpires = copied(v), v == nil })
}
func (h *handle) SetDownMbits(v int)       { h.edit(func(e *edit) { e.DownMbits = &v }) }
func (h *handle) SetUpMbits(v int)         { h.edit(func(e *edit) { e.UpMbits = &v }) }
func (h *handle) SetUseGlobalSpeed(v bool) { h.edit(func(e *edit) { e.UseGlobalSpeed = &v }) }

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Save is one edit of the manager's.
func (h *handle) Save(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.edits.save == nil && !h.edits.empty() {
		h.edits.save = new(int)
	}
	v, err := h.m.update(ctx, h.last.ID, h.edits)
	switch {
	case err == nil:
		h.last, h.edits = v, edit{}
	case errors.Is(err, errMade):
		h.edits = edit{}
	}
	return err
}

// Reload reads the session anew, a provider's from its source, and drops the
// edits.
func (h *handle) Reload(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, err := h.m.reload(ctx, h.last.ID)
	if err != nil {
		return err
	}
	h.last, h.edits = v, edit{}
	return nil
}

// Data returns the handle's values as a plain value.
func (h *handle) Data() SessionData {
	v := h.read()
	return v.data()
}

// data returns a session as a source has it.
func (v *Session) data() SessionData {
	return SessionData{
		Provider: v.Provider, Type: uint8(v.Type), TimeSecs: v.TimeSecs, DataMb: v.DataMB, TimeCons: v.TimeCons, DataCons: v.DataCons,
		StartedAt: copied(v.StartedAt), ExpDays: copied(v.ExpDays), DownMbits: v.DownMbits, UpMbits: v.UpMbits,
		UseGlobalSpeed: v.UseGlobalSpeed, CreatedAt: v.CreatedAt,
	}
}

// clientDevice is a ClientDevice.
type clientDevice struct {
	m *Manager

	mu   sync.Mutex
	last Device // as last read
}

// ClientDevice returns the handle of a device.
func (m *Manager) ClientDevice(d Device) ClientDevice { return &clientDevice{m: m, last: d} }

func (c *clientDevice) read() Device {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if d := c.m.byID[c.last.ID]; d != nil {
		c.last = c.m.viewDevice(d)
	}
	return c.last
}

func (c *clientDevice) id() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.ID
}

func (c *clientDevice) Id() int64        { return c.id() }
func (c *clientDevice) Hostname() string { return c.read().Hostname }
func (c *clientDevice) IpAddr() string   { return c.read().IP }
func (c *clientDevice) MacAddr() string  { return c.read().MAC }

func (c *clientDevice) Update(ctx context.Context, mac, ip, hostname string) error {
	v, err := c.m.updateDevice(ctx, c.id(), mac, ip, hostname)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = v
	return nil
}

func (c *clientDevice) Emit(event string, data any) { c.m.hub.emit(c.id(), event, data) }

func (c *clientDevice) Subscribe(event string) <-chan []byte { return c.m.hub.subscribe(c.id(), event) }

func (c *clientDevice) Unsubscribe(event string, ch <-chan []byte) {
	c.m.hub.unsubscribe(c.id(), event, ch)
}
