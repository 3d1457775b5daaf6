package gateway

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/gateway/config"
)

// The store ends when its caller has hung up; a control inside a program does
// not end with a process.
func TestControlHangsUpOnTheStoreWhenItEnds(t *testing.T) {
	table, memory, err := clients.Create(clients.Shape{Slots: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	toBell, err := clients.NewBell()
	if err != nil {
		t.Fatal(err)
	}
	defer toBell.Close()
	fromBell, err := clients.NewBell()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{}
	cfg.Log.Level = "error"
	cfg.LAN.Address = netip.MustParsePrefix("10.10.0.1/16")
	c := newControl(cfg, table, toBell, fromBell)
	ended, end := context.WithCancel(context.Background())
	end()
	if err := c.run(ended, l, func() {}, func(string) {}); err != nil {
		t.Error(err)
	}
	a, b := net.Pipe()
	c.store.Attach(a)
	_ = b.SetReadDeadline(time.Now().Add(time.Second)) // an open line is silent
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a new line after the end: %v, want it closed", err)
	}
}
