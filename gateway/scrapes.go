package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/metrics"
)

// listenAgain is the pause before the address for scrapes is tried again.
const listenAgain = time.Second

// listenSoon is the first pause, while the address is one that control gives back.
const listenSoon = 20 * time.Millisecond

// keepMetrics has the listener for scrapes where the config says until ctx ends. While
// another program has the address the gateway serves all the same.
func (k *keeper) keepMetrics(ctx context.Context) {
	for pause := listenSoon; ; {
		k.mu.Lock()
		address := k.now.Metrics.Listen
		k.mu.Unlock()
		var again <-chan time.Time
		if address != "" && !k.openMetrics(ctx, address, pause >= listenAgain) {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
			pause = min(2*pause, listenAgain)
		case <-k.remeasure:
			k.closeMetrics()
			pause = listenSoon
		}
	}
}

// openMetrics opens the listener and hands it to control. If that cannot be, it is
// said once it has lasted.
func (k *keeper) openMetrics(ctx context.Context, address string, lasts bool) (open bool) {
	l, err := listenMetrics(ctx, address)
	if err != nil && (ctx.Err() != nil || !lasts) {
		return false
	}
	k.mu.Lock()
	if k.unmeasured = ""; err != nil {
		k.unmeasured = fmt.Sprintf("metrics are not served: %v; end what has the address, or set metrics.listen to another one", err)
	} else {
		k.scrapes = l
		_ = k.handMetrics() // a control that has just ended gets it when it is started again
	}
	k.mu.Unlock()
	k.tell()
	return err == nil
}

// closeMetrics closes the listener here and in control.
func (k *keeper) closeMetrics() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unmeasured = ""
	if k.scrapes == nil {
		return
	}
	k.scrapes.Close()
	k.scrapes = nil
	switch {
	case k.inside != nil:
		k.inside.scrapes <- nil
	case k.control.wire != nil:
		_ = k.control.wire.send(message{Metrics: true}) // one that has just ended has none
	}
}

// handMetrics gives control the listener for scrapes, if there are both; who
// comes later takes care of it. Called with mu held.
func (k *keeper) handMetrics() error {
	if k.scrapes == nil || k.control.wire == nil && k.inside == nil {
		return nil
	}
	if k.inside != nil {
		k.inside.scrapes <- k.scrapes
		return nil
	}
	f, err := k.scrapes.File()
	if err != nil {
		return fmt.Errorf("hand over the listener for metrics: %w", err)
	}
	defer f.Close()
	return k.control.wire.send(message{Metrics: true}, f)
}

// newMetrics says where the numbers come from.
func (c *control) newMetrics() *metrics.Metrics {
	opt := metrics.Options{
		Header: c.table.Header(), Reasons: forwarder.Reasons(), Version: Version(),
		Clients: c.cfg.Load().Limits.Clients, Flows: c.cfg.Load().Limits.NATFlows,
		State: func() metrics.State { return measured(c.status(context.Background())) },
	}
	if c.cfg.Load().Bridges() {
		opt.Looped = func() bool { return opt.Header.Looped(c.clock.Now()) }
	}
	return metrics.New(opt)
}

// measured is the part of the status that is a number.
func measured(s api.Status) metrics.State {
	now := metrics.State{
		Ready: s.Ready, Degraded: len(s.Degraded), Sessions: s.Sessions, Bound: s.Clients.Bound, Connected: s.Clients.Connected,
		PortUp: [clients.NumPorts]bool{clients.LAN: s.Ports.LAN.Up, clients.WAN: s.Ports.WAN.Up, clients.Host: s.Ports.Host.Up},
	}
	for _, p := range s.Processes {
		now.Processes = append(now.Processes, metrics.Process{Name: p.Name, Up: p.PID != 0, Restarts: p.Restarts})
	}
	return now
}

// takeScrapes takes over a listener from the keeper.
func (c *control) takeScrapes(f *os.File) {
	defer f.Close()
	if l, err := net.FileListener(f); err != nil {
		c.log.Error("take over the listener for metrics", "error", err)
	} else {
		c.scrapes <- l
	}
}

// serveScrapes answers scrapes on the newest listener, while there is one, until ctx
// ends.
func (c *control) serveScrapes(ctx context.Context) {
	var serving sync.WaitGroup
	defer serving.Wait()
	end := func() {}
	for {
		select {
		case <-ctx.Done():
			end()
			return
		case l := <-c.scrapes:
			end()
			if end = func() {}; l == nil {
				continue
			}
			server := c.metrics.NewServer(c.log)
			limited := metrics.Limit(l)
			end = func() { server.Close(); limited.Close() }
			serving.Go(func() {
				if err := server.Serve(limited); !errors.Is(err, http.ErrServerClosed) {
					c.log.Error("metrics are not served any more", "error", err)
				}
			})
		}
	}
}
