package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"

	"gatewayd/gateway/config"
	"gatewayd/sessions"
)

// API is what an embedding program holds. Its calls are usable from many
// goroutines, and as soon as New has returned.
type API interface {
	// SessionsMgr manages the sessions of client devices. It does not wait.
	SessionsMgr() sessions.SessionsMgrApi
	// Http finds out who is asking. It does not wait.
	Http() HttpApi
}

// HttpApi serves an embedding program's own HTTP handlers.
type HttpApi interface {
	// GetClientDevice returns the client that sent r to a server on the host
	// link, by its address: the device is made from the packet path's binding if
	// it is not known yet. It does not wait for the disk longer than 0.7 s. An
	// address that is not bound to a client is an error that wraps
	// sessions.ErrNoBinding; others are sessions.ErrUnavailable and
	// sessions.ErrStopped. With an error the device is nobody's, with id 0, and
	// never nil.
	GetClientDevice(r *http.Request) (sessions.ClientDevice, error)
}

// Gateway is a gateway inside a program: keeper and control run in it, the
// forwarder and the store are this program's binary run again (see Child).
type Gateway struct {
	keeper *keeper
	ran    atomic.Bool
}

// New checks cfg and the ports, makes the shared memory and the API's socket,
// waiting up to 5 s for a former instance to end, and starts the store. Run
// does the rest. cfg must not change afterwards. It needs root. The error is
// config.Errors for a config that is not right, else it names what is in the
// way and the command that mends it.
func New(cfg *config.Config) (*Gateway, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	k, err := newKeeper(cfg)
	if err != nil {
		return nil, err
	}
	k.inside = newControl(cfg, k.table, k.toBell, k.fromBell)
	k.begin()
	return &Gateway{keeper: k}, nil
}

// API returns the gateway's API. It is usable at once, before Run too; until
// then nobody is connected.
func (g *Gateway) API() API { return embedded{g} }

// Sessions returns what API's calls are thin wrappers over: lists, typed
// creation, changes to running sessions, events of all devices. It is usable
// when API is. Its Run and Wake are the gateway's own to call.
func (g *Gateway) Sessions() *sessions.Manager { return g.keeper.inside.manager }

// Run opens the ports and serves until ctx ends; then every count is on disk,
// the ports are given back, and it returns nil within some seconds. An error
// says why the gateway could not start or go on; a child that dies is none, it
// is started again. It can be called once. It installs no signal handler.
func (g *Gateway) Run(ctx context.Context) error {
	if g.ran.Swap(true) {
		return errors.New("run gateway: it ran before; make a new one")
	}
	defer g.keeper.release()
	return g.keeper.run(ctx)
}

// embedded is the API inside a program.
type embedded struct{ g *Gateway }

func (e embedded) SessionsMgr() sessions.SessionsMgrApi { return e.g.Sessions().API() }
func (e embedded) Http() HttpApi                        { return e }

func (e embedded) GetClientDevice(r *http.Request) (sessions.ClientDevice, error) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		nobody, _ := e.g.Sessions().DeviceAt(r.Context(), netip.Addr{})
		return nobody, fmt.Errorf("client device of a request from %q: %w", r.RemoteAddr, err)
	}
	return e.g.Sessions().DeviceAt(r.Context(), from.Addr().Unmap())
}
