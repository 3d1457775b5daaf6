package gateway_test

import (
	"context"
	"net/http"
	"time"

	"gatewayd/gateway"
	"gatewayd/gateway/config"
	"gatewayd/sessions"
)

// What follows is the documents' samples with what was cut filled in. That it
// compiles is what it tests: names, argument and result types.

// embed is a program around a gateway.
func embed(ctx context.Context) error {
	cfg, err := config.Load("gatewayd.yaml")
	if err != nil {
		return err
	}
	gw, err := gateway.New(cfg)
	if err != nil {
		return err
	}
	api := gw.API()
	api.SessionsMgr().RegisterSessionProvider(remote{})
	http.HandleFunc("/connect", connect(api))
	http.HandleFunc("/buy", buy(api))
	return gw.Run(ctx)
}

// remote is a provider as the documents describe it: sessions that a server
// keeps.
type remote struct{}

func (remote) GetSession(ctx context.Context, clnt sessions.ClientDevice) (s sessions.SessionSource, ok bool) {
	return &record{data: sessions.SessionData{Provider: "remote", TimeSecs: 60, DownMbits: 5, UpMbits: 3}}, true
}

func (remote) FetchSessions(ctx context.Context, clnt sessions.ClientDevice, page int, perPage int) (sessions.FetchSessionsResult, error) {
	return sessions.FetchSessionsResult{Sessions: []sessions.SessionSource{&record{}}, Pages: uint(1), Count: uint(1)}, nil
}

type record struct{ data sessions.SessionData }

func (r *record) Data() sessions.SessionData { return r.data }
func (r *record) Save(ctx context.Context, data sessions.SessionData) error {
	r.data = data
	return nil
}
func (r *record) Reload(ctx context.Context) (sessions.SessionData, error) { return r.data, nil }

func connect(api gateway.API) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var err error
		clnt, _ := api.Http().GetClientDevice(r)
		err = api.SessionsMgr().Connect(r.Context(), clnt, "You are now connected to internet.")
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		var isConnected bool
		isConnected, err = api.SessionsMgr().IsConnected(clnt)
		if isConnected && err == nil {
			err = api.SessionsMgr().Disconnect(r.Context(), clnt, "You are now disconnected to internet.")
		}
		var session sessions.ClientSession
		var ok bool
		session, ok = api.SessionsMgr().CurrSession(clnt)
		if !ok {
			session, err = api.SessionsMgr().GetSession(r.Context(), clnt)
		}
		if err == nil {
			session.IncTimeCons(1)
			session.IncDataCons(1.5)
			err = session.Save(r.Context())
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	}
}

// buy has the samples' numbers: constants without a type.
func buy(api gateway.API) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		const (
			secs        = 60    // 1 minute
			mb          = 100.0 // 100 MB
			sessionType = 0     // 0 = time, 1 = data, 2 = time_or_data
			downMbits   = 5     // 5 mbps
			uploadMbits = 3     // 3 mbps
		)
		expireDays := uint(30) // 30 days
		clnt, _ := api.Http().GetClientDevice(r)
		err := api.SessionsMgr().CreateSession(r.Context(), clnt.Id(), sessionType, secs, mb, &expireDays, downMbits, uploadMbits, false)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}
}

// The exact shapes of the contract.
var (
	_ func(*config.Config) (*gateway.Gateway, error)                                   = gateway.New
	_ func(*gateway.Gateway, context.Context) error                                    = (*gateway.Gateway).Run
	_ func(*gateway.Gateway) gateway.API                                               = (*gateway.Gateway).API
	_ func(*gateway.Gateway) *sessions.Manager                                         = (*gateway.Gateway).Sessions
	_ func(context.Context) error                                                      = embed
	_ func()                                                                           = gateway.Child
	_ func(gateway.HttpApi, *http.Request) (sessions.ClientDevice, error)              = gateway.HttpApi.GetClientDevice
	_ func(gateway.API) sessions.SessionsMgrApi                                        = gateway.API.SessionsMgr
	_ func(gateway.API) gateway.HttpApi                                                = gateway.API.Http
	_ func(sessions.SessionsMgrApi, sessions.ClientDevice) (connected bool, err error) = sessions.SessionsMgrApi.IsConnected

	_ interface {
		Connect(ctx context.Context, clnt sessions.ClientDevice, notify string) error
		Disconnect(ctx context.Context, clnt sessions.ClientDevice, notify string) error
		CreateSession(ctx context.Context, devId int64, t uint8, timeSecs uint, dataMbytes float64, expDays *uint,
			downMbits int, upMbits int, useGlobal bool) error
		CurrSession(clnt sessions.ClientDevice) (cs sessions.ClientSession, ok bool)
		GetSession(ctx context.Context, clnt sessions.ClientDevice) (sessions.ClientSession, error)
		RegisterSessionProvider(sessions.SessionProvider)
	} = sessions.SessionsMgrApi(nil)
	_ interface {
		Provider() string
		Type() uint8
		TimeSecs() uint
		DataMb() float64
		TimeConsumption() uint
		DataConsumption() float64
		RemainingTime() uint
		RemainingData() float64
		StartedAt() *time.Time
		CreatedAt() time.Time
		ExpDays() *uint
		ExpiresAt() *time.Time
		DownMbits() int
		UpMbits() int
		UseGlobalSpeed() bool
		IncTimeCons(sec uint)
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
		Save(ctx context.Context) error
		Reload(ctx context.Context) error
	} = sessions.ClientSession(nil)
	_ interface {
		Id() int64
		Hostname() string
		IpAddr() string
		MacAddr() string
		Update(ctx context.Context, mac, ip, hostname string) error
		Emit(event string, data any)
		Subscribe(event string) <-chan []byte
		Unsubscribe(event string, ch <-chan []byte)
	} = sessions.ClientDevice(nil)
	_ = sessions.SessionData{
		Provider: "", Type: uint8(0), TimeSecs: uint(0), DataMb: float64(0), TimeCons: uint(0), DataCons: float64(0), StartedAt: (*time.Time)(nil),
		ExpDays: (*uint)(nil), DownMbits: int(0), UpMbits: int(0), UseGlobalSpeed: false, CreatedAt: time.Time{},
	}
)
