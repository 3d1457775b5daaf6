package forwarder

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

// The collector's work does not grow with limits.clients and limits.nat_flows.
func TestTheHeapDoesNotGrowWithTheTables(t *testing.T) {
	few, quick := heapOf(t, 16, 4096)
	many, took := heapOf(t, 16_385, 262_144)
	if grown := int64(many) - int64(few); grown >= 1<<20 {
		t.Errorf("%d bytes of heap for few clients and flows, %d more for many", few, grown)
	}
	t.Logf("a collection takes %v with a forwarder of 16,384 clients and 262,144 flows, %v with one of few", took, quick)
}

// heapOf is what a forwarder of so many slots and flows takes of the heap, bytes,
// and how long a collection of it took.
func heapOf(t *testing.T, slots, flows int) (bytes uint64, took time.Duration) {
	t.Helper()
	cfg := testConfig()
	cfg.LAN = netip.MustParsePrefix("10.0.0.1/16")
	cfg.NATFlows = flows
	table, file, err := clients.Create(clients.Shape{Slots: slots, NATBytes: TableBytes(flows, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	defer table.Close()
	before := heap()
	f, err := attach(cfg, Links{newMill(), newMill(), newMill()}, table, nil, func() {}, func() time.Duration { return time.Hour }, seat{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bytes = heap() - before
	start := time.Now()
	runtime.GC()
	took = time.Since(start)
	runtime.KeepAlive(f)
	return bytes, took
}

// heap is what lives on it, bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers let go of
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
