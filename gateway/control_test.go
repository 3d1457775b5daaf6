package gateway

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/gateway/config"
)

// A total of the config stands in the table in bytes, and the forwarder is told.
func TestTheTotalStandsInTheTable(t *testing.T) {
	for _, row := range []struct {
		name     string
		total    config.Speed
		down, up int64 // bytes per second
	}{
		{"none", config.Speed{}, 0, 0},
		{"both ways", config.Speed{Down: 100 * config.Mbit, Up: 20 * config.Mbit}, 12_500_000, 2_500_000},
		{"down only", config.Speed{Down: 64 * config.Kbit}, 8000, 0},
		{"the most", config.Speed{Up: 100 * config.Gbit}, 0, 12_500_000_000},
	} {
		t.Run(row.name, func(t *testing.T) {
			table := eightSlots(t)
			bell := aBell(t)
			h := table.Header()
			h.TotalDown.Store(1) // a control before this one's
			h.TotalUp.Store(1)
			changes := h.Changes.Load()
			cfg := config.Default()
			cfg.Bandwidth.Total = row.total
			newControl(&cfg, table, bell, bell)
			if down, up := h.TotalDown.Load(), h.TotalUp.Load(); down != row.down || up != row.up {
				t.Errorf("%d down, %d up, want %d and %d", down, up, row.down, row.up)
			}
			if h.Changes.Load() == changes {
				t.Error("no change is told to the forwarder")
			}
			if err := bell.Wait(); err != nil { // it was rung
				t.Error(err)
			}
		})
	}
}

// What the forwarder goes by while it runs stands in the table when control begins,
// and as each later config says as soon as that is adopted.
func TestWhatTheForwarderReadsStandsInTheTable(t *testing.T) {
	table := eightSlots(t)
	bell := aBell(t)
	h := table.Header()
	var c *control
	for _, row := range []struct {
		name         string
		change       func(*config.Config)
		filtering    nat.Filtering
		flows, ports uint64
		open         []int // of TCP 22, TCP 80, UDP 80
	}{
		{"the default", func(*config.Config) {}, nat.ByAddress, 4096, 1024, []int{0, 1, 2}},
		{"a list, and everybody", func(c *config.Config) {
			c.Host.Ports = config.Ports{List: []config.PortRange{{Protocol: "tcp", First: 80, Last: 90}}}
			c.NAT.Filtering = config.FilterEndpoint
		}, nat.AnyRemote, 4096, 1024, []int{1}},
		{"another list, and nobody", func(c *config.Config) {
			c.Host.Ports = config.Ports{List: []config.PortRange{{Protocol: "udp", First: 1, Last: 80}, {Protocol: "tcp", First: 22, Last: 22}}}
			c.NAT.Filtering, c.Limits.FlowsPerClient, c.Limits.PortsPerClient = config.FilterAddressPort, 17, 18
		}, nat.ByAddressAndPort, 17, 18, []int{0, 2}},
		{"no port", func(c *config.Config) { c.Host.Ports = config.Ports{} }, nat.ByAddress, 4096, 1024, nil},
	} {
		cfg := config.Default()
		row.change(&cfg)
		changes := h.Changes.Load()
		if c == nil {
			c = newControl(&cfg, table, bell, bell)
		} else {
			c.adopt(&cfg)
		}
		if h.Changes.Load() == changes {
			t.Errorf("%s: no change is told to the forwarder", row.name)
		}
		if c.cfg.Load() != &cfg {
			t.Errorf("%s: control speaks of another config", row.name)
		}
		var open []int
		for i, is := range []bool{h.Open(false, 22), h.Open(false, 80), h.Open(true, 80)} {
			if is {
				open = append(open, i)
			}
		}
		if f, n, p := nat.Filtering(h.Filtering.Load()), h.ClientFlows.Load(), h.ClientPorts.Load(); f != row.filtering || n != row.flows || p != row.ports || !slices.Equal(open, row.open) {
			t.Errorf("%s: filtering %d, %d flows, %d ports, open %v; want %+v", row.name, f, n, p, open, row)
		}
	}
}

// What waits for its rate has as much memory as the config says.
func TestTheForwarderIsToldWhatMayWait(t *testing.T) {
	cfg := config.Default()
	cfg.Limits.QueueMemory = 5 * config.MB
	if got := forwardConfig(&cfg).QueueMemory; got != 5_000_000 {
		t.Errorf("%d bytes, want 5,000,000", got)
	}
}

// The store ends when its caller has hung up; a control inside a program does
// not end with a process.
func TestControlHangsUpOnTheStoreWhenItEnds(t *testing.T) {
	table := eightSlots(t)
	toBell := aBell(t)
	fromBell := aBell(t)
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

// eightSlots is a client table, and aBell a bell, for as long as the test runs.
func eightSlots(t *testing.T) *clients.Table {
	t.Helper()
	table, memory, err := clients.Create(clients.Shape{Slots: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { memory.Close() })
	return table
}

func aBell(t *testing.T) *clients.Bell {
	t.Helper()
	bell, err := clients.NewBell()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bell.Close() })
	return bell
}
