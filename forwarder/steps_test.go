package forwarder

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// BenchmarkSteps is what each step adds to a packet's life: batches of one flow's
// packets go through the first steps of their path, one more in each row. ns/packet
// is all so far, the fake links' part included; ns/step is what the row's step adds.
// The last step's is sending and the bill. Both are of the batch that a tenth was
// faster than: what else the machine does meets the slow ones.
func BenchmarkSteps(b *testing.B) {
	plan := free()
	plan.Up, plan.Down = 100e9/8, 100e9/8
	for _, way := range []struct {
		name string
		port int
	}{{"up", clients.LAN}, {"down", clients.WAN}} {
		before := 0.0
		for n, name := range append([]string{"receive"}, Steps(way.port)...) {
			b.Run(fmt.Sprintf("%s/%d-%s", way.name, n, name), func(b *testing.B) {
				bn := online(b, plan)
				bn.pipes[0] = nil // frames end on the way: no conservation
				lan, wan := small, small
				if way.port == clients.LAN {
					wan = nil
				} else {
					lan = nil
				}
				run, lanMill, wanMill := grind(b, bn, lan, wan)
				path := bn.f.paths[way.port]
				if n < len(path) {
					bn.f.paths[way.port] = append(path[:n:n], func(*frame) Reason { return Taken })
				}
				run()
				lanMill.sent, wanMill.sent = 0, 0
				times := make([]time.Duration, 0, 1<<20)
				b.ReportAllocs()
				for b.Loop() {
					begin := time.Now()
					run()
					if len(times) < cap(times) {
						times = append(times, time.Since(begin))
					}
				}
				if sent := lanMill.sent + wanMill.sent; n == len(path) && sent != b.N*link.Batch {
					b.Fatalf("%d frames sent in %d runs: %v", sent, b.N, bn.allDrops())
				}
				slices.Sort(times)
				each := float64(times[len(times)/10].Nanoseconds()) / link.Batch
				b.ReportMetric(each, "ns/packet")
				b.ReportMetric(each-before, "ns/step")
				before = each
			})
		}
	}
}
