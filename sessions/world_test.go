package sessions

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/store"
	"gatewayd/store/client"
)

// world is a gateway without packets: a table, a fake forwarder, a real store
// that outlives whatever else dies, and a manager that can be killed. The store is in
// memory: no call may take longer than a few seconds, and a busy disk does.
type world struct {
	t     *testing.T
	opt   Options
	slots int
	team  clients.Shape // of a table for several workers; zero: one, with slots
	table *clients.Table
	fake  *fakeForwarder
	m     *Manager
	end   func() error // ends Run

	providers []SessionProvider // of each manager from now on

	dir   string // the store's; empty: it is in memory
	store func() // ends the store

	mu     sync.Mutex
	start  time.Time
	skip   time.Duration // since boot, on top of real time
	still  bool          // the clock goes on by advance only
	step   time.Duration // of the wall clock
	conns  chan net.Conn
	client *client.Client
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, "")
}

// onDisk is a world whose store is on disk, and takes its time.
func onDisk(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, t.TempDir())
}

// newWorldIn is a world whose store is in a directory; in memory without one.
func newWorldIn(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t, slots: 64, start: time.Now().Add(-time.Hour), conns: make(chan net.Conn)}
	w.opt = Options{
		GlobalDown: 1_250_000, GlobalUp: 625_000, ResumeOnRestart: true, Checkpoint: time.Hour,
		LAN: netip.MustParsePrefix("10.10.0.0/16"), Gateway: netip.MustParseAddr("10.10.0.1"),
		Now: w.now, Boot: w.boot,
	}
	w.dir = dir
	w.servesStore()
	t.Cleanup(func() {
		if w.end != nil {
			w.end()
		}
		w.stopsForwarder()
		if w.client != nil {
			w.client.Close()
		}
		w.store()
	})
	return w
}

// servesStore starts the store.
func (w *world) servesStore() {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		if w.dir == "" {
			served <- store.ServeMemory(ctx, w.conns)
			return
		}
		served <- store.Serve(ctx, w.dir, w.conns, store.Option{Guard: -1, Reserve: -1})
	}()
	w.store = func() {
		cancel()
		if err := <-served; err != nil {
			w.t.Errorf("serve store: %v", err)
		}
	}
}

func (w *world) boot() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sinceBoot()
}

// sinceBoot is boot with w.mu held.
func (w *world) sinceBoot() time.Duration {
	if w.still {
		return w.skip
	}
	return time.Since(w.start) + w.skip
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return epoch.Add(w.sinceBoot() + w.step)
}

// stands has the clock go on by advance alone, from before the world is first booted:
// what is billed is known to the second then, however long the test takes.
func (w *world) stands() *world {
	w.still, w.skip = true, time.Hour
	return w
}

// advance lets time pass.
func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	w.skip += d
	w.mu.Unlock()
}

// stepClock moves the wall clock alone.
func (w *world) stepClock(d time.Duration) {
	w.mu.Lock()
	w.step += d
	w.mu.Unlock()
}

// boots makes a new table and forwarder, as after a power cut.
func (w *world) boots() *world {
	w.stopsForwarder()
	shape := w.team
	if shape.Slots == 0 {
		shape.Slots = w.slots
	}
	mem := make([]uint64, clients.Size(shape)/8)
	table, err := clients.Format(bytesOf(mem), shape)
	if err != nil {
		w.t.Fatal(err)
	}
	w.table = table
	w.fake = newFakeForwarder(table, w.boot)
	return w
}

func (w *world) stopsForwarder() {
	if w.fake == nil {
		return
	}
	w.fake.stop()
	if len(w.fake.mixed) > 0 {
		w.t.Errorf("bindings were mixed: %v", w.fake.mixed)
	}
}

// runs starts a manager and waits until it serves.
func (w *world) runs() *world {
	w.t.Helper()
	if w.client != nil {
		w.client.Close()
	}
	w.client = client.New()
	w.back()
	return w.serves()
}

// serves starts a manager with the store that is attached.
func (w *world) serves() *world {
	w.t.Helper()
	opt := w.opt
	opt.Table, opt.Store = w.table, w.client
	m := New(opt)
	for _, p := range w.providers {
		m.API().RegisterSessionProvider(p)
	}
	w.m = m
	w.fake.mu.Lock()
	w.fake.wake = m.Wake
	w.fake.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	w.end = func() error {
		w.end = nil
		cancel()
		return <-ran
	}
	<-m.Ready()
	return w
}

// back attaches the store.
func (w *world) back() {
	near, far := net.Pipe()
	w.conns <- far
	w.client.Attach(near)
}

// inDoubt makes a call to a store whose answers do not arrive: what it is
// asked is done, then the line breaks. It returns the call's error.
func (w *world) inDoubt(call func() error) error {
	return w.cutOff(call, func(out, _ net.Conn) {
		if _, err := out.Read(make([]byte, 1)); err != nil { // an answer: it is done
			w.t.Error(err)
		}
	})
}

// cutOff makes a call over a line that breaks when carry has passed on as many of
// the store's answers, from out to mid, as are to arrive. It returns the call's error.
func (w *world) cutOff(call func() error, carry func(out, mid net.Conn)) error {
	near, mid := net.Pipe()
	out, far := net.Pipe()
	w.conns <- far
	go func() { io.Copy(out, mid) }()
	w.client.Attach(near)
	done := make(chan error)
	go func() { done <- call() }()
	carry(out, mid)
	mid.Close()
	out.Close()
	return <-done
}

// away takes the store away.
func (w *world) away() {
	near, far := net.Pipe()
	far.Close()
	w.client.Attach(near)
}

// kills ends the manager without its last words: nothing it does any more
// reaches disk or table.
func (w *world) kills() {
	w.m.stopped.Store(true)
	w.m.books.opened.Store(false) // no last write
	w.client.Close()
	w.end()
}

func bg() context.Context { return context.Background() }

func (w *world) add(mac, ip string) Device {
	w.t.Helper()
	d, _, err := w.m.AddDevice(bg(), mac, ip, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) create(device int64, p Plan) Session {
	w.t.Helper()
	s, err := w.m.Create(bg(), device, p)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) connect(device int64) {
	w.t.Helper()
	if _, err := w.m.ConnectDevice(bg(), device, "hello"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) disconnect(device int64) {
	w.t.Helper()
	if _, err := w.m.DisconnectDevice(bg(), device, "bye"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) session(id int64) Session {
	w.t.Helper()
	return answered(w, func() (Session, error) { return w.m.Session(bg(), id) })
}

func (w *world) device(key string) Device {
	w.t.Helper()
	return answered(w, func() (Device, error) { return w.m.Device(bg(), key) })
}

// answered makes a call that only reads, again while the store takes longer for it
// than such a call waits.
func answered[T any](w *world, call func() (T, error)) (v T) {
	w.t.Helper()
	var err error
	w.until("the store answers in time", func() bool { v, err = call(); return !errors.Is(err, ErrUnavailable) })
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// until waits for what another goroutine is about to do.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

func (w *world) wants(err, want error) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Errorf("got error %v, want %v", err, want)
	}
}

// pass sends bytes of the device with that MAC, and returns what passed.
func (w *world) pass(mac string, up, down uint64) uint64 {
	hw, err := parseMAC(mac)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.fake.pass(hw, up, down)
}

const (
	macA = "02:00:00:00:00:0a"
	macB = "02:00:00:00:00:0b"
	macC = "02:00:00:00:00:0c"
)

func timePlan(secs uint) Plan { return Plan{Type: TypeTime, TimeSecs: secs, DownMbits: 5, UpMbits: 3} }
func dataPlan(mb float64) Plan {
	return Plan{Type: TypeData, DataMB: mb, DownMbits: 5, UpMbits: 3}
}
