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
	begun  atomic.Bool        // Run or the end without it
	end    context.CancelFunc // has Run end
	ending context.Context    // ends with end
	over   chan struct{}      // closed when all is given back
	err    error              // of Run; valid after over
}

// New checks cfg and the ports, makes the shared memory and the API's socket,
// waiting up to 5 s for a former instance to end, and starts the store, for
// which it waits up to 3 s: one that is still being mended then has calls of the
// API refused with sessions.ErrUnavailable until it is. Run does the rest; a
// program that will not call it calls Close. cfg must not change afterwards. It
// needs root. The error is config.Errors for a config that is not right, else it
// names what is in the way and the command that mends it; nothing is left of the
// gateway then.
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
	<-k.inside.manager.Ready()
	g := &Gateway{keeper: k, over: make(chan struct{})}
	g.ending, g.end = context.WithCancel(context.Background())
	return g, nil
}

// API returns the gateway's API. It is usable at once, before Run too. Who is
// connected before Run counts as connected, and nothing of it passes and no time
// is billed until Run has the packet path go.
func (g *Gateway) API() API { return embedded{g} }

// Sessions returns what API's calls are thin wrappers over: lists, typed
// creation, changes to running sessions, events of all devices. It is usable
// when API is. Its Run and Wake are the gateway's own to call.
func (g *Gateway) Sessions() *sessions.Manager { return g.keeper.inside.manager }

// Run opens the ports and serves until ctx ends or Close is called; then every
// count is on disk, the ports are given back, and it returns nil within some
// seconds. An error says why the gateway could not start or go on; a child that
// dies is none, it is started again. After it, and after Close, calls of the API
// are refused with sessions.ErrStopped. It can be called once, and not after
// Close: ErrEnded. It installs no signal handler, and tells no service manager
// anything: NOTIFY_SOCKET is the program's own, which knows what else it serves.
func (g *Gateway) Run(ctx context.Context) error {
	if g.begun.Swap(true) {
		return fmt.Errorf("run gateway: %w", ErrEnded)
	}
	defer close(g.over)
	defer g.keeper.release()
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(g.ending, end)()
	g.err = g.keeper.run(ctx)
	return g.err
}

// ErrEnded is Run's error on a Gateway that Run or Close was called on before.
var ErrEnded = errors.New("this gateway ran before or was closed; make a new one")

// Close ends the gateway and gives back what New and Run took: when it returns,
// no child is left, and another gateway may use the same store and socket. It is
// for a program that gives up between New and Run, and may be deferred in any:
// a running gateway ends as by Run's ctx, which it waits for, and one that has
// ended stays so. It takes some seconds at most. It may be called from many
// goroutines, but not by one that Run waits for. The error is Run's; nil if Run
// was not called.
func (g *Gateway) Close() error {
	g.end()
	if !g.begun.Swap(true) {
		g.keeper.finish()
		g.keeper.release()
		close(g.over)
	}
	<-g.over
	return g.err
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
