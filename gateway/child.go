package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/store"
)

// lastWords is how long a store waits for control to end after their keeper is
// gone.
const lastWords = 3 * time.Second

// storeMemory is what the store's heap is collected for, bytes: small boxes
// have 512 MB.
const storeMemory = 64 << 20

// childEnv marks a process that a keeper started.
const childEnv = "GATEWAYD_CHILD"

// Child runs one of the gateway's own children and never returns, if this
// process was started as one; otherwise it does nothing. It must be the first
// line of main.
func Child() {
	if len(os.Args) != 2 || os.Getenv(childEnv) != os.Args[1] {
		return
	}
	c, known := map[string]child{
		wordForward: {runForward, forwardCalls},
		wordControl: {runControl, controlCalls},
		wordStore:   {runStore, storeCalls},
	}[os.Args[1]]
	if !known {
		return
	}
	if t, err := unix.GetsockoptInt(3, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || t != unix.SOCK_SEQPACKET {
		return
	}
	unix.CloseOnExec(3)
	nameProcess()
	// A service manager tells all of a service's processes to end at once, and the
	// kernel a stopped one whose parent is gone. A child that did would take its last
	// counts along. It ends with its keeper.
	signal.Ignore(unix.SIGTERM, unix.SIGABRT, unix.SIGHUP)
	err := checkBare()
	if err == nil {
		err = runChild(c)
	}
	if err != nil {
		if !errors.As(err, new(told)) {
			fmt.Fprintf(os.Stderr, "gatewayd %s: %v\n", os.Args[1], err)
		}
		os.Exit(1)
	}
	os.Exit(0)
}

// told is an error that the keeper heard, and logs as seldom as all else.
type told struct{ error }

// nameProcess names this process as ps shows it, which was started as
// /proc/self/exe. The name is the first thread's, on which main begins.
func nameProcess() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() == unix.Getpid() {
		_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(unsafe.StringData("gatewayd\x00"))), 0, 0, 0) // else its name is "exe"
	}
}

// child is what one of the children does, and the system calls it takes.
type child struct {
	run   func(w *wire, order message, files []*os.File, shut func() (open string)) error
	calls func() []call
}

func runChild(c child) error {
	w, err := openWire(os.NewFile(3, "wire"))
	if err != nil {
		return err
	}
	return serveWire(w, c.run, func() string { return shut(c.calls()) })
}

// serveWire waits for the keeper's order and follows it. shut is called when all
// that the child opens itself is open.
func serveWire(w *wire, run func(*wire, message, []*os.File, func() string) error, shut func() string) error {
	m, files, err := w.receive()
	if err != nil {
		return fmt.Errorf("wait for the keeper's order: %w", err)
	}
	if err = run(w, m, files, shut); err != nil {
		if w.send(message{Failed: err.Error()}) == nil { // else the keeper is gone
			return told{err}
		}
	}
	return err
}

// runForward is the forwarder's process.
func runForward(w *wire, m message, files []*os.File, shut func() string) error {
	if m.Forward == nil || len(files) != m.Forward.files() {
		return fmt.Errorf("order to forward: %d descriptors, and not a table, two bells, two ports for each worker, and the host link", len(files))
	}
	table, err := clients.Open(files[0])
	if err != nil {
		return err
	}
	bell, control := clients.OpenBell(files[1]), clients.OpenBell(files[2])
	links, err := openLinks(files[3:], m.Forward, table.Spread())
	if err != nil {
		return err
	}
	for worker, l := range links {
		warnOfPorts(logger(m.Forward.Log, wordForward), worker, l)
	}
	f, err := forwarder.New(m.Forward.Config, links, table, bell, control.Ring)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.send(message{Ready: true, Open: shut()}); err != nil {
		return err
	}
	go func() { // nothing else is said: the end of the wire is the end
		_, _, _ = w.receive()
		f.Stop()
	}()
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), len(links)+1)) // one is each worker's
	return f.Run()
}

// warnOfPorts says which ports of a worker cost more than they should.
func warnOfPorts(log *slog.Logger, worker int, links forwarder.Links) {
	for port, l := range links {
		p, ok := l.(*link.Packet)
		if !ok {
			continue
		}
		receive, send := p.Denied()
		for what, err := range map[string]error{"received from": receive, "sent to": send} {
			if err != nil {
				log.Warn("a port is "+what+" by system calls, which costs more", "port", []string{"lan", "wan", "host"}[port],
					"worker", worker, "because", err)
			}
		}
	}
}

// openLinks opens the links of all workers, at once: the kernel waits 10 ms for each
// ring. Every worker sends to the host link, one receives from it.
func openLinks(files []*os.File, order *forwardOrder, spread clients.Spread) ([]forwarder.Links, error) {
	links := make([]forwarder.Links, order.Workers)
	var group errgroup.Group
	for i := range links {
		for port, f := range []*os.File{clients.LAN: files[i], clients.WAN: files[order.Workers+i], clients.Host: files[2*order.Workers]} {
			group.Go(func() (err error) {
				links[i][port], err = openLink(f, sender(files, order, port, i), order.TAP[port], order.Ringless)
				if p, ok := links[i][port].(*link.Packet); ok && order.Config.Bridge {
					p.KeepPriority()
				}
				return err
			})
		}
	}
	err := group.Wait()
	for _, f := range files {
		f.Close()
	}
	if err != nil || len(links) == 1 {
		return links, err
	}
	outside := forwarder.FanOutWAN(order.Workers)
	if order.Config.Bridge {
		outside = forwarder.FanOutBridge(spread)
	}
	for port, program := range [][]bpf.Instruction{clients.LAN: forwarder.FanOutLAN(spread), clients.WAN: outside} {
		var sockets []*link.Packet
		for i := range links {
			if p, ok := links[i][port].(*link.Packet); ok {
				sockets = append(sockets, p)
			}
		}
		if err := link.FanOut(sockets, program); err != nil {
			return nil, fmt.Errorf("%s port: %w", []string{clients.LAN: "LAN", clients.WAN: "WAN"}[port], err)
		}
	}
	return links, nil
}

// sender is the descriptor for the transmit ring of a worker's port; nil when there is
// none. files are those behind the bells.
func sender(files []*os.File, order *forwardOrder, port, worker int) *os.File {
	at := 2*order.Workers + 1
	if port == clients.WAN {
		at += order.senders(clients.LAN)
	}
	if port == clients.Host || order.senders(port) == 0 {
		return nil
	}
	return files[at+worker]
}

func openLink(f, sender *os.File, tap, ringless bool) (link.Link, error) {
	own, err := takeOver(f)
	if err != nil {
		return nil, err
	}
	if tap {
		return link.NewTAP(own)
	}
	p, err := link.NewPacket(own, ringless)
	if err != nil || sender == nil {
		return p, err
	}
	if own, err = takeOver(sender); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if p.SendBy(own) != nil { // warnOfPorts says so
		unix.Close(own)
	}
	return p, nil
}

// takeOver makes a descriptor of its own of what the keeper sent.
func takeOver(f *os.File) (int, error) {
	fd, err := clients.FD(f)
	if err != nil {
		return 0, err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return 0, fmt.Errorf("take over port: %w", err)
	}
	return own, nil
}

// runStore is the store's process. It outlives a keeper that is gone for as
// long as control is still writing, at most a few seconds.
func runStore(w *wire, m message, files []*os.File, shut func() string) error {
	if m.Store == nil || len(files) != 1 {
		return fmt.Errorf("order to store: %d descriptors, want 1", len(files))
	}
	defer files[0].Close()
	dir, err := clients.FD(files[0])
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/proc/self/fd/%d", dir) // also where the way to it is not this user's
	voice := newVoice(m.Store.Log)
	log := voice.logger(os.Stderr, wordStore, func(text string) string { return strings.ReplaceAll(text, path, m.Store.Path) })
	debug.SetMemoryLimit(storeMemory)
	open := shut()
	ctx, cancel := context.WithCancel(context.Background())
	conns := make(chan net.Conn, 1) // the newest, which waits while the store is opened
	go func() {
		defer cancel()
		gone := make(chan struct{}) // closed when the latest connection is
		close(gone)
		for {
			m, files, err := w.receive()
			if err != nil {
				break
			}
			if m.Log != nil {
				voice.set(*m.Log)
			}
			if !m.Connect || len(files) != 1 {
				continue
			}
			c, err := net.FileConn(files[0])
			files[0].Close()
			if err != nil {
				continue
			}
			gone = make(chan struct{})
			select {
			case old := <-conns:
				old.Close()
			default:
			}
			conns <- &watched{Conn: c, closed: gone, read: func() { _ = w.send(message{Ready: true, Open: open}) }}
		}
		select {
		case unread := <-conns: // the store is not open
			unread.Close()
		default:
		}
		select {
		case <-gone:
		case <-time.After(lastWords):
		}
	}()
	return store.Serve(ctx, path, conns, store.Option{Name: m.Store.Path, Boot: m.Store.Boot, Log: log})
}

// watched is a connection that says when it is read first, which is when the
// store is open, and when it was closed.
type watched struct {
	net.Conn
	closed     chan struct{}
	read       func()
	first, end sync.Once
}

func (w *watched) Read(b []byte) (int, error) {
	w.first.Do(w.read)
	return w.Conn.Read(b)
}

func (w *watched) Close() error {
	w.end.Do(func() { close(w.closed) })
	return w.Conn.Close()
}
