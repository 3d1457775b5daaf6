// Shop sells sessions over HTTP and keeps what gateways say was used of them:
// the least that a server behind a sessions.SessionProvider has to do.
//
//	GET   /devices/{mac}/sessions?page=1&per_page=20   those with something left, in the order of use
//	POST  /devices/{mac}/sessions                      sells one
//	GET   /sessions/{id}                               one, with an ETag
//	PATCH /sessions/{id}                               changes what was sold
//	PUT   /sessions/{id}                               what a gateway has counted: see server.put
//
// All is JSON, and every request carries the secret: Authorization: Bearer ….
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8081", "`address` and TCP port; put a proxy with TLS before it where others can listen in")
	file := flag.String("file", "shop.json", "`file` to keep all in")
	secret := flag.String("secret", "", "`file` with the secret that gateways and clerks show; required")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *file, *secret); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, file, secretFile string) error {
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return fmt.Errorf("read the secret: %w; -secret names its file", err)
	}
	s, err := open(file, strings.TrimSpace(string(secret)))
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr: listen, Handler: s.routes(), MaxHeaderBytes: 4096,
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	fmt.Printf("shop: http://%s/\n", listen)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
