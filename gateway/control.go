package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/capture"
	"gatewayd/gateway/config"
	"gatewayd/gateway/metrics"
	"gatewayd/limiter"
	"gatewayd/sessions"
	"gatewayd/store/client"
)

// control decides: the sessions and who may ask about them. It is a process of
// its own, or a part of the program that embeds the gateway.
type control struct {
	cfg      atomic.Pointer[config.Config] // in force
	voice    *voice                        // of log
	log      *slog.Logger
	table    *clients.Table
	forward  *clients.Bell // rings the forwarder
	bell     *clients.Bell // rung by the forwarder
	store    *client.Client
	manager  *sessions.Manager
	clock    clients.Clock
	started  time.Time
	metrics  *metrics.Metrics
	losses   *losses
	scrapes  chan net.Listener // for metrics, the newest counts; nil: none
	reloads  chan reloading    // what the keeper says came of a reload
	asking   asking
	captures *capture.Captures
	leasing  leasing

	mu    sync.Mutex
	state keeperState
}

func newControl(cfg *config.Config, table *clients.Table, forward, bell *clients.Bell) *control {
	c := &control{
		voice: newVoice(cfg.Log), table: table, forward: forward, bell: bell,
		store: client.New(), clock: clients.NewClock(), started: time.Now(), scrapes: make(chan net.Listener, 4),
		reloads: make(chan reloading, 16), asking: newAsking(),
	}
	c.cfg.Store(cfg)
	c.log = c.voice.logger(os.Stderr, wordControl, nil)
	c.leasing = newLeasing(cfg)
	c.instruct(cfg)
	c.metrics = c.newMetrics()
	c.losses = newLosses(table.Header().Counters())
	opt := sessionOptions(cfg)
	opt.Table, opt.Store, opt.RingForwarder = table, c.store, forward.Ring
	opt.Now, opt.Boot = time.Now, c.clock.Now
	opt.Bridge = cfg.Bridges()
	opt.LAN, opt.Gateway, opt.Log = cfg.LAN.Address.Masked(), cfg.LAN.Address.Addr(), c.log
	opt.RateReasons, opt.Checkpointed = rateReasons(), c.metrics.Checkpoint
	c.manager = sessions.New(opt)
	c.captures = c.newCaptures()
	return c
}

// sessionOptions is what of the config sessions are run by, and may change meanwhile.
func sessionOptions(cfg *config.Config) sessions.Options {
	silence := cfg.Sessions.PauseOnSilentGateway
	if cfg.Bridges() && !cfg.WAN.Gateway.IsValid() { // nobody is listened for
		silence = 0
	}
	return sessions.Options{
		GlobalDown: limiter.Rate(cfg.Bandwidth.Global.Down.BytesPerSecond()), GlobalUp: limiter.Rate(cfg.Bandwidth.Global.Up.BytesPerSecond()),
		ResumeOnRestart: cfg.Sessions.ResumeOnRestart, Checkpoint: cfg.Store.Checkpoint,
		LedgerKeep: cfg.Sessions.LedgerKeep, IdlePause: cfg.Sessions.IdlePause,
		PauseOnCarrierLoss: cfg.Sessions.PauseOnCarrierLoss, PauseOnSilence: silence,
	}
}

// run serves until ctx ends, then waits for the forwarder to end, so that the
// last checkpoint has its last counts. It calls ready once it serves, and verdict
// with each new state of the gateway.
func (c *control) run(ctx context.Context, listener net.Listener, ready func(), verdict func(string)) error {
	group, ctx := errgroup.WithContext(ctx)
	decide, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	server := api.NewServer(api.New(c.manager, c.status, c.why, c.healthNow, c.reload, c.capture), c.log)

	group.Go(func() error { return c.manager.Run(decide) })
	group.Go(func() error { // the forwarder's word
		for {
			if err := c.bell.Wait(); err != nil {
				if errors.Is(err, os.ErrClosed) {
					return nil
				}
				return err
			}
			c.manager.Wake()
			c.leasing.stir()
		}
	})
	group.Go(func() error {
		select {
		case <-c.manager.Ready():
			ready()
			c.judge(ctx, verdict)
		case <-ctx.Done():
		}
		return nil
	})
	group.Go(func() error {
		if err := server.Serve(api.Limit(listener)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve API: %w", err)
		}
		return nil
	})
	group.Go(func() error { c.serveScrapes(ctx); return nil })
	group.Go(func() error { c.followConfig(ctx); return nil })
	group.Go(func() error { c.keepLease(ctx); return nil })
	group.Go(func() error { c.losses.look(ctx, c.table.Header()); return nil })
	group.Go(func() error {
		<-ctx.Done()
		late, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		if err := server.Shutdown(late); err != nil {
			server.Close()
		}
		c.awaitForwarder()
		end()
		c.bell.Close()
		return nil
	})
	err := group.Wait()
	c.store.Close() // the store ends when nobody calls it any more
	return err
}

// awaitForwarder waits until the forwarder has stored its last counters; not
// for long, it may be dead.
func (c *control) awaitForwarder() {
	h := c.table.Header()
	for range 300 {
		if h.Final() || h.Alive.Load() == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// learn takes over what the keeper sees.
func (c *control) learn(s keeperState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	c.leasing.stir()
}

// told is what the keeper saw last.
func (c *control) told() keeperState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// runControl is control's process.
func runControl(w *wire, m message, files []*os.File, shut func() string) error {
	if m.Control == nil || len(files) != 4 {
		return fmt.Errorf("order to control: %d descriptors, want 4", len(files))
	}
	table, err := clients.Open(files[0])
	if err != nil {
		return err
	}
	listener, err := net.FileListener(files[3])
	if err != nil {
		return fmt.Errorf("take over API listener: %w", err)
	}
	files[3].Close()
	if u, ok := listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the keeper's
	}
	c := newControl(&m.Control.Config, table, clients.OpenBell(files[1]), clients.OpenBell(files[2]))
	c.asking.keeper = func(ask uint64) error { return w.send(message{Reload: ask}) }
	open := shut()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for {
			m, files, err := w.receive()
			switch {
			case err != nil:
				return
			case m.State != nil:
				c.learn(*m.State)
			case m.Reloaded != nil:
				c.reloads <- *m.Reloaded
			case m.Metrics && len(files) == 1:
				c.takeScrapes(files[0])
			case m.Metrics:
				c.scrapes <- nil
			case m.Connect && len(files) == 1:
				if err := c.connect(files[0]); err != nil {
					c.log.Error("connect to the store", "error", err)
				}
			}
		}
	}()
	return c.run(ctx, listener, func() { _ = w.send(message{Ready: true, Open: open}) },
		func(v string) { _ = w.send(message{Verdict: v}) })
}

// connect takes over a new connection to the store.
func (c *control) connect(f *os.File) error {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return err
	}
	c.store.Attach(conn)
	return nil
}
