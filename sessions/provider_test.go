package sessions

import (
	"context"
	"sync"
	"testing"
	"time"
)

// shop is a provider over sessions in memory. What a test sets in its fields
// happens to the calls that follow.
type shop struct {
	mu       sync.Mutex
	name     string
	wares    map[string]*ware // by id
	order    []string
	gets     int
	lists    int
	asking   func(ctx context.Context) error // called by GetSession and FetchSessions; an error: no answer
	get      func() (SessionSource, bool)    // instead of GetSession
	pageSize int
	exact    bool // its sources take sequences
}

// ware is a session at the source.
type ware struct {
	shop    *shop
	id      string
	data    SessionData
	seq     uint64
	saves   int // taken
	reloads int
	under   int                                                // Saves under way
	saving  func(ctx context.Context, data *SessionData) error // before a Save is taken; an error: it is not
	saved   func() error                                       // after
	loading func(ctx context.Context, data *SessionData) error
}

func newShop(name string) *shop { return &shop{name: name, wares: map[string]*ware{}} }

// sells adds a session for everybody.
func (p *shop) sells(id string, plan Plan) *ware {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &ware{shop: p, id: id, data: SessionData{
		Provider: p.name, Type: uint8(plan.Type), TimeSecs: plan.TimeSecs, DataMb: plan.DataMB, ExpDays: plan.ExpDays,
		DownMbits: plan.DownMbits, UpMbits: plan.UpMbits, UseGlobalSpeed: plan.UseGlobalSpeed,
		CreatedAt: epoch.Add(time.Duration(len(p.order)) * time.Second),
	}}
	p.wares[id] = w
	p.order = append(p.order, id)
	return w
}

// change has something done while nobody is served.
func (p *shop) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (w *ware) now() SessionData {
	w.shop.mu.Lock()
	defer w.shop.mu.Unlock()
	return w.data
}

func (w *ware) left() bool {
	d := w.data
	return (Type(d.Type) == TypeData || d.TimeCons < d.TimeSecs) && (Type(d.Type) == TypeTime || d.DataCons < d.DataMb)
}

func (p *shop) ask(ctx context.Context, count *int) error {
	p.mu.Lock()
	*count++
	f := p.asking
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (p *shop) GetSession(ctx context.Context, clnt ClientDevice) (SessionSource, bool) {
	if p.ask(ctx, &p.gets) != nil {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.get != nil {
		return p.get()
	}
	for _, id := range p.order {
		if w := p.wares[id]; w.left() {
			return w.source(), true
		}
	}
	return nil, false
}

func (p *shop) FetchSessions(ctx context.Context, clnt ClientDevice, page, perPage int) (FetchSessionsResult, error) {
	if err := p.ask(ctx, &p.lists); err != nil {
		return FetchSessionsResult{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pageSize > 0 {
		perPage = p.pageSize
	}
	r := FetchSessionsResult{Pages: uint((len(p.order) + perPage - 1) / perPage), Count: uint(len(p.order))}
	for i := (page - 1) * perPage; i >= 0 && i < min(page*perPage, len(p.order)); i++ {
		r.Sessions = append(r.Sessions, p.wares[p.order[i]].source())
	}
	return r, nil
}

// source is a ware as an answer has it: with the data of that moment. p.mu is held.
func (w *ware) source() SessionSource {
	if w.shop.exact {
		return exact{&source{w, w.data}}
	}
	return &source{w, w.data}
}

type source struct {
	w    *ware
	data SessionData
}

func (s *source) ID() string        { return s.w.id }
func (s *source) Data() SessionData { return s.data }

func (s *source) Reload(ctx context.Context) (SessionData, error) {
	s.w.shop.mu.Lock()
	s.w.reloads++
	data, f := s.w.data, s.w.loading
	s.w.shop.mu.Unlock()
	if f != nil {
		if err := f(ctx, &data); err != nil {
			return SessionData{}, err
		}
	}
	return data, nil
}

func (s *source) Save(ctx context.Context, data SessionData) error { return s.w.save(ctx, data, nil) }

func (w *ware) save(ctx context.Context, data SessionData, seq *uint64) error {
	w.shop.mu.Lock()
	before, after := w.saving, w.saved
	w.under++
	w.shop.mu.Unlock()
	defer func() { w.shop.change(func() { w.under-- }) }()
	if before != nil {
		if err := before(ctx, &data); err != nil {
			return err
		}
	}
	w.shop.mu.Lock()
	if seq == nil || *seq > w.seq {
		w.data = data
		w.saves++
	}
	if seq != nil {
		w.seq = max(w.seq, *seq)
	}
	w.shop.mu.Unlock()
	if after != nil {
		return after()
	}
	return nil
}

// exact is a source that takes each sequence once.
type exact struct{ *source }

func (s exact) SaveSeq(ctx context.Context, data SessionData, seq uint64) error {
	return s.w.save(ctx, data, &seq)
}

func (w *world) registers(p SessionProvider) { w.m.API().RegisterSessionProvider(p) }

// sold is a world with a device and a shop that has sold it 1 MB, which was looked up.
func sold(t *testing.T) (w *world, d Device, p *shop, a *ware, s ClientSession) {
	t.Helper()
	w = newWorld(t).boots().runs()
	d = w.add(macA, "10.10.0.2")
	p = newShop("acme")
	a = p.sells("a", dataPlan(1))
	w.registers(p)
	s, err := w.gets(d)
	if err != nil {
		t.Fatal(err)
	}
	return w, d, p, a, s
}

func (w *world) gets(d Device) (ClientSession, error) {
	return w.m.API().GetSession(bg(), w.m.ClientDevice(d))
}

// due has all errands done now.
func (w *world) due() {
	w.m.mu.Lock()
	for _, e := range w.m.desk.errands {
		e.due, e.told = min(e.due, 0), -time.Hour
	}
	w.m.mu.Unlock()
	nudge(w.m.desk.bell)
}

func TestConnectWithAProvider(t *testing.T) {
	w, d, _, a, s := sold(t)
	if s.Provider() != "acme" || s.DataMb() != 1 || s.Type() != 1 || !s.CreatedAt().Equal(a.data.CreatedAt) {
		t.Errorf("%+v", s.(*handle).read())
	}
	w.connect(d.ID)
	if n := w.pass(macA, 300_000, 0); n != 300_000 {
		t.Fatalf("%d bytes passed", n)
	}
	w.until("the source has the start", func() bool { return a.now().StartedAt != nil })
	w.disconnect(d.ID)
	w.until("the source has what was used", func() bool { return a.now().DataCons == 0.3 })
	if s.DataConsumption() != 0.3 || s.RemainingData() != 0.7 {
		t.Errorf("consumed %v, remaining %v", s.DataConsumption(), s.RemainingData())
	}
	w.connect(d.ID)
	if n := w.pass(macA, 800_000, 0); n > 700_000 || n < 698_000 {
		t.Errorf("%d bytes passed of the 700000 left", n)
	}
	w.until("the source has the rest", func() bool { return a.now().DataCons > 0.69 })
	w.until("it is disconnected", func() bool { return !w.device(macA).Connected })
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNoSession)
}

func TestProvidersAreAskedInOrder(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, timePlan(60))
	first, second := newShop("first"), newShop("second")
	w.registers(first)
	w.registers(second)
	provider := func(want string) {
		t.Helper()
		s, err := w.gets(d)
		if err != nil || s.Provider() != want {
			t.Fatalf("%v, %v: want a session of %s", s, err, want)
		}
	}
	provider("local")
	second.sells("b", timePlan(100))
	provider("second")
	first.sells("a", timePlan(100))
	asked := second.gets
	provider("first")
	if second.gets != asked {
		t.Error("the second was asked although the first has one")
	}
}

func TestChainingFromProviders(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	first, second := newShop("first"), newShop("second")
	first.pageSize = 1
	a, b := first.sells("a", dataPlan(0.015)), first.sells("b", dataPlan(0.015))
	c := second.sells("c", dataPlan(0.015))
	w.registers(first)
	w.registers(second)
	local := w.create(d.ID, dataPlan(0.015))
	gone := w.m.ClientDevice(d).Subscribe(SessionDisconnected)
	w.connect(d.ID)
	names := []string{"first", "first", "second", "local"}
	for i, name := range names {
		w.until("it runs", func() bool { s := w.device(macA).Session; return s != nil && s.Provider == name })
		if i < 3 {
			w.until("the next one is with the forwarder", func() bool { w.looks(); return w.nextIs(names[i+1]) })
		}
		n := uint64(15_000) // to the edge
		if i > 0 {
			n -= 100
		}
		if i < 3 {
			n += 100 // over it
		}
		if got := w.pass(macA, n, 0); got != n {
			t.Fatalf("%d bytes passed in session %d, want %d", got, i, n)
		}
	}
	if len(gone) != 0 {
		t.Errorf("disconnected: %s", <-gone)
	}
	for _, ware := range []*ware{a, b, c} {
		w.until("the source has it", func() bool { return ware.now().DataCons == 0.015 && ware.now().StartedAt != nil })
	}
	if v := w.session(local.ID); v.UpBytes != 15_000 {
		t.Errorf("%+v", v)
	}
}

// looks has the providers asked for what comes next, if it is time for that.
func (w *world) looks() {
	w.m.mu.Lock()
	w.m.byMAC[hwA].ahead.again = 0
	w.m.mu.Unlock()
	w.m.Wake()
}

// nextIs reports that the forwarder has a grant of a provider's session behind
// the running one.
func (w *world) nextIs(provider string) bool {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	d := w.m.byMAC[hwA]
	n := d.next()
	return n != nil && n.session.provider() == provider && w.m.acked(d.slot, w.m.table.Policy(d.slot))
}

func TestATopUpAtTheSourceReachesTheRunningGrant(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(0.015))
	w.registers(p)
	w.connect(d.ID)
	if n := w.pass(macA, 13_500, 0); n != 13_500 {
		t.Fatalf("%d bytes passed", n)
	}
	w.until("the source has the start", func() bool { return a.now().StartedAt != nil })
	p.change(func() { a.data.DataMb, a.data.DownMbits = 1, 7 })
	w.due()
	w.until("it is seen", func() bool { s := w.device(macA).Session; return s.DataMB == 1 && s.DownMbits == 7 })
	if n := w.pass(macA, 900_000, 0); n != 900_000 {
		t.Errorf("%d bytes passed", n)
	}
	w.due()
	w.until("the source has what was used", func() bool { return a.now().DataCons == 0.9135 })
	if v := a.now(); v.DataMb != 1 || v.DownMbits != 7 {
		t.Errorf("the source lost its change: %+v", v)
	}
}

func TestExactlyOnceWithSequences(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	p := newShop("acme")
	a := p.sells("a", dataPlan(1))
	p.change(func() {
		p.exact = true
		a.saved = func() error { return errLate } // it was taken, and the answer is lost
	})
	w.registers(p)
	w.connect(d.ID)
	w.pass(macA, 300_000, 0)
	w.disconnect(d.ID)
	w.until("it is sent again", func() bool { w.due(); return a.now().DataCons == 0.3 })
	p.change(func() { a.saved = nil })
	w.until("it is delivered", func() bool { w.due(); return w.delivered() })
	if v := a.now(); v.DataCons != 0.3 || v.StartedAt == nil {
		t.Errorf("%+v", v)
	}
}

// delivered reports that by the disk no source has to hear anything more.
func (w *world) delivered() bool {
	rs, err := w.m.scanAll(bg(), []byte(openKeys))
	return err == nil && len(rs) == 0 && w.clean()
}
