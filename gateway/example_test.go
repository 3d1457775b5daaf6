package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"

	"gatewayd/gateway"
	"gatewayd/gateway/config"
	"gatewayd/sessions"
)

// A portal on the host link, with the gateway inside. It needs root, two ports
// and a config that names them; examples/portal is a longer one.
func Example() {
	gateway.Child() // first line of main: never returns in the gateway's own child processes
	cfg, err := config.Load("gatewayd.yaml")
	if err != nil {
		log.Fatal(err)
	}
	gw, err := gateway.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	api := gw.API()
	http.HandleFunc("POST /connect", func(w http.ResponseWriter, r *http.Request) {
		clnt, err := api.Http().GetClientDevice(r)
		if err == nil {
			err = api.SessionsMgr().Connect(r.Context(), clnt, "welcome")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		fmt.Fprintln(w, "connected")
	})
	go http.ListenAndServe(cfg.LAN.Address.Addr().String()+":80", nil)
	if err := gw.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// atHome is a config with two TAP devices for ports, and everything else in a
// new directory. The ports are taken by Run only.
func atHome() (cfg *config.Config, clean func()) {
	dir, err := os.MkdirTemp("", "gw-")
	if err != nil {
		log.Fatal(err)
	}
	cfg, err = config.Parse("gatewayd.yaml", fmt.Appendf(nil, `
lan: {tap: gwlan0, address: 10.10.0.1/16}
wan: {tap: gwwan0, address: 203.0.113.2/24, gateway: 203.0.113.1}
store: {path: %s/store}
api: {socket: %s/gatewayd.sock}
metrics: {listen: ""}
log: {level: error}
`, dir, dir))
	if err != nil {
		log.Fatal(err)
	}
	return cfg, func() { os.RemoveAll(dir) }
}

// The store is there as soon as New has returned: what is sold before Run is on
// the disk.
func ExampleNew() {
	cfg, clean := atHome()
	defer clean()
	gw, err := gateway.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()

	wrong := *cfg
	wrong.LAN.Address = netip.Prefix{}
	_, err = gateway.New(&wrong)
	fmt.Println(errors.As(err, new(config.Errors)))
	// Output:
	// true
}

func ExampleGateway_API() {
	cfg, clean := atHome()
	defer clean()
	gw, err := gateway.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	ctx := context.Background()

	api := gw.API()
	phone, _, _ := gw.Sessions().AddDevice(ctx, "02:00:00:00:00:0c", "10.10.0.2", "phone")
	err = api.SessionsMgr().CreateSession(ctx, phone.ID, 0, 600, 0, nil, 5, 3, false) // ten minutes
	fmt.Println(err)
	fmt.Println(api.SessionsMgr().IsConnected(gw.Sessions().ClientDevice(phone)))
	// Output:
	// <nil>
	// false <nil>
}

func ExampleGateway_Sessions() {
	cfg, clean := atHome()
	defer clean()
	gw, err := gateway.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	ctx := context.Background()

	d, _, _ := gw.Sessions().AddDevice(ctx, "02:00:00:00:00:0c", "10.10.0.2", "phone")
	s, err := gw.Sessions().Create(ctx, d.ID, sessions.Plan{Type: sessions.TypeData, DataMB: 100, UseGlobalSpeed: true})
	fmt.Println(s.ID, s.RemainingData, s.State, err)
	// Output:
	// 1 100 available <nil>
}

// A program that gives up between New and Run closes what it made; one that
// runs it may.
func ExampleGateway_Close() {
	cfg, clean := atHome()
	defer clean()
	gw, err := gateway.New(cfg)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(gw.Close())
	fmt.Println(errors.Is(gw.Run(context.Background()), gateway.ErrEnded))
	// Output:
	// <nil>
	// true
}

func ExampleAPI() {
	cfg, clean := atHome()
	defer clean()
	gw, err := gateway.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	var api gateway.API = gw.API()

	clnt, err := api.Http().GetClientDevice(httptest.NewRequest("GET", "/", nil)) // from 192.0.2.1
	fmt.Println(errors.Is(err, sessions.ErrNoBinding))
	_, err = api.SessionsMgr().IsConnected(clnt) // not nil, but nobody's
	fmt.Println(errors.Is(err, sessions.ErrNoDevice))
	// Output:
	// true
	// true
}

func ExampleHttpApi() {
	cfg, clean := atHome()
	defer clean()
	gw, err := gateway.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	gw.Sessions().AddDevice(context.Background(), "02:00:00:00:00:0c", "10.10.0.2", "phone") // while it runs the packet path knows by itself

	whoami := func(w http.ResponseWriter, r *http.Request) {
		clnt, err := gw.API().Http().GetClientDevice(r)
		fmt.Fprintln(w, clnt.Id(), clnt.MacAddr(), clnt.Hostname(), errors.Is(err, sessions.ErrNoBinding))
	}
	for _, from := range []string{"10.10.0.2:54321", "10.10.0.3:54321"} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.RemoteAddr = from // as a server on the host link has it
		whoami(w, r)
		fmt.Print(w.Body)
	}
	// Output:
	// 1 02:00:00:00:00:0c phone false
	// 0   true
}
