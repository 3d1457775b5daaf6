package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/net/netutil"

	"gatewayd/sessions"
)

// Base is where every path begins; a change that breaks a program gets another.
const Base = "/api/v1"

// CallTime bounds what one call may take in the Core. One that takes longer is
// answered 503, and whether its change was made is then open.
const CallTime = 10 * time.Second

const (
	maxBody   = 64 << 10 // bytes of a request's body
	maxHeader = 16 << 10 // bytes of a request's header
)

// Core is what the API needs of the sessions room; *sessions.Manager is one.
// Every error is one of that package's sentinels, wrapped with what was done to
// what, or the context's.
type Core interface {
	Device(ctx context.Context, key string) (sessions.Device, error)
	Devices(ctx context.Context, cursor string, limit int) ([]sessions.Device, string, error)
	AddDevice(ctx context.Context, mac, ip, hostname string) (d sessions.Device, created bool, err error)
	ConnectDevice(ctx context.Context, id int64, notify string) (sessions.Device, error)
	DisconnectDevice(ctx context.Context, id int64, notify string) (sessions.Device, error)
	PauseDevice(ctx context.Context, id int64, notify string) (sessions.Device, error)
	ResumeDevice(ctx context.Context, id int64, notify string) (sessions.Device, error)

	Create(ctx context.Context, deviceID int64, p sessions.Plan) (sessions.Session, error)
	CreateBatch(ctx context.Context, deviceID int64, plans []sessions.Plan) ([]sessions.Session, error)
	Summary(ctx context.Context, deviceID int64) (sessions.Summary, error)
	Current(ctx context.Context, deviceID int64) (*sessions.Session, error)
	Sessions(ctx context.Context, f sessions.Filter, cursor string, limit int) ([]sessions.Session, string, error)
	Session(ctx context.Context, id int64) (sessions.Session, error)
	Update(ctx context.Context, id int64, c sessions.Change) (sessions.Session, error)
	Delete(ctx context.Context, id int64) error
	Ledger(ctx context.Context, id int64, cursor string, limit int) ([]sessions.LedgerLine, string, error)

	Traffic(ctx context.Context, by sessions.TrafficOrder, limit int) (sessions.Traffic, error)

	Events(after uint64, f sessions.EventFilter) *sessions.EventReader

	Backup(ctx context.Context, w io.Writer) error
	Restore(ctx context.Context, r io.Reader) error
}

// New returns the handler of everything under Base. status is asked once a
// GET /status, and its lists and maps may be nil; why once a GET /devices/{D}/why,
// with D and the errors of Core; health, the status's ready and degraded, once a
// GET /top; reload once a POST /reload, with ErrBadConfig and ErrNoConfig; capture once
// a GET /devices/{D}/capture, with D and the bytes of a frame, and with ErrCaptures,
// ErrAway and the errors of Core.
func New(core Core, status func(context.Context) Status, why func(ctx context.Context, key string) (Why, error),
	health func() (ready bool, degraded []string), reload func(context.Context) (Reloaded, error),
	capture func(ctx context.Context, key string, most int) (Capture, error)) http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, settings())
	api.UseMiddleware(withDeadline, askedOnce(api))

	registerStatus(api, status)
	registerDevices(api, core)
	registerSessions(api, core)
	registerLedger(api, core)
	registerWhy(api, why)
	registerTop(api, core, health)
	registerEvents(mux, api, core)
	registerBackup(mux, api, core)
	registerReload(api, reload)
	registerCapture(mux, api, capture)

	document := describe(api.OpenAPI())
	mux.HandleFunc("GET "+Base+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(document)
	})
	return knownPaths(mux)
}

// NewServer returns a server for h whose time-outs fit the API's calls: a slow
// or silent client holds a connection for seconds, not for ever. Between calls
// ReadTimeout holds too.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return tellEnd(&http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      CallTime + 10*time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	})
}

// MaxConns is how many connections are served at once, some 20 KB each; who comes
// then waits until one ends.
const MaxConns = 512

// Limit bounds how many connections a listener has at once.
func Limit(l net.Listener) net.Listener { return netutil.LimitListener(l, MaxConns) }

// settings are huma's with JSON only, answers without a $schema member, and no
// pages of its own: the document is served by New.
func settings() huma.Config {
	config := huma.DefaultConfig("gatewayd", "1")
	config.Info.Description = "Devices, their prepaid sessions, and the gateway's state. " +
		"A megabyte is 1,000,000 bytes, a megabit 1,000,000 bits."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	config.Formats = map[string]huma.Format{"application/json": strictJSON, "json": strictJSON}
	config.Transformers = []huma.Transformer{explainInvalid}
	return config
}

func withDeadline(ctx huma.Context, next func(huma.Context)) {
	bounded, cancel := context.WithTimeout(ctx.Context(), CallTime)
	defer cancel()
	next(huma.WithContext(ctx, bounded))
}

// operation fills in what all operations share; id is the name in the document.
func operation(id, method, path, summary string, refusals ...int) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: Base + path, Summary: summary,
		MaxBodyBytes: maxBody, Errors: append(refusals, http.StatusServiceUnavailable),
	}
}

// describe returns the OpenAPI document, with what Go's types cannot say: which
// words a type or a state may be, that adding has two good ends, and that there
// may be no session.
func describe(document *huma.OpenAPI) []byte {
	schemas := document.Components.Schemas.Map()
	schemas["Session"].Properties["type"].Enum = words(typeWords)
	schemas["Session"].Properties["state"].Enum = words(stateWords)
	schemas["LedgerLine"].Properties["kind"].Enum = words(lineWords)
	schemas["LedgerLine"].Properties["changed"].Nullable = false
	add := document.Paths[Base+"/devices"].Post.Responses
	add["201"] = &huma.Response{Description: http.StatusText(http.StatusCreated), Content: add["200"].Content}
	none := func(ref *huma.Schema) *huma.Schema { return &huma.Schema{AnyOf: []*huma.Schema{ref, {Type: "null"}}} }
	schemas["Device"].Properties["session"] = none(schemas["Device"].Properties["session"])
	schemas["Why"].Properties["device"] = none(schemas["Why"].Properties["device"])
	current := document.Paths[Base+"/devices/{D}/session"].Get.Responses["200"].Content["application/json"]
	current.Schema = none(current.Schema)

	text, err := json.Marshal(document)
	if err != nil {
		panic("api: its own OpenAPI document: " + err.Error())
	}
	return text
}
