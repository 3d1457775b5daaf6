package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
	"gatewayd/gateway/config"
	"gatewayd/gateway/ports"
)

// hostLink is the name of the box's own way to the clients.
const hostLink = "gw-host"

// openPorts takes both ports away from the kernel and makes the host link.
func (k *keeper) openPorts() error {
	opt := ports.Options{StateDir: k.stateDir()}
	for _, side := range []struct {
		name string
		port **ports.Port
	}{{k.cfg.LAN.Interface, &k.lan}, {k.cfg.WAN.Interface, &k.wan}} {
		p, err := ports.Open(side.name, opt)
		if err != nil {
			return err
		}
		k.mu.Lock()
		*side.port = p
		k.states[side.name] = ports.Inspect(side.name)
		k.mu.Unlock()
	}
	return k.openHost()
}

// stateDir remembers what to put back on the ports after a kill -9. It stands
// beside the API's socket, which is this instance's own and does not survive a
// boot either.
func (k *keeper) stateDir() string { return k.cfg.API.Socket + ".ports" }

func (k *keeper) openHost() error {
	host, err := ports.OpenHost(ports.HostOptions{
		Name: hostLink, MAC: k.lan.MAC(), MTU: k.lan.MTU(), Address: k.cfg.LAN.Address, DefaultRoute: k.cfg.Host.DefaultRoute,
	})
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.host = host
	k.mu.Unlock()
	return nil
}

// closePorts puts back what openPorts changed.
func (k *keeper) closePorts() error {
	var all []error
	if k.host != nil {
		all = append(all, k.host.Close())
	}
	for _, p := range []*ports.Port{k.wan, k.lan} {
		if p != nil {
			all = append(all, p.Close())
		}
	}
	_ = os.Remove(k.stateDir()) // stays if something is still to be put back
	return errors.Join(all...)
}

// reopenPorts gives a new forwarder fresh sockets, and a host link that fits
// the LAN port as it now is.
func (k *keeper) reopenPorts() error {
	mac, mtu := k.lan.MAC().String(), k.lan.MTU()
	for _, p := range []*ports.Port{k.lan, k.wan} {
		if err := checkPort(p.Name()); err != nil {
			return err
		}
		if err := p.Reopen(); err != nil {
			return err
		}
	}
	if k.host != nil && k.lan.MAC().String() == mac && k.lan.MTU() == mtu {
		return nil
	}
	if k.host != nil {
		err := k.host.Close()
		k.mu.Lock()
		k.host = nil
		k.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return k.openHost()
}

// keepForwarding keeps a forwarder running on open ports until ctx ends.
func (k *keeper) keepForwarding(ctx context.Context) {
	p, alive := &k.forward, &k.table.Header().Alive
	for first := true; p.rest(ctx); first = false {
		if !first {
			if err := k.reopenPorts(); err != nil {
				k.troubled(fmt.Sprintf("no packet passes: %v", err))
				continue
			}
		}
		k.troubled("")
		alive.Store(uint64(p.starts + 1))
		if !k.launch(p, k.beginForward) {
			alive.Store(0)
			continue
		}
		done := make(chan struct{})
		var end error
		go func() { end = p.wait(); alive.Store(0); close(done) }()
		k.attend(ctx, p, done, k.again)
		select {
		case <-done:
			k.ended(p, end)
		default:
			p.stop(done, forwardPatience)
			if ctx.Err() != nil {
				return
			}
			<-done
			p.pause = 0
		}
	}
}

// troubled notes why no packet passes, and says it once.
func (k *keeper) troubled(why string) {
	k.mu.Lock()
	changed := k.trouble != why
	k.trouble = why
	k.mu.Unlock()
	if changed {
		if why != "" {
			k.log.Error(why)
		}
		k.tell()
	}
}

// beginForward gives a new forwarder its order. Called with mu held.
func (k *keeper) beginForward() error {
	order := &forwardOrder{Config: forwardConfig(k.cfg, k.lan, k.wan), Log: k.cfg.Log}
	files := []*os.File{k.memory, k.toBell.File(), k.fromBell.File(), k.lan.File(), k.wan.File(), k.host.File()}
	return k.forward.wire.send(message{Forward: order}, files...)
}

// forwardConfig is what the forwarder needs to know of the config.
func forwardConfig(cfg *config.Config, lan, wan *ports.Port) forwarder.Config {
	c := forwarder.Config{
		LAN: cfg.LAN.Address, WAN: cfg.WAN.Address, Gateway: cfg.WAN.Gateway,
		LANMAC: packet.MAC(lan.MAC()), WANMAC: packet.MAC(wan.MAC()), LANMTU: lan.MTU(), WANMTU: wan.MTU(),
		HostAll: cfg.Host.Ports.All, HostRoute: cfg.Host.DefaultRoute,
		NATFlows: cfg.Limits.NATFlows, ClientFlows: cfg.Limits.FlowsPerClient, ClientPorts: cfg.Limits.PortsPerClient,
	}
	for _, p := range cfg.Host.Ports.List {
		proto := uint8(packet.TCP)
		if p.Protocol == "udp" {
			proto = packet.UDP
		}
		c.HostPorts = append(c.HostPorts, forwarder.HostPort{Proto: proto, First: p.First, Last: p.Last})
	}
	return c
}

// watch follows the ports: what the kernel does beside us stops admission, a
// new interface of the same name is taken.
func (k *keeper) watch(ctx context.Context) {
	names := []string{k.cfg.LAN.Interface, k.cfg.WAN.Interface}
	if err := ports.Watch(ctx, names, k.saw); err != nil {
		k.log.Error("ports are not watched: an address or forwarding that appears on them goes unnoticed", "error", err)
	}
}

// saw takes in a port's state.
func (k *keeper) saw(st ports.State) {
	k.mu.Lock()
	old := k.states[st.Name]
	k.states[st.Name] = st
	stop := uint64(0)
	for _, s := range k.states {
		if len(s.Conflicts) > 0 {
			stop = clients.StopPorts
		}
	}
	k.table.Header().Stop.Store(stop)
	moved := st.Present && old.Present && (st.Index != old.Index || st.MTU != old.MTU || st.MAC.String() != old.MAC.String())
	back := st.Present && !old.Present
	k.mu.Unlock()
	for _, c := range st.Conflicts {
		k.log.Error("admission is stopped", "port", st.Name, "conflict", c.What, "mend", c.Mend)
	}
	if moved || back {
		select {
		case k.again <- struct{}{}:
		default:
		}
	}
	k.tell()
}
