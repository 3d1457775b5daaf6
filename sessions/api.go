package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SessionsMgrApi is the sessions manager as embedding programs know it. Its
// methods may be called from many goroutines. A call that changes something
// has it on disk when it returns nil; it is answered within 5 s, whatever
// disk, forwarder and providers do, or when ctx ends if that is sooner.
//
// Errors are compared with errors.Is. Beside those that a method names, each
// may return ErrNoDevice for a device that does not exist (or nil), ErrStopped
// once the gateway has stopped, and ErrUnavailable when the store is away or full
// (the error says why; nothing was changed, unless Disconnect says so), also
// when ctx ended before it was done. ErrForwarder is of those that name it.
type SessionsMgrApi interface {
	// Connect lets the device pass with its next available session: when it
	// returns nil the next packet passes, or, of a session with time while the
	// WAN is away, it is paused and passes once that is back. The first start of
	// a session is on disk before. It emits session:connected with notify as the
	// message. ErrNoSession when nothing is available, ErrAlreadyConnected, also
	// when it is paused in place, ErrTableFull. ErrForwarder: the packet path did
	// not take it in within 2 s; the device is not connected, and a first start
	// is undone. The providers are asked first, for 1.5 s at most; while one does
	// not answer, what it offered last is used.
	Connect(ctx context.Context, clnt ClientDevice, notify string) error
	// Disconnect pauses: when it returns nil nothing passes any more and what
	// was used is on disk; the session keeps its rest, and its expiry runs on.
	// It emits session:disconnected with notify as the message.
	// ErrNotConnected. With ErrUnavailable, and with ErrForwarder (the packet path
	// did not take it in within 2 s), the device is disconnected all the same, and
	// what it used is written as soon as store and packet path are back.
	Disconnect(ctx context.Context, clnt ClientDevice, notify string) error
	// IsConnected is true while a session of the device runs or is paused in
	// place. It does not wait for the disk longer than 0.7 s. An error is for a
	// device that does not exist or a gateway that has stopped, never for "no".
	IsConnected(clnt ClientDevice) (connected bool, err error)
	// CreateSession gives the device with an id a session. t is 0 for time, 1
	// for data, 2 for time_or_data, which ends at whichever runs out first;
	// timeSecs counts for 0 and 2, dataMbytes (of 1,000,000 bytes) for 1 and 2.
	// It expires expDays × 24 h and, but for type 1, timeSecs after its start;
	// nil never. So 0 days is until the seconds have passed, used or not, and
	// refused for type 1, which would expire as it starts. Speeds are megabits
	// of 1,000,000 bits a second, 1 to 1,000,000, unless useGlobal takes the
	// configured pair. ErrBadPlan says what is wrong with them.
	CreateSession(ctx context.Context, devId int64, t uint8, timeSecs uint, dataMbytes float64, expDays *uint,
		downMbits int, upMbits int, useGlobal bool) error
	// CurrSession returns the running session, or the one paused in place; ok
	// is false when there is none, and for a device that does not exist. It
	// reads memory, and does not wait for the disk longer than 0.7 s.
	CurrSession(clnt ClientDevice) (cs ClientSession, ok bool)
	// GetSession returns the running or paused session or the one that Connect
	// would use: providers are asked in order of registration, for 1.5 s at most,
	// the first that has one wins, then the local ones: started before not
	// started, among those the earlier expiry, then the oldest. ErrNoSession
	// when there is none; it names providers that could not be asked.
	GetSession(ctx context.Context, clnt ClientDevice) (ClientSession, error)
	// RegisterSessionProvider adds a source of sessions, asked after those
	// registered before it and before the gateway's own store. It returns at
	// once; the provider is kept until the gateway ends. It panics if the
	// provider is nil.
	RegisterSessionProvider(SessionProvider)
}

// SessionData is a session as a plain value. What its pointers lead to is not
// changed by the gateway, and read only while the call that got it goes on.
type SessionData struct {
	Provider       string     // who keeps it, as clients and records show it; at most 128 bytes, no control characters, and not Local
	Type           uint8      // 0 time, 1 data, 2 time_or_data
	TimeSecs       uint       // seconds in all; types 0 and 2
	DataMb         float64    // megabytes of 1,000,000 bytes in all; types 1 and 2
	TimeCons       uint       // consumed seconds
	DataCons       float64    // consumed megabytes
	StartedAt      *time.Time // nil: not started
	ExpDays        *uint      // days of 24 h after StartedAt and TimeSecs; nil: never expires; 0 not for type 1
	DownMbits      int        // megabits of 1,000,000 bits a second towards the client, 1 to 1,000,000
	UpMbits        int        // from the client, likewise
	UseGlobalSpeed bool       // the configured pair in place of its own
	CreatedAt      time.Time  // when it was sold
}

// ClientSession is a live handle of a session. Getters return live values
// with the handle's own unsaved edits; they read memory and do not wait. What
// Inc and Set say stays in the handle until Save; it is checked there. Pointers
// that are returned or given lead to copies. Methods may be called from many
// goroutines. A handle of a session that was deleted goes on returning what it
// read last.
type ClientSession interface {
	// Provider is who keeps the session; "local" is the gateway itself.
	Provider() string
	// Type is 0 for time, 1 for data, 2 for time_or_data.
	Type() uint8
	// TimeSecs is how many seconds were sold, for types 0 and 2.
	TimeSecs() uint
	// DataMb is how many megabytes of 1,000,000 bytes were sold, for types 1 and 2.
	DataMb() float64
	// TimeConsumption is how many seconds were consumed, rounded down.
	TimeConsumption() uint
	// DataConsumption is how many megabytes were consumed, exact to the byte:
	// layer-3 bytes of both directions.
	DataConsumption() float64
	// RemainingTime is how many seconds are left, never below zero; 0 for type data.
	RemainingTime() uint
	// RemainingData is how many megabytes are left, never below zero; 0 for type time.
	RemainingData() float64
	// StartedAt is when it was used first; nil: not started.
	StartedAt() *time.Time
	// CreatedAt is when it was sold.
	CreatedAt() time.Time
	// ExpDays is after how many days, counted from its start and TimeSecs,
	// what is left can no longer be used; nil: never.
	ExpDays() *uint
	// ExpiresAt is that moment: StartedAt + ExpDays × 24 h and, but for type 1,
	// TimeSecs; nil while it has not started, or when it does not expire.
	ExpiresAt() *time.Time
	// DownMbits is the speed towards the client in megabits of 1,000,000 bits a second.
	DownMbits() int
	// UpMbits is the speed from the client, likewise.
	UpMbits() int
	// UseGlobalSpeed says that the configured pair is used in place of its own.
	UseGlobalSpeed() bool
	// IncTimeCons adds seconds to what will be consumed when Save comes.
	IncTimeCons(sec uint)
	// IncDataCons adds megabytes likewise; what is below zero is ignored.
	IncDataCons(mbytes float64)
	// SetTimeSecs sets the seconds that were sold, in all.
	SetTimeSecs(uint)
	// SetDataMb sets the megabytes of 1,000,000 bytes that were sold, in all.
	SetDataMb(float64)
	// SetTimeCons sets the seconds consumed, and drops what IncTimeCons added.
	SetTimeCons(uint)
	// SetDataCons sets the megabytes consumed, and drops what IncDataCons added.
	SetDataCons(float64)
	// SetStartedAt sets the start; nil: not started.
	SetStartedAt(*time.Time)
	// SetExpDays sets the days until it expires; nil: never; 0 not for type 1.
	SetExpDays(*uint)
	// SetDownMbits sets the speed towards the client in megabits of 1,000,000
	// bits a second, at least 1.
	SetDownMbits(int)
	// SetUpMbits sets the speed from the client, likewise.
	SetUpMbits(int)
	// SetUseGlobalSpeed takes the configured pair of speeds, or its own.
	SetUseGlobalSpeed(bool)
	// Save writes what was set since the last Save or Reload, and nothing
	// else. When it returns nil that is on disk, and a running session has it
	// with the next packet. It is answered within 5 s: 3 s for all that it waits
	// for, of a provider's session also the source, where it is saved, merged with
	// what was counted, and 2 s until the packet path has it. After an error
	// the edits are kept, and Save may be called again; but one that says "it is
	// saved" has them done: the packet path (ErrForwarder) or, of a provider's
	// session, memory follows. ErrBadPlan, ErrUnknownSession, ErrForwarder,
	// ErrUnavailable, ErrStopped, ErrProvider, which says whether something may
	// have been changed there.
	Save(ctx context.Context) error
	// Reload drops what was set and not saved. A provider's session is read
	// anew from its source. It is answered within 5 s, as Save. ErrUnknownSession,
	// ErrUnavailable, ErrProvider, ErrStopped.
	Reload(ctx context.Context) error
}

// ClientDevice is a device as embedding programs know it. Getters read memory
// and do not wait. Methods may be called from many goroutines.
type ClientDevice interface {
	// Id is never given to another device; 0 is nobody's.
	Id() int64
	// Hostname is what it was named; empty when nobody did.
	Hostname() string
	// IpAddr is its IPv4 address, or the last it had, also over a restart; empty
	// when it had none, and when another device has it by now.
	IpAddr() string
	// MacAddr is its MAC as 02:00:00:00:00:0c.
	MacAddr() string
	// Update changes the device in place; a running session goes on. An empty
	// mac or ip leaves it. It is on disk when Update returns nil, within 5 s.
	// An address that another client answers for, to ARP within 1 s, is
	// ErrConflict, and so is a MAC that is a device in its own right.
	// ErrBadDevice, ErrNoDevice, ErrTableFull, ErrUnavailable, ErrStopped. After
	// an error MAC, address and hostname are all as before, unless it says "it
	// is saved" (ErrForwarder: the packet path did not take it in within 2 s).
	Update(ctx context.Context, mac, ip, hostname string) error
	// Emit hands an event to subscribers; data becomes JSON before it returns,
	// or, when it cannot, {"error":"…"}. It never waits.
	Emit(event string, data any)
	// Subscribe returns payloads, JSON, of an event of this device from now
	// on. It does not wait. A reader that is 64 behind loses what comes, and never
	// holds the gateway up; its next payload is then {"lost":N}. The channel is
	// the caller's until Unsubscribe; the gateway closes it, then or when it has
	// stopped. A payload may have other readers: it is not to be changed.
	Subscribe(event string) <-chan []byte
	// Unsubscribe closes the channel that Subscribe returned for the event, which
	// may still hold payloads. It does not wait. One that is closed already stays
	// so; any other is left alone.
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
	_, err := a.m.Create(ctx, devId, Plan{
		Type: Type(t), TimeSecs: timeSecs, DataMB: dataMbytes, ExpDays: expDays,
		DownMbits: downMbits, UpMbits: upMbits, UseGlobalSpeed: useGlobal,
	})
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
	s := d.follows(m.clock.read().Wall, nobody)
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
