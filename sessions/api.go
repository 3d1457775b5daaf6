package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SessionsMgrApi is the sessions manager as embedding programs know it.
type SessionsMgrApi interface {
	// Connect lets the device pass with its next available session;
	// ErrNoSession when there is none, ErrAlreadyConnected. The providers are
	// asked first, for 1.5 s at most; while one does not answer, what it offered
	// last is used.
	Connect(ctx context.Context, clnt ClientDevice, notify string) error
	// Disconnect pauses: nothing passes any more, the session keeps its rest.
	Disconnect(ctx context.Context, clnt ClientDevice, notify string) error
	// IsConnected is true while a session of the device runs or is paused in
	// place; an error is for
	// a device that does not exist or a gateway that has stopped.
	IsConnected(clnt ClientDevice) (connected bool, err error)
	// CreateSession gives a device a session: t is 0 time, 1 data, 2
	// time_or_data; a megabyte is 1,000,000 bytes; expDays nil never expires.
	CreateSession(ctx context.Context, devId int64, t uint8, timeSecs uint, dataMbytes float64, expDays *uint,
		downMbits int, upMbits int, useGlobal bool) error
	// CurrSession returns the running session, or the one paused in place.
	CurrSession(clnt ClientDevice) (cs ClientSession, ok bool)
	// GetSession returns the running or paused session or the one that Connect
	// would use: providers are asked in order of registration, for 1.5 s at most,
	// the first that has one wins, then the local ones; ErrNoSession when there is
	// none.
	GetSession(ctx context.Context, clnt ClientDevice) (ClientSession, error)
	// RegisterSessionProvider adds a source of sessions, asked after those
	// registered before it and before the gateway's own store. It is kept
	// until the gateway ends. It panics if the provider is nil.
	RegisterSessionProvider(SessionProvider)
}

// SessionData is a session as a plain value.
type SessionData struct {
	Provider       string
	Type           uint8      // 0 time, 1 data, 2 time_or_data
	TimeSecs       uint       // total; types 0 and 2
	DataMb         float64    // total; types 1 and 2
	TimeCons       uint       // consumed seconds
	DataCons       float64    // consumed megabytes
	StartedAt      *time.Time // nil: not started
	ExpDays        *uint      // nil: never expires
	DownMbits      int
	UpMbits        int
	UseGlobalSpeed bool
	CreatedAt      time.Time
}

// ClientSession is a live handle of a session. Getters return live values
// with the handle's own unsaved edits. Methods may be called from many
// goroutines.
type ClientSession interface {
	Provider() string
	Type() uint8
	TimeSecs() uint           // seconds
	DataMb() float64          // megabytes of 1,000,000 bytes
	TimeConsumption() uint    // seconds
	DataConsumption() float64 // megabytes
	RemainingTime() uint
	RemainingData() float64
	StartedAt() *time.Time
	CreatedAt() time.Time
	ExpDays() *uint
	ExpiresAt() *time.Time
	DownMbits() int
	UpMbits() int
	UseGlobalSpeed() bool
	IncTimeCons(sec uint) // in memory until Save, like all that follow
	IncDataCons(mbytes float64)
	SetTimeSecs(uint)
	SetDataMb(float64)
	SetTimeCons(uint)
	SetDataCons(float64)
	SetStartedAt(*time.Time)
	SetExpDays(*uint)
	SetDownMbits(int)
	SetUpMbits(int)
	SetUseGlobalSpeed(bool)
	// Save writes what was set since the last Save or Reload, and nothing
	// else; a running session changes with it. After an error it may be
	// called again. A provider's session is saved at its source, merged with
	// what was counted, which may take 3 s: ErrProvider.
	Save(ctx context.Context) error
	// Reload drops what was set and not saved. A provider's session is read
	// anew from its source, which may take 3 s: ErrProvider.
	Reload(ctx context.Context) error
}

// ClientDevice is a device as embedding programs know it.
type ClientDevice interface {
	Id() int64
	Hostname() string
	IpAddr() string
	MacAddr() string
	// Update changes the device in place; a running session goes on. An empty
	// mac or ip leaves it.
	Update(ctx context.Context, mac, ip, hostname string) error
	// Emit hands an event to subscribers; data becomes JSON. It never waits.
	Emit(event string, data any)
	// Subscribe returns payloads of an event of this device. A slow reader
	// loses some; its next payload is then {"lost":N}.
	Subscribe(event string) <-chan []byte
	// Unsubscribe closes the channel.
	Unsubscribe(event string, ch <-chan []byte)
}

// API returns the manager as embedding programs know it.
func (m *Manager) API() SessionsMgrApi { return api{m} }

type api struct{ m *Manager }

func (a api) Connect(ctx context.Context, clnt ClientDevice, notify string) error {
	id, err := idOf(clnt)
	if err == nil {
		_, err = a.m.ConnectDevice(ctx, id, notify)
	}
	return err
}

func (a api) Disconnect(ctx context.Context, clnt ClientDevice, notify string) error {
	id, err := idOf(clnt)
	if err == nil {
		_, err = a.m.DisconnectDevice(ctx, id, notify)
	}
	return err
}

func (a api) IsConnected(clnt ClientDevice) (bool, error) {
	id, err := idOf(clnt)
	if err != nil {
		return false, err
	}
	d, err := a.m.Device(context.Background(), fmt.Sprint(id))
	if errors.Is(err, ErrUnavailable) {
		return a.m.isPaused(id), nil // who else is connected is in memory
	}
	return d.Connected, err
}

func (a api) CreateSession(ctx context.Context, devId int64, t uint8, timeSecs uint, dataMbytes float64, expDays *uint,
	downMbits int, upMbits int, useGlobal bool) error {
	_, err := a.m.Create(ctx, devId, Plan{Type(t), timeSecs, dataMbytes, expDays, downMbits, upMbits, useGlobal})
	return err
}

func (a api) CurrSession(clnt ClientDevice) (ClientSession, bool) {
	id, err := idOf(clnt)
	if err != nil {
		return nil, false
	}
	s, err := a.m.Current(context.Background(), id)
	if err != nil || s == nil {
		return nil, false
	}
	return &handle{m: a.m, last: *s}, true
}

func (a api) GetSession(ctx context.Context, clnt ClientDevice) (ClientSession, error) {
	id, err := idOf(clnt)
	if err != nil {
		return nil, err
	}
	s, err := a.m.next(ctx, id)
	if err != nil {
		return nil, err
	}
	return &handle{m: a.m, last: s}, nil
}

func (a api) RegisterSessionProvider(p SessionProvider) { a.m.register(p) }

// next returns the running or paused session of a device or else the one that Connect
// would use.
func (m *Manager) next(ctx context.Context, id int64) (Session, error) {
	ctx, cancel, err := m.call(ctx)
	if err != nil {
		return Session{}, fmt.Errorf("session of device %d: %w", id, err)
	}
	defer cancel()
	m.consult(ctx, id)
	d, err := m.holdID(ctx, id)
	if err != nil {
		return Session{}, fmt.Errorf("session: %w", err)
	}
	defer m.finish(d)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.follow(d)
	if g := d.current(); g != nil && d.connected {
		return m.viewSession(g.session), nil
	}
	if d.paused != nil {
		return m.viewSession(d.paused), nil
	}
	m.lastKnown(d)
	s := d.best(m.clock.read().Wall, func(*session) bool { return false })
	if s == nil {
		return Session{}, fmt.Errorf("session of device %d: %w", id, m.unanswered(ErrNoSession))
	}
	return m.viewSession(s), nil
}

// idOf returns the id of a device handle; a nil one, as a program that
// ignores errors may hold, is an error.
func idOf(clnt ClientDevice) (int64, error) {
	if clnt == nil {
		return 0, fmt.Errorf("nil device: %w", ErrNoDevice)
	}
	return clnt.Id(), nil
}
