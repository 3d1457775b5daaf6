package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatewayd/gateway/api/client"
)

// daemon answers some calls as gatewayd does, at a socket of its own.
func daemon() (socket string, end func()) {
	dir, err := os.MkdirTemp("", "gw-")
	if err != nil {
		log.Fatal(err)
	}
	socket = filepath.Join(dir, "gatewayd.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/devices", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"id":1,"mac":"02:00:00:00:00:0c","ip":"10.10.0.2"}`)
	})
	mux.HandleFunc("POST /api/v1/devices/1/connect", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, `{"status":409,"detail":"connect device 1: no more available sessions"}`)
	})
	mux.HandleFunc("GET /api/v1/backup", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "all of it") })
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "id: 7\nevent: session:connected\ndata: {\"id\":7,\"event\":\"session:connected\",\"device_id\":1}\n\n")
	})
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	return socket, func() { server.Close(); os.RemoveAll(dir) }
}

func ExampleClient_Ask() {
	socket, end := daemon() // gatewayd's is /run/gatewayd/gatewayd.sock
	defer end()
	c, ctx := client.New(socket, 30*time.Second), context.Background()

	var d struct {
		ID int64  `json:"id"`
		IP string `json:"ip"`
	}
	err := c.Ask(ctx, http.MethodPost, "/devices", map[string]string{"mac": "02:00:00:00:00:0c", "ip": "10.10.0.2"}, &d)
	fmt.Println(d.ID, d.IP, err)
	var refused *client.Problem
	if errors.As(c.Ask(ctx, http.MethodPost, "/devices/1/connect", nil, nil), &refused) {
		fmt.Println(refused.Status, refused.Detail)
	}
	// Output:
	// 1 10.10.0.2 <nil>
	// 409 connect device 1: no more available sessions
}

func ExampleNew() {
	c := client.New("/nowhere/gatewayd.sock", 30*time.Second) // New does not ask anything yet
	err := c.Ask(context.Background(), http.MethodGet, "/status", nil, nil)
	var away *client.Unreachable
	fmt.Println(errors.As(err, &away), away.Socket)
	// Output:
	// true /nowhere/gatewayd.sock
}

// The answer as it came, and then decoded.
func ExampleClient_Call() {
	socket, end := daemon()
	defer end()
	c := client.New(socket, 30*time.Second)

	text, err := c.Call(context.Background(), http.MethodPost, "/devices", map[string]string{"mac": "02:00:00:00:00:0c"})
	fmt.Println(string(text), err)
	var d struct {
		MAC string `json:"mac"`
	}
	fmt.Println(c.Decode(text, &d), d.MAC)
	// Output:
	// {"id":1,"mac":"02:00:00:00:00:0c","ip":"10.10.0.2"} <nil>
	// <nil> 02:00:00:00:00:0c
}

func ExampleClient_Stream() {
	socket, end := daemon()
	defer end()

	answer, err := client.New(socket, 0).Stream(context.Background(), http.MethodGet, "/backup", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Close()
	var kept strings.Builder
	_, err = io.Copy(&kept, answer)
	fmt.Println(kept.String(), err)
	// Output:
	// all of it <nil>
}

func ExampleClient_Events() {
	socket, end := daemon()
	defer end()

	last, err := client.New(socket, 0).Events(context.Background(), "/events?event=session:connected", func(e client.StreamEvent) error {
		var v struct {
			Device int64 `json:"device_id"`
		}
		err := json.Unmarshal(e.Data, &v)
		fmt.Println(e.ID, e.Name, v.Device, err)
		return err
	})
	fmt.Println("go on after", last, errors.As(err, new(*client.Unreachable)))
	// Output:
	// 7 session:connected 1 <nil>
	// go on after 7 true
}
