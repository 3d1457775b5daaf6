package api_test

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/sessions"
)

// fakeCore is a Core with one device and one session that remembers what it was
// asked. While fail is set every call but Device returns it.
type fakeCore struct {
	device  sessions.Device
	session sessions.Session
	empty   bool // lists hold nothing
	fail    error
	slow    bool  // Session answers when its deadline has passed
	halfway error // a backup ends with it

	restored string

	after  uint64
	events sessions.EventFilter

	notify   string
	plan     sessions.Plan
	plans    []sessions.Plan
	change   sessions.Change
	filter   sessions.Filter
	cursor   string
	limit    int
	order    sessions.TrafficOrder
	mac, ip  string
	hostname string
	deadline bool // every call so far had one
}

func newFake() *fakeCore {
	at := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	until := at.Add(time.Minute + 30*24*time.Hour)
	days := uint(30)
	s := sessions.Session{ID: 7, DeviceID: 1, Provider: "local", Type: sessions.TypeTimeOrData, State: sessions.Running,
		TimeSecs: 60, DataMB: 100, TimeCons: 12, DataCons: 3.25, RemainingTime: 48, RemainingData: 96.75,
		UpBytes: 1000000, DownBytes: 2250000, StartedAt: &at, ExpiresAt: &until, ExpDays: &days,
		DownMbits: 5, UpMbits: 3, Weight: 1, CreatedAt: at}
	return &fakeCore{session: s, deadline: true, device: sessions.Device{ID: 1, MAC: "02:00:00:00:00:0c", IP: "10.10.0.2",
		Connected: true, FirstSeen: at, LastSeen: at, Session: &s}}
}

func (f *fakeCore) asked(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		f.deadline = false
	}
	return f.fail
}

func (f *fakeCore) Device(ctx context.Context, key string) (sessions.Device, error) {
	f.asked(ctx)
	if key == "1" || key == f.device.MAC || key == f.device.IP {
		return f.device, nil
	}
	return sessions.Device{}, fmt.Errorf("device %s: %w", key, sessions.ErrNoDevice)
}

func (f *fakeCore) Devices(ctx context.Context, cursor string, limit int) ([]sessions.Device, string, error) {
	f.cursor, f.limit = cursor, limit
	if f.empty {
		return nil, "", f.asked(ctx)
	}
	return []sessions.Device{f.device}, "2", f.asked(ctx)
}

func (f *fakeCore) AddDevice(ctx context.Context, mac, ip, hostname string) (sessions.Device, bool, error) {
	f.mac, f.ip, f.hostname = mac, ip, hostname
	return f.device, mac != f.device.MAC, f.asked(ctx)
}

func (f *fakeCore) ConnectDevice(ctx context.Context, id int64, notify string) (sessions.Device, error) {
	f.notify = notify
	return f.device, f.asked(ctx)
}

func (f *fakeCore) DisconnectDevice(ctx context.Context, id int64, notify string) (sessions.Device, error) {
	f.notify = notify
	return f.device, f.asked(ctx)
}

func (f *fakeCore) PauseDevice(ctx context.Context, id int64, notify string) (sessions.Device, error) {
	f.notify = notify
	return f.device, f.asked(ctx)
}

func (f *fakeCore) ResumeDevice(ctx context.Context, id int64, notify string) (sessions.Device, error) {
	f.notify = notify
	return f.device, f.asked(ctx)
}

func (f *fakeCore) Create(ctx context.Context, deviceID int64, p sessions.Plan) (sessions.Session, error) {
	f.plan = p
	return f.session, f.asked(ctx)
}

func (f *fakeCore) CreateBatch(ctx context.Context, deviceID int64, plans []sessions.Plan) ([]sessions.Session, error) {
	f.plans = plans
	return []sessions.Session{f.session}, f.asked(ctx)
}

func (f *fakeCore) Summary(ctx context.Context, deviceID int64) (sessions.Summary, error) {
	return sessions.Summary{DeviceID: deviceID, Sessions: map[sessions.State]int{}, Left: []sessions.Session{f.session}}, f.asked(ctx)
}

func (f *fakeCore) Current(ctx context.Context, deviceID int64) (*sessions.Session, error) {
	if f.empty {
		return nil, f.asked(ctx)
	}
	return &f.session, f.asked(ctx)
}

func (f *fakeCore) Sessions(ctx context.Context, filter sessions.Filter, cursor string, limit int) ([]sessions.Session, string, error) {
	f.filter, f.cursor, f.limit = filter, cursor, limit
	if f.empty {
		return nil, "", f.asked(ctx)
	}
	return []sessions.Session{f.session}, "", f.asked(ctx)
}

func (f *fakeCore) Session(ctx context.Context, id int64) (sessions.Session, error) {
	if f.slow {
		<-ctx.Done()
		return sessions.Session{}, fmt.Errorf("session %d: %w", id, ctx.Err())
	}
	if id != f.session.ID {
		return sessions.Session{}, fmt.Errorf("session %s: %w", strconv.FormatInt(id, 10), sessions.ErrUnknownSession)
	}
	return f.session, f.asked(ctx)
}

func (f *fakeCore) Update(ctx context.Context, id int64, c sessions.Change) (sessions.Session, error) {
	f.change = c
	if id != f.session.ID {
		return sessions.Session{}, fmt.Errorf("session %d: %w", id, sessions.ErrUnknownSession)
	}
	return f.session, f.asked(ctx)
}

func (f *fakeCore) Delete(ctx context.Context, id int64) error {
	if id != f.session.ID {
		return fmt.Errorf("session %d: %w", id, sessions.ErrUnknownSession)
	}
	return f.asked(ctx)
}

func (f *fakeCore) Ledger(ctx context.Context, id int64, cursor string, limit int) ([]sessions.LedgerLine, string, error) {
	f.cursor, f.limit = cursor, limit
	if id != f.session.ID {
		return nil, "", fmt.Errorf("ledger of session %d: %w", id, sessions.ErrUnknownSession)
	}
	left := uint64(48_000)
	return []sessions.LedgerLine{{Number: 2, At: *f.session.StartedAt, Kind: sessions.LinePause, Why: "bye", Changed: []sessions.LineChanged{},
		Used: sessions.Counted{TimeMS: 12_000, UpBytes: 1000000}, Total: sessions.Counted{TimeMS: 12_000, UpBytes: 1000000}, RemainingMS: &left}}, "", f.asked(ctx)
}

func (f *fakeCore) Traffic(ctx context.Context, by sessions.TrafficOrder, limit int) (sessions.Traffic, error) {
	f.order, f.limit = by, limit
	if f.empty {
		return sessions.Traffic{}, f.asked(ctx)
	}
	return sessions.Traffic{Now: *f.session.StartedAt, OverMS: 1000, Clients: sessions.TrafficClients{Bound: 3, Connected: 1}, DropsPerSecond: 0.5,
		Items: []sessions.ClientTraffic{{DeviceID: 1, MAC: f.device.MAC, IP: f.device.IP, Session: f.session, Drops: 3, DropsPerSecond: 0.5, Marked: 2,
			Down: sessions.Flow{BitsPerSecond: 4_900_000, PacketsPerSecond: 410, LimitBitsPerSecond: 5_000_000, WaitingBytes: 3000, DelayMS: 12.5},
			Up:   sessions.Flow{LimitBitsPerSecond: 3_000_000}}}}, f.asked(ctx)
}

func (f *fakeCore) Events(after uint64, filter sessions.EventFilter) *sessions.EventReader {
	f.after, f.events = after, filter
	return quiet().Events(after, filter)
}

// quiet is a manager in which nothing happens.
var quiet = sync.OnceValue(func() *sessions.Manager {
	table, _, err := clients.Create(clients.Shape{Slots: 16})
	if err != nil {
		panic(err)
	}
	return sessions.New(sessions.Options{Table: table, Now: time.Now, Boot: clients.NewClock().Now})
})

func (f *fakeCore) Backup(_ context.Context, w io.Writer) error {
	if f.fail != nil {
		return f.fail
	}
	if _, err := io.WriteString(w, "all there is"); err != nil {
		return err
	}
	return f.halfway
}

func (f *fakeCore) Restore(_ context.Context, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f.restored = string(b)
	return f.fail
}
