package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
)

// Addresses are the same in every lab; the labs never meet.
const (
	clientMAC  = "02:00:00:00:00:0c"
	clientIP   = "10.10.0.2"
	lanAddress = "10.10.0.1/16"
	lanIP      = "10.10.0.1"
	wanAddress = "203.0.113.2/24"
	serverIP   = "203.0.113.1"
	bridgedIP  = "10.10.255.254" // the server's on a bridge, where it is the clients' router
	lanPort    = "eth1"          // of the gateway
	wanPort    = "eth0"          // of the gateway; the one port of client and server
	farPort    = "eth0"
)

// A lab is a client, a gateway and a server, each in a namespace of its own.
type lab struct {
	client, gateway, server string // namespaces
	dir                     string // for sockets, logs and the store
	routerIP                string // the clients' default route
	routerMAC               net.HardwareAddr
	answers                 *answers
	atClient, atServer      *counter
	mouths                  *mouths // of clients that speak; nil: only the first does
	iperf                   *process
}

// newLab makes the namespaces, their veth pairs and addresses, but nothing in
// the gateway. On an error nothing is left.
func newLab(ctx context.Context, name string, s setting) (l *lab, err error) {
	prefix := fmt.Sprintf("gwb-%d-%s-", os.Getpid(), name)
	l = &lab{routerIP: lanIP, client: prefix + "c", gateway: prefix + "g", server: prefix + "s"}
	at, port := l.gateway, lanPort
	if s.bridge {
		l.routerIP, at, port = bridgedIP, l.server, farPort
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.remove())
		}
	}()
	if l.dir, err = os.MkdirTemp("", prefix); err != nil {
		return l, err
	}
	for _, ns := range l.namespaces() {
		if _, err := run(ctx, "", "ip", "netns", "add", ns); err != nil {
			return l, err
		}
		if err := within(ns, func() error { return sysctls("ipv6/conf/default/disable_ipv6=1", "ipv4/ip_forward=0") }); err != nil {
			return l, err
		}
	}
	err = ip(ctx,
		"link add "+lanPort+" netns "+l.gateway+" type veth peer name "+farPort+" netns "+l.client,
		"link add "+wanPort+" netns "+l.gateway+" type veth peer name "+farPort+" netns "+l.server,
		"-n "+l.client+" link set lo up",
		"-n "+l.server+" link set lo up",
		"-n "+l.gateway+" link set lo up",
		"-n "+l.client+" link set "+farPort+" address "+clientMAC+" up",
		"-n "+l.server+" link set "+farPort+" up",
		"-n "+l.gateway+" link set "+lanPort+" up",
		"-n "+l.gateway+" link set "+wanPort+" up",
		"-n "+l.client+" addr add "+clientIP+"/16 dev "+farPort,
		"-n "+l.client+" route add default via "+l.routerIP,
		"-n "+l.server+" addr add "+serverIP+"/24 dev "+farPort,
	)
	if err != nil {
		return l, err
	}
	if s.bridge {
		if err = ip(ctx, "-n "+l.server+" addr add "+bridgedIP+"/16 dev "+farPort); err != nil {
			return l, err
		}
	}
	if s.plain {
		if err = l.withoutOffloads(ctx); err != nil {
			return l, err
		}
	}
	err = within(at, func() error {
		router, err := net.InterfaceByName(port)
		if err == nil {
			l.routerMAC = router.HardwareAddr
		}
		return err
	})
	if err != nil {
		return l, err
	}
	if l.answers, err = newAnswers(); err != nil {
		return l, err
	}
	counted := 0
	if s.counted {
		counted = s.clients
	}
	if l.atClient, err = newCounter(l.client, l.answers, counted); err != nil {
		return l, err
	}
	if l.atServer, err = newCounter(l.server, nil, counted); err != nil {
		return l, err
	}
	if s.speak {
		if err = l.openMouths(ctx, s.clients); err != nil {
			return l, err
		}
	}
	l.iperf, err = start(l.server, filepath.Join(l.dir, "iperf3.log"), "iperf3", "-s")
	return l, err
}

// withoutOffloads leaves segments and checksums to the senders, on all ports.
func (l *lab) withoutOffloads(ctx context.Context) error {
	for _, at := range []struct{ namespace, port string }{
		{l.client, farPort}, {l.gateway, lanPort}, {l.gateway, wanPort}, {l.server, farPort},
	} {
		if _, err := run(ctx, at.namespace, "ethtool", "-K", at.port, "tso", "off", "gso", "off", "gro", "off", "tx", "off"); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) namespaces() []string { return []string{l.client, l.gateway, l.server} }

// ip runs commands of ip(8).
func ip(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if _, err := run(ctx, "", "ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// sysctls sets keys below net, written key=value, of the namespace that the
// thread is in.
func sysctls(settings ...string) error {
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0)
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(key, "ipv6/") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("set net/%s: %w", s, err)
		}
	}
	return nil
}

// within does something on a thread in a namespace.
func within(namespace string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h, err := netns.GetFromName(namespace)
		if err == nil {
			defer h.Close()
			err = netns.Set(h)
		}
		if err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", namespace, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// ping waits until the server answers the client through the gateway.
func (l *lab) ping(ctx context.Context) error {
	var err error
	for range 50 {
		if _, err = run(ctx, l.client, "ping", "-c", "1", "-W", "1", serverIP); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the server does not answer the client: %w", err)
}

// arrived is what the far ends have counted: up at the server, down at the client.
func (l *lab) arrived() (up, down traffic, err error) {
	if up, err = l.atServer.read(); err != nil {
		return
	}
	down, err = l.atClient.read()
	return
}

// got is what has arrived of each client, layer-3 bytes: up by streams of a flow a
// client, down where clients speak; nil where it is not counted.
func (l *lab) got() (up, down []uint64, err error) {
	if l.mouths != nil {
		down, err = l.atClient.readEach()
		return nil, down, err
	}
	up, err = l.atServer.readEach()
	return up, nil, err
}

// remove removes the lab and all that still runs in it.
func (l *lab) remove() error {
	var problems []error
	if l.iperf != nil {
		problems = append(problems, l.iperf.end())
	}
	for _, c := range []*counter{l.atClient, l.atServer} {
		if c != nil {
			problems = append(problems, c.close())
		}
	}
	if l.mouths != nil {
		problems = append(problems, l.mouths.close())
	}
	if l.answers != nil {
		problems = append(problems, l.answers.close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	for _, ns := range l.namespaces() {
		if _, err := os.Stat(filepath.Join("/run/netns", ns)); err != nil {
			continue // not made
		}
		if pids, err := run(ctx, "", "ip", "netns", "pids", ns); err == nil {
			for _, s := range strings.Fields(string(pids)) {
				if pid, err := strconv.Atoi(s); err == nil && pid != os.Getpid() {
					_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
				}
			}
		}
		_, err := run(ctx, "", "ip", "netns", "del", ns)
		problems = append(problems, err)
	}
	if l.dir != "" {
		problems = append(problems, os.RemoveAll(l.dir))
	}
	return errors.Join(problems...)
}
