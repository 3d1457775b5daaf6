package sessions

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// odd is a source, or a provider of one, in which a test replaces what it likes.
type odd struct {
	*source
	id     func() string
	data   func() SessionData
	save   func(context.Context, SessionData) error
	reload func(context.Context) (SessionData, error)
}

func (o *odd) ID() string {
	if o.id != nil {
		return o.id()
	}
	return o.source.ID()
}

func (o *odd) Data() SessionData {
	if o.data != nil {
		return o.data()
	}
	return o.source.Data()
}

func (o *odd) Save(ctx context.Context, data SessionData) error {
	if o.save != nil {
		return o.save(ctx, data)
	}
	return o.source.Save(ctx, data)
}

func (o *odd) Reload(ctx context.Context) (SessionData, error) {
	if o.reload != nil {
		return o.reload(ctx)
	}
	return o.source.Reload(ctx)
}

// hostile is a shop whose answers a test replaces; its list has what get answers
// if only that is replaced, so that who was asked last makes no difference.
type hostile struct {
	*shop
	get  func() (SessionSource, bool)
	list func(page int) (FetchSessionsResult, error)
}

func (h *hostile) GetSession(ctx context.Context, c ClientDevice) (SessionSource, bool) {
	if h.get != nil {
		return h.get()
	}
	return h.shop.GetSession(ctx, c)
}

func (h *hostile) FetchSessions(ctx context.Context, c ClientDevice, page, perPage int) (FetchSessionsResult, error) {
	if h.list != nil {
		return h.list(page)
	}
	if h.get != nil {
		s, _ := h.get()
		return FetchSessionsResult{Sessions: []SessionSource{s}, Pages: 1, Count: 1}, nil
	}
	return h.shop.FetchSessions(ctx, c, page, perPage)
}

// TestHostileProviders has a device, which has 1 MB of a provider and 1 MB of its own, use
// 0.6 MB in all while the provider misbehaves. All of it passes, is billed once, and
// nothing of another device is lost meanwhile.
func TestHostileProviders(t *testing.T) {
	t.Parallel()
	const all = 600_000
	ever := func(a *ware, change func(o *odd)) func() (SessionSource, bool) {
		return func() (SessionSource, bool) {
			o := &odd{source: &source{a, a.now()}}
			change(o)
			return o, true
		}
	}
	sold := func(a *ware, change func(*SessionData)) func(context.Context) (SessionData, error) {
		return func(context.Context) (SessionData, error) { d := a.now(); change(&d); return d, nil }
	}
	pages := func(h *hostile, n uint, with ...SessionSource) {
		h.list = func(int) (FetchSessionsResult, error) {
			h.change(func() { h.lists++ })
			return FetchSessionsResult{Sessions: with, Pages: n, Count: n}, nil
		}
	}
	rows := []struct {
		name  string
		set   func(h *hostile, a *ware)
		later func(h *hostile, a *ware) // when half of it was used; nil: nothing
		there float64                   // MB that the source holds then
		says  string                    // in status; empty: nothing
	}{
		{"a new id with each call", func(h *hostile, a *ware) {
			var n atomic.Int64
			h.get = ever(a, func(o *odd) { o.id = func() string { return fmt.Sprint(n.Add(1)) } })
			pages(h, 1)
		}, nil, 0.6, ""},
		{"an id without end", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.id = func() string { return strings.Repeat("x", 1<<20) } })
		}, nil, 0, "its id has more than 1024 bytes"},
		{"an id of control characters", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.id = func() string { return "\x00\x1b[31m\n" } })
		}, nil, 0.6, ""},
		{"a name of control characters", func(h *hostile, a *ware) { a.data.Provider = "acme\x1b[31m" }, nil, 0, "control characters"},
		{"a name without end", func(h *hostile, a *ware) { a.data.Provider = strings.Repeat("x", 1<<20) }, nil, 0, "longer than"},
		{"2^32 pages", func(h *hostile, a *ware) { pages(h, math.MaxUint32, &source{a, a.data}) }, nil, 0.6, ""},
		{"pages that never end", func(h *hostile, a *ware) {
			h.list = func(page int) (FetchSessionsResult, error) {
				return FetchSessionsResult{Sessions: []SessionSource{&source{a, a.now()}}, Pages: uint(page) + 1}, nil
			}
		}, nil, 0.6, ""},
		{"thousands that are used up", func(h *hostile, a *ware) {
			many := make([]SessionSource, 10*perPage)
			for i := range many {
				d := a.data
				d.DataCons = 1
				many[i] = &odd{source: &source{a, d}, id: func() string { return fmt.Sprint(i) }}
			}
			pages(h, maxPages, many...)
		}, nil, 0.6, ""},
		{"thousands that cannot be sold", func(h *hostile, a *ware) {
			many := make([]SessionSource, 10*perPage)
			var n atomic.Int64
			for i := range many {
				d := a.data
				d.DataMb = -1
				many[i] = &odd{source: &source{a, d}, id: func() string { return fmt.Sprint(n.Add(1)) }}
			}
			pages(h, maxPages, many...)
		}, nil, 0.6, "is not used: bad plan"},
		{"no sessions of many", func(h *hostile, a *ware) { pages(h, 50) }, nil, 0.6, ""},
		{"sessions that are nil", func(h *hostile, a *ware) { pages(h, 1, nil, nil) }, nil, 0.6, ""},
		{"one key many times", func(h *hostile, a *ware) {
			pages(h, 1, &source{a, a.data}, &source{a, a.data}, &source{a, a.data})
		}, nil, 0.6, ""},
		{"Data that panics", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.data = func() SessionData { panic("no data") } })
		}, nil, 0, "panicked: no data"},
		{"an id that panics", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.id = func() string { panic("no id") } })
		}, nil, 0, "panicked: no id"},
		{"Save that panics", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.save = func(context.Context, SessionData) error { panic("no Save") } })
		}, nil, 0, "panicked: no Save"},
		{"Reload that panics", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.reload = func(context.Context) (SessionData, error) { panic("no Reload") } })
		}, nil, 0, "panicked: no Reload"},
		{"Reload that answers nothing", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.reload = func(context.Context) (SessionData, error) { return SessionData{}, nil } })
		}, nil, 0, "bad plan"},
		{"Reload of another's session", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) {
				o.reload = sold(a, func(d *SessionData) { d.CreatedAt, d.DataCons = d.CreatedAt.Add(time.Hour), 0.9 })
			})
		}, nil, 0, "another session, created at"},
		{"Reload of another provider's", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.reload = sold(a, func(d *SessionData) { d.Provider = "other" }) })
		}, nil, 0, `another session, of provider "other"`},
		{"Reload of another type", func(h *hostile, a *ware) {
			h.get = ever(a, func(o *odd) { o.reload = sold(a, func(d *SessionData) { d.Type, d.TimeSecs = 2, 60 }) })
		}, nil, 0, "its type has changed"},
		{"data that is no number by and by", func(h *hostile, a *ware) {}, func(h *hostile, a *ware) { a.data.DataMb = math.NaN() }, 0.3, "data_mb NaN"},
		{"endless data consumed by and by", func(h *hostile, a *ware) {}, func(h *hostile, a *ware) { a.data.DataCons = math.Inf(1) }, math.Inf(1), "data_cons +Inf"},
		{"less sold than is used", func(h *hostile, a *ware) {}, func(h *hostile, a *ware) { a.data.DataMb = 0.1 }, 0.3, ""},
		{"a lie about what was used", func(h *hostile, a *ware) {}, func(h *hostile, a *ware) { a.data.DataCons = 0.1 }, 0.4, ""},
		{"a start that goes back", func(h *hostile, a *ware) {}, func(h *hostile, a *ware) { a.data.StartedAt = new(epoch.Add(-time.Hour)) }, 0.6, ""},
		{"a start that goes away", func(h *hostile, a *ware) {}, func(h *hostile, a *ware) { a.data.StartedAt = nil }, 0.6, ""},
		{"a start before there were clocks", func(h *hostile, a *ware) {}, func(h *hostile, a *ware) { a.data.StartedAt = new(time.Unix(-1e11, 0)) }, 0.3, "started_at"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d, e := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3")
			w.create(e.ID, dataPlan(1000))
			w.connect(e.ID)
			lost, stop := w.streams(macB)
			w.create(d.ID, dataPlan(1))
			events := w.m.hub.newest()
			h := &hostile{shop: newShop("acme")}
			a := h.sells("a", dataPlan(1))
			row.set(h, a)
			w.registers(h)
			w.connect(d.ID)
			if n := w.pass(macA, all/2, 0); n != all/2 {
				t.Errorf("%d bytes passed", n)
			}
			if row.later != nil {
				w.until("the source has half", func() bool { w.due(); return a.now().DataCons == 0.3 && w.delivers() == 0 })
				before := 0
				h.change(func() { row.later(h, a); before = a.reloads })
				w.until("it was read again", func() (done bool) {
					w.due()
					h.change(func() { done = a.reloads > before })
					return done && w.delivers() == 0
				})
			}
			w.until("it is connected", func() bool { return w.device(macA).Connected })
			if n := w.pass(macA, all/2, 0); n != all/2 {
				t.Errorf("%d bytes passed of the second half", n)
			}
			w.disconnect(d.ID)
			w.until("its source has what it gets", func() bool { w.due(); return a.now().DataCons == row.there })
			if row.says != "" {
				w.until("status says it", func() bool { w.due(); return strings.Contains(strings.Join(w.m.Degraded(), "; "), row.says) })
			} else {
				w.until("status says nothing", func() bool { return len(w.m.Degraded()) == 0 })
			}
			w.until("nobody is asked any more", w.m.quiet)
			billed, kept := uint64(0), list(w, d)
			if len(kept) > maxUnused+2 {
				t.Errorf("%d sessions are kept", len(kept))
			}
			for _, s := range kept {
				billed += s.UpBytes
			}
			if billed != all {
				t.Errorf("%d bytes are billed, want %d", billed, all)
			}
			if s := w.create(d.ID, dataPlan(1)); s.ID > 5*maxUnused {
				t.Errorf("the next session is number %d", s.ID)
			}
			if n := w.m.hub.newest() - events; n > 2*maxSkips {
				t.Errorf("%d events", n)
			}
			close(stop)
			if n := <-lost; n != 0 {
				t.Errorf("%d bytes of another device were lost", n)
			}
		})
	}
}

// streams has a device send until stop is closed, and then says how many bytes were lost.
func (w *world) streams(mac string) (lost chan uint64, stop chan struct{}) {
	lost, stop = make(chan uint64, 1), make(chan struct{})
	go func() {
		n := uint64(0)
		for {
			select {
			case <-stop:
				lost <- n
				return
			case <-time.After(time.Millisecond):
				n += 500 - w.pass(mac, 500, 0)
			}
		}
	}()
	return lost, stop
}
