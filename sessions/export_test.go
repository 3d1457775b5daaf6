package sessions

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/store"
)

// Hotspot is a gateway for examples: a manager over a store in memory and a
// forwarder without packets, and one client that is there. Its clock moves
// only with Passes.
type Hotspot struct {
	*Manager
	now    atomic.Int64 // since boot
	fake   *fakeForwarder
	client ClientDevice
	end    func()
}

// NewHotspot starts one; Close ends it.
func NewHotspot() *Hotspot {
	h := &Hotspot{}
	h.now.Store(int64(time.Minute))
	boot := func() time.Duration { return time.Duration(h.now.Load()) }
	memory := make([]uint64, clients.Size(clients.Shape{Slots: 64})/8)
	table, err := clients.Format(bytesOf(memory), clients.Shape{Slots: 64})
	must(err)
	kept, closeStore, err := store.OpenMemory()
	must(err)
	h.fake = newFakeForwarder(table, boot)
	h.Manager = New(Options{
		Table: table, Store: kept, Boot: boot, Now: func() time.Time { return epoch.Add(boot()) }, ResumeOnRestart: true,
		LAN: netip.MustParsePrefix("10.10.0.0/16"), Gateway: netip.MustParseAddr("10.10.0.1"),
	})
	h.fake.mu.Lock()
	h.fake.wake = h.Wake
	h.fake.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	<-h.Ready()
	d, _, err := h.AddDevice(ctx, macA, "10.10.0.2", "phone")
	must(err)
	h.client = h.ClientDevice(d)
	h.end = func() {
		cancel()
		must(<-ran)
		h.fake.stop()
		closeStore()
	}
	return h
}

// Close ends the hotspot.
func (h *Hotspot) Close() { h.end() }

// Client is the client's device, as GetClientDevice returns it.
func (h *Hotspot) Client() ClientDevice { return h.client }

// Passes has the client use the internet for some time, and returns how many
// of the bytes passed, in packets of 1500, once the gateway has followed.
func (h *Hotspot) Passes(during time.Duration, bytes uint64) uint64 {
	h.now.Add(int64(during))
	passed := h.fake.pass(0x02000000000a, 0, bytes)
	ctx := context.Background()
	d, err := h.holdID(ctx, h.client.Id())
	must(err)
	h.mu.Lock()
	h.follow(d)
	h.mu.Unlock()
	h.finish(d)
	return passed
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprint("hotspot: ", err))
	}
}
