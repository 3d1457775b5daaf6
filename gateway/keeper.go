package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/config"
	"gatewayd/gateway/ports"
)

// How long children get to end by themselves. The store, which ends last, has
// what the others left of allPatience, at least storePatience.
const (
	forwardPatience = 300 * time.Millisecond
	controlPatience = 1200 * time.Millisecond
	storePatience   = 200 * time.Millisecond
	allPatience     = 1800 * time.Millisecond
)

// keeper supervises.
type keeper struct {
	cfg      *config.Config   // as it was at the start
	path     string           // of its file; empty: it has none
	signals  <-chan os.Signal // each has the file read again; nil: none does
	voice    *voice           // of log
	log      *slog.Logger
	clock    clients.Clock
	table    *clients.Table
	memory   *os.File // the table's
	toBell   *clients.Bell
	fromBell *clients.Bell // the forwarder rings it
	listener *net.UnixListener
	scrapes  *net.TCPListener // for metrics; nil: not open
	inside   *control         // the embedding program's; nil: control is a process
	id       identity         // the children's
	program  *os.File         // holds a copy of this binary; nil: there is none

	lan, wan *ports.Port
	host     *ports.Host
	again    chan struct{} // the ports are to be opened again

	endStore, endControl, endMetrics, endConfig func() // each ends one and waits for it

	forward, control, store process
	watched                 pulse         // of who watches the ports
	changed                 chan struct{} // the verdict may have
	asked                   chan uint64   // a reload, by control
	remeasure               chan struct{} // metrics.listen has changed

	adopting sync.Mutex // one config at a time; before mu

	mu           sync.Mutex
	now          *config.Config  // in force; who begins anew begins with it
	file         api.ConfigState // of the config's
	ending       time.Time       // when the end began; zero: it has not
	states       map[string]ports.State
	advised      [2]int // MTUs, LAN's and WAN's, of which a person was told what they mean
	trouble      string // why the ports are not open
	unmeasured   string // why metrics are not served
	said         string // control's verdict; empty: it is away
	readyForward bool
	readyControl bool
	announced    chan struct{} // closed when both were ready first
}

// newKeeper makes what the processes share, and checks the ports.
func newKeeper(cfg *config.Config) (_ *keeper, err error) {
	k := &keeper{
		cfg: cfg, now: cfg, voice: newVoice(cfg.Log), clock: clients.NewClock(),
		asked: make(chan uint64, 4), remeasure: make(chan struct{}, 1), file: api.ConfigState{ReadAt: time.Now().UTC()},
		forward: process{word: wordForward, calm: forwardCalm, nice: forwardNice, slack: forwardSlack, pulse: make(pulse)},
		control: process{word: wordControl, calm: calm, pulse: make(pulse)},
		store:   process{word: wordStore, calm: calm, pulse: make(pulse)},
		watched: make(pulse), changed: make(chan struct{}, 1),
		again: make(chan struct{}, 1), states: map[string]ports.State{}, announced: make(chan struct{}),
	}
	k.log = k.voice.logger(os.Stderr, "keeper", nil)
	defer func() {
		if err != nil {
			k.release()
		}
	}()
	if err := k.identify(); err != nil {
		return nil, err
	}
	k.table, k.memory, err = clients.Create(tableShape(cfg))
	if err != nil {
		return nil, err
	}
	if k.toBell, err = clients.NewBell(); err != nil {
		return nil, err
	}
	if k.fromBell, err = clients.NewBell(); err != nil {
		return nil, err
	}
	if k.listener, err = listenAPI(cfg.API.Socket); err != nil {
		return nil, err
	}
	return k, k.check()
}

// tableShape is the table that a config asks for. Its seed is nobody's to know.
func tableShape(cfg *config.Config) clients.Shape {
	n := workersOf(cfg, runtime.NumCPU())
	return clients.Shape{
		Slots: clients.SlotsFor(cfg.Limits.Clients, n), Clients: cfg.Limits.Clients, Workers: n, Seed: rand.Uint64(),
		NATBytes: forwarder.TableBytes(natFlows(cfg), n), Captured: captureRing,
	}
}

// workersOf is how many workers forward on a machine with so many cores. A TAP has
// one queue, and so one worker.
func workersOf(cfg *config.Config, cores int) int {
	switch {
	case cfg.LAN.TAP != "" || cfg.WAN.TAP != "":
		return 1
	case cfg.Workers == 0:
		return min(max(cores, 1), clients.MaxWorkers)
	}
	return cfg.Workers
}

// identify settles as whom the children run.
func (k *keeper) identify() error {
	id, weak := childIdentity()
	if err := checkNeeds(id); err != nil {
		return err
	}
	path, hold, err := programFor(id)
	if err != nil {
		return err
	}
	k.id, k.program = id, hold
	for _, p := range []*process{&k.forward, &k.control, &k.store} {
		p.confined.id, p.confined.program, p.weak = id, path, weak
	}
	if weak != "" {
		k.log.Warn("children run without capabilities, but as the keeper's own user", "because", weak)
	}
	k.store.confined.loose = k.cfg.Kernel.Lacks(config.Landlock)
	switch {
	case k.store.confined.loose:
		k.log.Info("the store is not held to its directory: kernel.without has landlock")
	case landlockABI() < leastABI:
		k.log.Info("the store is not held to its directory: this kernel has no Landlock, or one before Linux 5.19 (CONFIG_SECURITY_LANDLOCK and lsm=landlock)")
	}
	return nil
}

// begin starts store and control: the API answers from now on.
func (k *keeper) begin() {
	serve := func(what func(context.Context)) func() {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { what(ctx); close(done) }()
		return func() { cancel(); <-done }
	}
	k.endStore = serve(func(ctx context.Context) { k.supervise(ctx, &k.store, k.prepareStore, k.beginStore, k.storePatience) })
	k.endMetrics = serve(k.keepMetrics)
	k.endConfig = serve(k.followConfig)
	k.endControl = serve(func(ctx context.Context) {
		if k.inside != nil {
			k.runInside(ctx)
			return
		}
		nothing := func(context.Context) error { return nil }
		k.supervise(ctx, &k.control, nothing, k.beginControl, func() time.Duration { return controlPatience })
	})
}

// run opens the ports and forwards until ctx ends, then ends all in order: the
// forwarder first, so that all counters are final, the store last.
func (k *keeper) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, k.ends)()
	err := k.openPorts()
	if err == nil {
		var running sync.WaitGroup
		running.Go(func() { k.watch(ctx) })
		running.Go(func() { k.keepForwarding(ctx) })
		running.Wait()
	}
	k.finish()
	return errors.Join(err, k.closePorts())
}

// finish ends what begin began, the store last.
func (k *keeper) finish() {
	k.endConfig()
	k.endMetrics()
	k.endControl()
	k.endStore()
}

// ends notes when the end began.
func (k *keeper) ends() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ending = time.Now()
}

// storePatience is how long the store gets now.
func (k *keeper) storePatience() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ending.IsZero() {
		return allPatience
	}
	return max(allPatience-time.Since(k.ending), storePatience)
}

// release gives back what newKeeper made.
func (k *keeper) release() {
	if k.listener != nil {
		k.listener.Close()
	}
	if k.scrapes != nil {
		k.scrapes.Close()
	}
	for _, b := range []*clients.Bell{k.toBell, k.fromBell} {
		if b != nil {
			b.Close()
		}
	}
	for _, f := range []*os.File{k.memory, k.program} {
		if f != nil {
			f.Close()
		}
	}
}

// beginStore gives a new store its order and control a connection to it.
func (k *keeper) beginStore() error {
	dir := k.store.confined.only
	defer dir.Close()
	if err := k.store.wire.send(message{Store: &storeOrder{Path: k.cfg.Store.Path, Boot: bootID(), Log: k.now.Log}}, dir); err != nil {
		return err
	}
	return k.join()
}

// beginControl gives a new control its order and a connection to the store.
func (k *keeper) beginControl() error {
	l, err := k.listener.File()
	if err != nil {
		return fmt.Errorf("hand over API listener: %w", err)
	}
	defer l.Close()
	if err := k.control.wire.send(message{Control: &controlOrder{Config: *k.now}},
		k.memory, k.toBell.File(), k.fromBell.File(), l); err != nil {
		return err
	}
	if err := k.handMetrics(); err != nil {
		return err
	}
	return k.join()
}

// join connects control and store anew. Called with mu held.
func (k *keeper) join() error {
	if k.store.wire == nil || k.control.wire == nil && k.inside == nil {
		return nil // the other one is started next and joins then
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("connect control and store: %w", err)
	}
	a, b := os.NewFile(uintptr(fds[0]), "store"), os.NewFile(uintptr(fds[1]), "control")
	defer a.Close()
	if err := k.store.wire.send(message{Connect: true}, a); err != nil {
		b.Close()
		return nil // it has just ended and joins when it is started again
	}
	if k.inside != nil {
		return k.inside.connect(b)
	}
	defer b.Close()
	_ = k.control.wire.send(message{Connect: true}, b)
	return nil
}

// runInside runs control in this process.
func (k *keeper) runInside(ctx context.Context) {
	err := k.inside.run(ctx, k.listener, func() { k.isReady(&k.control) }, func(string) {})
	if err != nil {
		k.log.Error("control ended", "error", err)
	}
}

// tell lets control know what the keeper sees.
func (k *keeper) tell() {
	defer k.stir()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := keeperState{PortsOpen: k.readyForward && k.trouble == "", Ports: map[string]api.Port{}, Ends: map[string][]time.Duration{}, Config: k.file}
	for _, why := range []string{k.trouble, k.unmeasured} {
		if why != "" {
			s.Degraded = append(s.Degraded, why)
		}
	}
	for i, word := range []string{clients.LAN: "lan", clients.WAN: "wan"} {
		side := sides(k.cfg)[i]
		st, seen := k.states[side.Name]
		s.Ports[word] = api.Port{Name: side.Name, MAC: st.MAC.String(), Up: st.Works(), MTU: st.MTU}
		s.Degraded = append(s.Degraded, degraded(st)...)
		s.PortsOpen = s.PortsOpen && (!seen || st.Present)
	}
	if k.host != nil && k.lan != nil {
		s.Ports["host"] = api.Port{Name: k.host.Name(), MAC: k.lan.MAC().String(), Up: true, MTU: ports.HostMTU(k.lan.MTU())}
	}
	s.Processes = []api.Process{{Name: "keeper", PID: os.Getpid()}}
	for _, p := range []*process{&k.forward, &k.control, &k.store} {
		if p == &k.control && k.inside != nil {
			continue
		}
		if p.failed != "" {
			s.Degraded = append(s.Degraded, p.word+" does not run: "+p.failed)
		}
		s.Ends[p.word] = slices.Clone(p.ends)
		for _, why := range []string{p.weak, p.open} {
			if why != "" {
				s.Degraded = append(s.Degraded, p.word+" may do more than it needs: "+why)
			}
		}
		s.Processes = append(s.Processes, api.Process{Name: p.word, PID: p.pid(), Restarts: max(p.starts-1, 0)})
	}
	switch {
	case k.inside != nil:
		k.inside.learn(s)
	case k.control.wire != nil:
		_ = k.control.wire.send(message{State: &s})
	}
}
