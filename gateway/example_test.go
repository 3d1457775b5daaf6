package gateway_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"gatewayd/gateway"
	"gatewayd/gateway/config"
)

// A portal on the host link, with the gateway inside. It needs root, two ports
// and a config that names them.
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
