//go:build netns

// These tests drive the real binary, which the environment names in
// GATEWAYD_BINARY, as its users and its enemies would. Each needs root and
// makes a network of its own, in namespaces that have no name and vanish with
// the descriptors that hold them, however the test ends:
//
//	client                    gateway                    server
//	eth0 ──────────────────── eth1      eth0 ─────────── eth0
//	10.10.0.2/16                                         203.0.113.1/24
//	02:00:00:00:00:0c         gatewayd run:              lo 198.51.100.1/32
//	default via 10.10.0.1     10.10.0.1  203.0.113.2     (one hop on)
//
// The server knows no way to 10.10.0.0/16: what answers the client went through
// the gateway's translation. A far end is the client's or the server's eth0.
package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const (
	clientMAC = "02:00:00:00:00:0c"
	clientIP  = "10.10.0.2"
	lanIP     = "10.10.0.1"
	wanIP     = "203.0.113.2"
	routerIP  = "203.0.113.1"  // the server, on the WAN itself
	serverIP  = "198.51.100.1" // the server, one hop on
)

// inside says that this machine is a program on another one, TestOnLinux61's.
var inside = os.Getenv("GATEWAYD_INSIDE") != ""

// soon is how long what should happen at once may take on a loaded machine; inside
// another one ten times as long.
var soon = map[bool]time.Duration{false: 15 * time.Second, true: 150 * time.Second}[inside]

// errNotYet is the answer of who cannot say more.
var errNotYet = errors.New("not yet")

// lab is a network with a gateway in the middle.
type lab struct {
	t                       *testing.T
	dir                     string // of config, store, socket and logs
	config                  map[string]string
	program                 string   // gatewayd's; empty: the one under test
	card                    string   // image of the file system that the store is on; empty: none of its own
	within                  []string // the words that gatewayd's command line begins with
	newest                  *daemon
	client, gateway, server *namespace
	atClient, atServer      *counter // what arrives at the far ends
	iperf3                  *program // the server's; nil: none
	router                  string   // the clients' default route
	ipv4Only                bool     // clients speak nothing else
}

// newLab makes the network, without a gateway yet. config replaces lines of
// the gateway's config, by key.
func newLab(t *testing.T, config ...string) *lab {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw-") // short: a socket's path has at most 107 bytes
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{t: t, dir: dir, router: lanIP, config: map[string]string{
		"lan":       "{interface: eth1, address: " + lanIP + "/16}",
		"wan":       "{interface: eth0, address: " + wanIP + "/24, gateway: " + routerIP + "}",
		"bandwidth": "{global: {down: 100 Gbit, up: 100 Gbit}}",
		"store":     "{path: " + dir + "/store}",
		"api":       "{socket: " + dir + "/gatewayd.sock}",
		"log":       "{level: debug}",
	}}
	for _, line := range config {
		key, value, _ := strings.Cut(line, ": ")
		l.config[key] = value
	}
	l.client, l.gateway, l.server = newNamespace(t), newNamespace(t), newNamespace(t)
	t.Cleanup(l.sweep)
	l.gateway.cable("eth1", l.client)
	l.gateway.cable("eth0", l.server)
	l.gateway.run("ip", "link", "set", "eth1", "up")
	l.gateway.run("ip", "link", "set", "eth0", "up")
	l.joinsDatagrams(false)
	l.client.run("ip", "link", "set", "eth0", "address", clientMAC, "up")
	l.client.run("ip", "addr", "add", clientIP+"/16", "dev", "eth0")
	l.client.run("ip", "route", "add", "default", "via", l.router)
	l.server.run("ip", "link", "set", "eth0", "up")
	l.server.run("ip", "addr", "add", routerIP+"/24", "dev", "eth0")
	l.server.run("ip", "addr", "add", serverIP+"/32", "dev", "lo")
	l.atClient, l.atServer = newCounter(l.client), newCounter(l.server)
	return l
}

// neighbour makes another client on the same cable, in a namespace of its own.
func (l *lab) neighbour(mac, ip string) *namespace {
	l.t.Helper()
	address, err := net.ParseMAC(mac)
	check(l.t, err)
	n := l.client.beside(address)
	if l.ipv4Only {
		n.setting("ipv6/conf/all/disable_ipv6", "1")
	}
	n.run("ip", "link", "set", "eth0", "up")
	n.run("ip", "addr", "add", ip+"/16", "dev", "eth0")
	n.run("ip", "route", "add", "default", "via", l.router)
	return n
}

// beside makes another station on the cable of eth0, in a namespace of its own; without
// a MAC it has any.
func (n *namespace) beside(mac net.HardwareAddr) *namespace {
	n.t.Helper()
	other := newNamespace(n.t)
	check(n.t, n.do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkAdd(&netlink.Macvlan{Mode: netlink.MACVLAN_MODE_BRIDGE, LinkAttrs: netlink.LinkAttrs{
			Name: "eth0", ParentIndex: eth0.Attrs().Index, HardwareAddr: mac, Namespace: netlink.NsFd(int(other.handle)), TxQLen: 1000}})
	}))
	return other
}

// offloads switches all that the four interfaces do for their kernels.
func (l *lab) offloads(on bool) {
	l.t.Helper()
	l.client.offload("eth0", on)
	l.gateway.offload("eth0", on)
	l.gateway.offload("eth1", on)
	l.server.offload("eth0", on)
}

// joinsDatagrams says whether the ports put datagrams on the cable joined as they leave
// the gateway, as a veth does by itself, or cut, as most network cards do. Who receives
// frames, and no datagrams, finds one in a joined frame.
func (l *lab) joinsDatagrams(on bool) {
	l.t.Helper()
	word := map[bool]string{true: "on", false: "off"}[on]
	l.gateway.run("ethtool", "-K", "eth0", "tx-udp-segmentation", word)
	l.gateway.run("ethtool", "-K", "eth1", "tx-udp-segmentation", word)
}

// offload switches all that an interface does for the kernel.
func (n *namespace) offload(port string, on bool) {
	n.t.Helper()
	word := map[bool]string{true: "on", false: "off"}[on]
	n.run("ethtool", "-K", port, "rx", word, "tx", word, "sg", word, "tso", word, "gso", word, "gro", word)
}

// writeConfig writes the gateway's config and returns its path.
func (l *lab) writeConfig() string {
	l.t.Helper()
	var text strings.Builder
	for key, value := range l.config {
		fmt.Fprintf(&text, "%s: %s\n", key, value)
	}
	path := filepath.Join(l.dir, "gatewayd.yaml")
	check(l.t, os.WriteFile(path, []byte(text.String()), 0o600))
	return path
}

// portMAC is the hardware address of a port of the gateway.
func (l *lab) portMAC(name string) (mac net.HardwareAddr) {
	l.t.Helper()
	check(l.t, l.gateway.do(func() error {
		port, err := net.InterfaceByName(name)
		if err == nil {
			mac = port.HardwareAddr
		}
		return err
	}))
	return mac
}

// namespace is a network namespace that lives as long as this process holds it.
type namespace struct {
	t      *testing.T
	handle netns.NsHandle
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t}
	check(t, onThread(func() (err error) {
		n.handle, err = netns.New()
		return err
	}))
	t.Cleanup(func() { n.handle.Close() })
	n.run("ip", "link", "set", "lo", "up")
	return n
}

// cable joins an interface here to eth0 of far.
func (n *namespace) cable(here string, far *namespace) {
	n.t.Helper()
	check(n.t, n.do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: here, MTU: 1500, TxQLen: 1000},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(far.handle)),
		})
	}))
}

// do runs f on a thread in the namespace. Sockets that f opens stay there.
func (n *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own that ends with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		done <- f()
	}()
	return <-done
}

// setting reads or, with a value, writes a key below /proc/sys/net.
func (n *namespace) setting(key string, value ...string) (now string) {
	n.t.Helper()
	check(n.t, n.do(func() error {
		if len(value) > 0 {
			if err := os.WriteFile("/proc/sys/net/"+key, []byte(value[0]), 0); err != nil {
				return err
			}
		}
		text, err := os.ReadFile("/proc/sys/net/" + key)
		now = strings.TrimSpace(string(text))
		return err
	}))
	return now
}

// run runs a program to its good end and returns what it printed.
func (n *namespace) run(name string, args ...string) string {
	n.t.Helper()
	out, err := n.try(name, args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// try runs a program to its end, a minute at most.
func (n *namespace) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.do(cmd.Run); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.String(), nil
}

// program is one that runs beside the test.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   lines
	ended chan struct{} // closed when it has
}

// start starts a program, which is ended with the test at the latest.
func (n *namespace) start(name string, args ...string) *program {
	n.t.Helper()
	p := &program{t: n.t, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// The signal follows the thread, which waits for the program's end.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = soon // for what its own children still print
	started := make(chan error, 1)
	go func() {
		defer close(p.ended)
		_ = n.do(func() error {
			err := p.cmd.Start()
			started <- err
			if err == nil {
				err = p.cmd.Wait()
			}
			return err
		})
	}()
	check(n.t, <-started)
	n.t.Cleanup(p.end)
	return p
}

// says waits for the program to print text.
func (p *program) says(text string) {
	p.t.Helper()
	eventually(p.t, soon, p.cmd.Path+" says "+text, func() error {
		if said := p.out.String(); !strings.Contains(said, text) {
			return errors.New(said)
		}
		return nil
	})
}

// end ends the program; once is enough.
func (p *program) end() {
	select {
	case <-p.ended:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have just ended
	select {
	case <-p.ended:
	case <-time.After(soon):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// wait waits for the program's own end and returns what it printed.
func (p *program) wait(patience time.Duration) string {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.end()
		p.t.Fatalf("%s has not ended after %v: %s", p.cmd.Path, patience, p.out.String())
	}
	return p.out.String()
}

// eventually asks until the answer is nil.
func eventually(t *testing.T, patience time.Duration, what string, ask func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s: %v", patience, what, err)
		}
	}
}

// figure logs a number; `make figures` gathers them.
func figure(t *testing.T, what string, value float64, unit string) {
	t.Helper()
	if strings.Contains(t.Name(), "/bridge") {
		what += ", bridged"
	}
	t.Logf("figure: %s: %.6g %s", what, value, unit)
}

// figureOf is figure of a duration, in ms.
func figureOf(t *testing.T, what string, took time.Duration) {
	t.Helper()
	figure(t, what, float64(took.Microseconds())/1000, "ms")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
