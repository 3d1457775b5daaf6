package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
	"gatewayd/gateway/config"
	"gatewayd/gateway/ports"
)

// openPorts takes both ports away from the kernel and makes the host link.
func (k *keeper) openPorts() error {
	opt := ports.Options{StateDir: k.stateDir(), Sockets: k.table.Workers(), Transmit: !k.cfg.Kernel.Lacks(config.TransmitRing),
		ClassicDrop: k.cfg.Kernel.Lacks(config.TCX), CutUDP: k.cfg.Kernel.Lacks(config.TapUDP), Promiscuous: k.cfg.Bridges()}
	for i, port := range []**ports.Port{clients.LAN: &k.lan, clients.WAN: &k.wan} {
		p, err := ports.Open(sides(k.cfg)[i], opt)
		for end := time.Now().Add(formerPatience); errors.Is(err, unix.EBUSY) && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond) // a killed instance holds its TAP until the last of its threads has ended
			p, err = ports.Open(sides(k.cfg)[i], opt)
		}
		if err != nil {
			return err
		}
		st := p.State()
		k.mu.Lock()
		*port = p
		k.states[p.Name()] = st
		k.mu.Unlock()
		k.table.Header().MTU[i].Store(uint64(st.MTU))
	}
	k.mu.Lock()
	own := k.now.WAN.Own() // a reload may have come before the port was there
	k.mu.Unlock()
	k.claim(own)
	return k.openHost()
}

// claim has the WAN port know which addresses there are gatewayd's own, from now on.
func (k *keeper) claim(own []netip.Addr) {
	k.mu.Lock()
	wan := k.wan
	k.mu.Unlock()
	if wan != nil {
		wan.Claim(own)
	}
}

// stateDir remembers what to put back on the ports after a kill -9. It stands
// beside the API's socket, which is this instance's own and does not survive a
// boot either.
func (k *keeper) stateDir() string { return k.cfg.API.Socket + ".ports" }

func (k *keeper) openHost() error {
	host, err := ports.OpenHost(ports.HostOptions{
		Name: config.HostLink, MAC: k.lan.MAC(), MTU: ports.HostMTU(k.lan.MTU()), Address: k.cfg.LAN.Address, DefaultRoute: k.cfg.Host.DefaultRoute,
		CutUDP: k.cfg.Kernel.Lacks(config.TapUDP), NextRouter: nextRouter(k.cfg),
	})
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.host = host
	k.mu.Unlock()
	return nil
}

// nextRouter is whom the box's kernel asks for by ARP; invalid where the forwarder is
// its router.
func nextRouter(cfg *config.Config) (a netip.Addr) {
	if cfg.Bridges() {
		a = cfg.WAN.Gateway
	}
	return a
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

// reopenPorts gives a new forwarder fresh sockets, and the host link what the
// LAN port now is. A port's conflicts are the watch's to find: they stop
// admission, and what is not taken the kernel forwards and answers for.
func (k *keeper) reopenPorts() error {
	for _, p := range []*ports.Port{k.lan, k.wan} {
		if err := p.Reopen(); err != nil {
			return err
		}
	}
	return k.followLAN()
}

// followLAN gives the host link what the LAN port now is, and makes it again if
// that cannot be.
func (k *keeper) followLAN() error {
	if k.host != nil {
		err := k.host.Follow(k.lan.MAC(), ports.HostMTU(k.lan.MTU()))
		if err == nil {
			return nil
		}
		k.log.Warn("the host link is made again", "error", err)
		old := k.host
		k.mu.Lock()
		k.host = nil
		k.mu.Unlock()
		if err := old.Close(); err != nil {
			return err
		}
	}
	return k.openHost()
}

// keepForwarding keeps a forwarder running on open ports until ctx ends.
func (k *keeper) keepForwarding(ctx context.Context) {
	p, alive := &k.forward, &k.table.Header().Alive
	for first := true; p.rest(ctx, k.again); first = false {
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
		k.attendForward(ctx, p, done)
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

// attendForward takes in what the forwarder says until it ends, ctx ends or a port
// is lost. What was asked for while ports were opened again is done. A host link that
// cannot follow the LAN port's MTU is made again with all ports.
func (k *keeper) attendForward(ctx context.Context, p *process, done <-chan struct{}) {
	for {
		k.attend(ctx, p, done, k.again)
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		default:
		}
		if k.lost() {
			return
		}
		if err := k.host.Follow(k.lan.MAC(), ports.HostMTU(k.lan.MTU())); err != nil {
			k.log.Warn("ports are opened again", "error", err)
			return
		}
	}
}

// lost says whether a port is to be opened again.
func (k *keeper) lost() bool { return k.lan.State().Lost || k.wan.State().Lost }

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
	c := forwardConfig(k.now)
	c.LANMAC, c.WANMAC = packet.MAC(k.lan.MAC()), packet.MAC(k.wan.MAC())
	order := &forwardOrder{Config: c, Workers: k.table.Workers(), Log: k.now.Log, Ringless: k.cfg.Kernel.Lacks(config.Ring),
		TAP: [...]bool{clients.LAN: k.lan.TAP(), clients.WAN: k.wan.TAP(), clients.Host: true}, Transmit: !k.cfg.Kernel.Lacks(config.TransmitRing)}
	files := slices.Concat([]*os.File{k.memory, k.toBell.File(), k.fromBell.File()}, k.lan.Files(), k.wan.Files(), []*os.File{k.host.File()},
		k.lan.Senders(), k.wan.Senders())
	return k.forward.wire.send(message{Forward: order}, files...)
}

// forwardConfig is what the forwarder needs to know of the config when it starts.
func forwardConfig(cfg *config.Config) forwarder.Config {
	return forwarder.Config{
		LAN: cfg.LAN.Address, Bridge: cfg.Bridges(),
		HostRoute: cfg.Host.DefaultRoute, NATFlows: natFlows(cfg), QueueMemory: int(cfg.Limits.QueueMemory),
		Single: cfg.Kernel.Lacks(config.Joining),
	}
}

// natFlows is how many translations there is room for. A bridge translates nothing.
func natFlows(cfg *config.Config) int {
	if cfg.Bridges() {
		return leastNATFlows
	}
	return cfg.Limits.NATFlows
}

// leastNATFlows is room enough for every worker to have some.
const leastNATFlows = 64 * clients.MaxWorkers

// watchAgain is how long nobody watches the ports when that has failed.
const watchAgain = time.Second

// watch follows the ports: what the kernel does beside us stops admission, one
// that is lost is opened again.
func (k *keeper) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := ports.Watch(ctx, []*ports.Port{k.lan, k.wan}, k.saw, k.watched.answer); err != nil {
			k.log.Error("ports are not watched: an address or forwarding that appears on them goes unnoticed", "error", err)
		}
		k.watched.answer()
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
}

// saw takes in a port's state.
func (k *keeper) saw(st ports.State) {
	k.mu.Lock()
	old := k.states[st.Name]
	k.states[st.Name] = st
	h := k.table.Header()
	stop, down, resized := uint64(0), uint64(0), false
	for i, side := range sides(k.cfg) {
		s := k.states[side.Name]
		if s.Present && h.MTU[i].Swap(uint64(s.MTU)) != uint64(s.MTU) {
			resized = true
		}
		if len(s.Conflicts) > 0 {
			stop = clients.StopPorts
		}
		if !s.Works() {
			down |= 1 << i
		}
	}
	h.Stop.Store(stop)
	if h.Down.Swap(down) != down || resized {
		k.toBell.Ring()
	}
	advice := k.adviseMTUs()
	k.mu.Unlock()
	for _, why := range advice {
		k.log.Warn(why)
	}
	if fmt.Sprint(old.Conflicts) != fmt.Sprint(st.Conflicts) {
		for _, c := range st.Conflicts {
			k.log.Error("admission is stopped", "port", st.Name, "conflict", c.What, "mend", c.Mend)
		}
	}
	if old.Present != st.Present || old.Works() != st.Works() {
		k.log.Info("port", "name", st.Name, "present", st.Present, "link", st.Works())
	}
	if resized {
		k.log.Info("port", "name", st.Name, "mtu", st.MTU)
	}
	if st.Lost || resized { // the host link follows the LAN's
		select {
		case k.again <- struct{}{}:
		default:
		}
	}
	k.tell()
}
