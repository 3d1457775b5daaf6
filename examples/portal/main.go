// Portal is a hotspot's captive portal with the gateway inside: one program
// that a box runs in place of gatewayd. It is meant to be copied and changed;
// README.md says how to run it.
//
//	main.go      flags; what is started and stopped, in which order
//	portal.go    the page, and what its buttons do
//	live.go      the page's changes, sent as they happen
//	view.go      what a client is shown, in words
//	guard.go     who may ask, how often, how much
//	provider.go  sessions that a shop sells, which is an HTTP server
//	shop/        such a server
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"gatewayd/gateway"
	"gatewayd/gateway/config"
)

// options is what a person decides about this portal, beside the gateway's
// own config.
type options struct {
	config string
	port   uint
	title  string
	demo   bool
	shop   string // base URL; empty: none
	secret string // a file with what the shop knows this gateway by
}

func main() {
	gateway.Child() // first line: never returns in the gateway's own child processes

	var o options
	flag.StringVar(&o.config, "config", config.DefaultPath, "the gateway's `file`, the same as gatewayd's")
	flag.UintVar(&o.port, "port", 80, "TCP `port` on the gateway's LAN address")
	flag.StringVar(&o.title, "title", "Hotspot", "`name` that the page shows")
	flag.BoolVar(&o.demo, "demo", false, "let clients without a session have 5 minutes for free")
	flag.StringVar(&o.shop, "shop", "", "base `URL` of a shop whose sessions are used, too, such as https://shop.example")
	flag.StringVar(&o.secret, "shop-secret", "", "`file` with the secret that the shop knows this gateway by")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "portal: unknown argument %q; there are only flags, see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "portal:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. The pages end first, so that no call is cut off by
// the gateway's end.
func run(ctx context.Context, o options) error {
	cfg, err := config.Load(o.config)
	if err != nil {
		return err
	}
	if o.port > 65535 || !cfg.Host.Ports.Open("tcp", uint16(o.port)) {
		return fmt.Errorf("clients cannot reach TCP port %d: %s says host.ports: %v; add tcp/%d there, or choose another by -port",
			o.port, o.config, cfg.Host.Ports, o.port)
	}
	address := net.JoinHostPort(cfg.LAN.Address.Addr().String(), fmt.Sprint(o.port))
	shop, err := openShop(o.shop, o.secret)
	if err != nil {
		return err
	}
	gw, err := gateway.New(cfg)
	if err != nil {
		return err
	}
	defer gw.Close()
	if shop != nil {
		gw.API().SessionsMgr().RegisterSessionProvider(shop)
	}
	listener, err := listen(address)
	if err != nil {
		return err
	}
	p := newPortal(gw, cfg, o, strings.TrimSuffix(address, ":80"), shop)
	server := p.server()

	forwarding, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	served := make(chan error, 1)
	go func() {
		err := unexpected(server.Serve(fairly(listener)))
		if err != nil {
			stop()
		}
		served <- err
	}()
	defer context.AfterFunc(ctx, func() {
		defer stop()
		soon, cancel := context.WithTimeout(forwarding, 3*time.Second)
		defer cancel()
		if server.Shutdown(soon) != nil {
			server.Close()
		}
	})()
	fmt.Printf("portal: http://%s/ as soon as the gateway is ready\n", p.host)
	err = gw.Run(forwarding)
	server.Close()
	return cmp.Or(err, <-served)
}

// listen opens an address that is not there yet: the gateway makes it when it
// runs (IP_FREEBIND, ip(7)). So a port that is taken is known at the start.
func listen(address string) (net.Listener, error) {
	ahead := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		refused := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_FREEBIND, 1)
		})
		return errors.Join(refused, err)
	}}
	return ahead.Listen(context.Background(), "tcp4", address)
}

// unexpected is a server's end that nobody asked for; nil if somebody did.
func unexpected(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the portal: %w", err)
}
