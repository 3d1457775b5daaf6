package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/metrics"
)

// listenAgain is the pause before the address for scrapes is tried again.
const listenAgain = time.Second

// openMetrics opens the listener for scrapes and hands it to control. While
// another program has the address the gateway serves all the same.
func (k *keeper) openMetrics(ctx context.Context) {
	address := k.cfg.Metrics.Listen
	if address == "" {
		return
	}
	for ctx.Err() == nil {
		l, err := listenMetrics(ctx, address)
		if ctx.Err() != nil && err != nil {
			return
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
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
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
	return metrics.New(metrics.Options{
		Header: c.table.Header(), Reasons: forwarder.Reasons(), Version: Version(),
		Clients: c.cfg.Limits.Clients, Flows: c.cfg.Limits.NATFlows,
		State: func() metrics.State { return measured(c.status(context.Background())) },
	})
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

// serveScrapes answers scrapes, once there is a listener, until ctx ends.
func (c *control) serveScrapes(ctx context.Context) {
	var l net.Listener
	select {
	case <-ctx.Done():
		return
	case l = <-c.scrapes:
	}
	server := c.metrics.NewServer(c.log)
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(metrics.Limit(l)); ctx.Err() == nil {
		c.log.Error("metrics are not served any more", "error", err)
	}
}
