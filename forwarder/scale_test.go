package forwarder

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
	"gatewayd/limiter"
)

// crowdSize says how many clients speak, over how many conversations in all.
type crowdSize struct{ clients, flows int }

func (s crowdSize) String() string { return fmt.Sprintf("clients=%d/flows=%d", s.clients, s.flows) }

// The conversations of a client: ten remotes for each of its ports, as
// programs have that look up names or know many peers.
const remotesOfAPort = 10

// conversation is number i of a crowd's, as it stands in a frame from the LAN.
func (s crowdSize) conversation(i int) flow {
	client, k := i%s.clients, i/s.clients
	return flow{srcMAC: 0x020000100000 + uint64(client), dstMAC: lanMAC, src: 0x0a000100 + uint32(client), dst: serverIP + uint32(k%remotesOfAPort),
		srcPort: uint16(1024 + k/remotesOfAPort), dstPort: 443, ttl: 64}
}

// order goes through the numbers below n again and again: one after the other,
// or scattered, as a linear congruential generator has them.
type order struct {
	n, at, mask uint32
	scattered   bool
}

func newOrder(n int, scattered bool) *order {
	return &order{n: uint32(n), mask: 1<<bits.Len(uint(n-1)) - 1, scattered: scattered}
}

func (o *order) next() int {
	if !o.scattered {
		if o.at++; o.at == o.n {
			o.at = 0
		}
		return int(o.at)
	}
	for {
		if o.at = (o.at*1664525 + 1013904223) & o.mask; o.at < o.n {
			return int(o.at)
		}
	}
}

// crowdMill is a link that gives a batch of a crowd's frames at every other
// Receive, made anew each time without a table of them, and takes all it is
// sent without looking.
type crowdMill struct {
	mill
	make func(raw []byte) // writes the next frame over a template
}

func newCrowdMill(template []byte, next func(raw []byte)) *crowdMill {
	return &crowdMill{mill{kept: batchOf(template), frames: newMill(batchOf(template)...).frames}, next}
}

func (m *crowdMill) Receive() ([][]byte, error) {
	frames, err := m.mill.Receive()
	for _, raw := range frames {
		m.make(raw)
	}
	return frames, err
}

const (
	rawL3 = packet.VirtioLen + packet.EthernetLen
	rawL4 = rawL3 + 20
)

// resum writes the checksum of a frame's IPv4 header.
func resum(raw []byte) {
	ip := raw[rawL3:rawL4]
	ip[10], ip[11] = 0, 0
	sum := uint64(0)
	for i := 0; i < 20; i += 4 {
		sum += uint64(binary.BigEndian.Uint32(ip[i:]))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
}

// newCrowd brings a crowd online whose conversations are all open, and returns
// rounds of a batch up or down.
func newCrowd(t testing.TB, s crowdSize, terms clients.Terms, scattered bool) (b *bench, up, down func()) {
	t.Helper()
	b = newBenchFor(t, s.clients+1, func(c *Config) {
		c.LAN = netip.MustParsePrefix("10.0.0.1/16")
		c.NATFlows = max(4096, s.flows)
	})
	b.cap(s.flows, s.flows)
	for i := range s.clients {
		c, slot := s.conversation(i), b.table.Slot(1+i)
		slot.Generation.Add(1)
		slot.MAC.Store(c.srcMAC)
		slot.IP.Store(uint64(c.src))
		slot.State.Store(clients.SlotBound)
		if _, err := slot.Publish(terms); err != nil {
			t.Fatal(err)
		}
		b.table.Changed(1 + i)
	}
	for range s.clients/takesARound + 1 {
		b.round()
	}
	b.f.aheadFrom = aheadFlows
	lan := newOrder(s.flows, scattered)
	lanMill := newCrowdMill(s.conversation(0).udp(18), func(raw []byte) {
		c := s.conversation(lan.next())
		raw[packet.VirtioLen+9], raw[packet.VirtioLen+10], raw[packet.VirtioLen+11] = byte(c.srcMAC>>16), byte(c.srcMAC>>8), byte(c.srcMAC)
		binary.BigEndian.PutUint32(raw[rawL3+12:], c.src)
		binary.BigEndian.PutUint32(raw[rawL3+16:], c.dst)
		binary.BigEndian.PutUint16(raw[rawL4:], c.srcPort)
		resum(raw)
	})
	wanMill := newMill()
	b.f.links = Links{lanMill, wanMill, newMill()}
	run := func() {
		b.now += 50 * time.Microsecond
		b.f.ready = [clients.NumPorts]bool{true, true, true}
		b.f.Round()
		b.f.Round()
	}

	// Each conversation sends once; what leaves tells its external port.
	exts := make([]uint16, 0, s.flows+link.Batch)
	note := &noting{mill: newMill()}
	b.f.links[clients.WAN] = note
	for len(exts) < s.flows {
		note.exts = note.exts[:0]
		run()
		exts = append(exts, note.exts...)
	}
	exts = exts[:s.flows]
	b.f.links[clients.WAN] = wanMill

	wan, at := newOrder(s.flows, scattered), 0
	answer := flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 443, dstPort: 1, ttl: 60}
	downMill := newCrowdMill(answer.udp(18), func(raw []byte) {
		c := s.conversation(wan.next())
		binary.BigEndian.PutUint32(raw[rawL3+12:], c.dst)
		binary.BigEndian.PutUint16(raw[rawL4+2:], exts[at])
		if at++; at == len(exts) {
			at = 0
		}
		resum(raw)
	})
	silent := newMill()
	up = func() {
		b.f.links[clients.LAN], b.f.links[clients.WAN] = lanMill, wanMill
		run()
	}
	down = func() {
		b.f.links[clients.LAN], b.f.links[clients.WAN] = silent, downMill
		run()
	}
	return b, up, down
}

// noting is a mill that notes the source ports of what it is sent.
type noting struct {
	*mill
	exts []uint16
}

func (m *noting) Send(frames [][]byte, taken []bool) error {
	for _, raw := range frames {
		m.exts = append(m.exts, binary.BigEndian.Uint16(raw[rawL4:]))
	}
	return m.mill.Send(frames, taken)
}

func TestLookingAheadFindsWhatIsNeeded(t *testing.T) {
	b, up, down := newCrowd(t, crowdSize{200, 2000}, free(), true)
	for name, run := range map[string]func(){"up": up, "down": down} {
		run()
		found := map[uint32]bool{}
		for _, slot := range b.f.ahead.slots {
			found[slot] = true
		}
		delete(found, 0)
		flows := 0
		for _, n := range b.f.ahead.flows {
			flows += int(min(n, 1))
		}
		if flows < link.Batch/2 {
			t.Errorf("%s: %d conversations of a batch were looked for", name, flows)
		}
		if len(found) < link.Batch/4 { // of 200 clients in scattered order
			t.Errorf("%s: %d clients of a batch were looked for", name, len(found))
		}
	}
}

// BenchmarkCrowd is the whole packet path without the kernel, by how many
// speak: what the tables cost.
func BenchmarkCrowd(b *testing.B) {
	plan := free()
	plan.Up, plan.Down = 12_500_000_000, 12_500_000_000
	for _, s := range []crowdSize{{1, 1}, {100, 100}, {10_000, 10_000}, {16_384, 16_384}, {32, 1000}, {32, 100_000}, {10_000, 100_000}, {16_384, 262_144}} {
		for _, scattered := range []bool{false, true} {
			how := "inturn"
			if scattered {
				how = "scattered"
			}
			b.Run(fmt.Sprintf("%v/%s", s, how), func(b *testing.B) {
				bn, up, down := newCrowd(b, s, plan, scattered)
				for name, run := range map[string]func(){"up": up, "down": down} {
					b.Run(name, func(b *testing.B) {
						for range s.flows / link.Batch {
							run()
						}
						was := bn.f.counters.Totals.BilledPackets
						for b.Loop() {
							run()
						}
						if sent := bn.f.counters.Totals.BilledPackets - was; sent < uint64(b.N*link.Batch) {
							b.Fatalf("%d packets sent in %d batches: %v", sent, b.N, bn.allDrops())
						}
						b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*link.Batch), "ns/packet")
					})
				}
			})
		}
	}
}

// BenchmarkChange is a round in which one of many clients was changed, beside
// one in which none was.
func BenchmarkChange(b *testing.B) {
	const many = 16_384
	bn, _, _ := newCrowd(b, crowdSize{many, many}, timeOf(time.Hour), false)
	bn.f.links = Links{newMill(), newMill(), newMill()}
	for _, name := range []string{"none", "one"} {
		b.Run(name, func(b *testing.B) {
			slot := newOrder(many, true)
			for b.Loop() {
				if name == "one" {
					bn.table.Changed(1 + slot.next())
				}
				bn.f.Round()
			}
		})
	}
}

// BenchmarkEnd is a round in which the grant of one of many clients ends, and
// the next one of it starts.
func BenchmarkEnd(b *testing.B) {
	const many = 16_384
	bn, _, _ := newCrowd(b, crowdSize{many, many}, timeOf(time.Hour), false)
	bn.f.links = Links{newMill(), newMill(), newMill()}
	slot := newOrder(many, true)
	for b.Loop() {
		c := &bn.f.clients[1+slot.next()]
		c.deadline = bn.now - 1
		bn.f.deadlines.set(c.id.Slot, c.deadline)
		bn.f.Round()
		bn.table.Slot(int(c.id.Slot)).Record(1).Ended.Store(0)
		c.active, c.running, c.deadline = 1, true, bn.now+time.Hour
		bn.f.deadlines.set(c.id.Slot, c.deadline)
	}
}

// holdBack empties the buckets of a crowd's clients and has a frame of each wait.
func holdBack(b *bench, s crowdSize, up func()) {
	for i := 1; i <= s.clients; i++ {
		for b.f.pacer.Pass(limiter.SideOf(uint32(i), 0), 1, b.f.now) {
		}
	}
	for range (s.clients + link.Batch - 1) / link.Batch {
		up()
	}
}

// BenchmarkWaiting is a round without a frame while one of each of many clients
// waits for its rate.
func BenchmarkWaiting(b *testing.B) {
	s := crowdSize{4000, 4000}
	plan := free()
	plan.Up, plan.Down = 1, 1 // nothing of it conforms in the time this takes
	bn, up, _ := newCrowd(b, s, plan, false)
	holdBack(bn, s, up)
	if n := bn.f.counters.Totals.QueuedPackets; n < uint64(s.clients*9/10) {
		b.Fatalf("%d packets wait", n)
	}
	bn.f.links = Links{newMill(), newMill(), newMill()}
	for b.Loop() {
		bn.now += releaseEvery
		bn.f.Round()
	}
}
