package nat

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// filled is a default-size table with n flows of 1000 clients, two thirds UDP,
// and the tuples in random order with their external ports.
func filled(t testing.TB, n int) (table *Table, tuples []Tuple, exts []Endpoint) {
	opt := Options{Externals: []uint32{external}, Seed: [32]byte{9}}
	table, err := Attach(make([]byte, Layout(262144)), opt, second)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		c := uint32(i % 1000)
		k := Tuple{UDP, alice + c, uint16(1024 + i/1000%20), rng.Uint32(), 443}
		if i%3 == 0 {
			k.Proto = TCP
		}
		tuples = append(tuples, k)
	}
	rng.Shuffle(n, func(i, j int) { tuples[i], tuples[j] = tuples[j], tuples[i] })
	for _, k := range tuples {
		ext, v := table.Out(k, Client{k.Addr - alice + 1, 0}, Segment{Flags: SYN}, second)
		if v != Translated {
			t.Fatal(v)
		}
		exts = append(exts, ext)
	}
	return table, tuples, exts
}

func BenchmarkOutHit(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, tuples, _ := filled(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				k := tuples[i]
				if _, v := table.Out(k, Client{k.Addr - alice + 1, 0}, Segment{Flags: ACK}, second); v != Translated {
					b.Fatal(v)
				}
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

func BenchmarkInHit(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, tuples, exts := filled(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				k := &tuples[i]
				if _, _, _, v := table.In(k.Proto, exts[i], k.Remote, k.RemotePort, Segment{Flags: ACK}, second); v != Translated {
					b.Fatal(v)
				}
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// BenchmarkLookup is the bare look-up among random flows.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, tuples, _ := filled(b, n)
			i := 0
			for b.Loop() {
				if _, v := table.OutError(tuples[i]); v != Translated {
					b.Fatal(v)
				}
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// BenchmarkOutNew opens flows and lets them run out, so that the table keeps
// about n.
func BenchmarkOutNew(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, _, _ := filled(b, n)
			b.ReportAllocs()
			now, i := second, uint32(0)
			for b.Loop() {
				now += 301 * second / int64(n)
				k := udp(alice+i%1000, 5000, i, 53)
				if _, v := table.Out(k, Client{1 + i%1000, 0}, none, now); v != Translated {
					b.Fatal(v)
				}
				table.Expire(now, 64)
				i++
			}
		})
	}
}

func BenchmarkAttach(b *testing.B) {
	mem := make([]byte, Layout(262144))
	opt := Options{Externals: []uint32{external}, Seed: [32]byte{9}}
	table, err := Attach(mem, opt, second)
	if err != nil {
		b.Fatal(err)
	}
	for i := range uint32(100_000) {
		table.Out(udp(alice+i%1000, uint16(1024+i/1000%20), i, 53), Client{1 + i%1000, 0}, none, second)
	}
	for b.Loop() {
		if _, err := Attach(mem, opt, second); err != nil {
			b.Fatal(err)
		}
	}
}

func TestPacketPathAllocatesNothing(t *testing.T) {
	table, tuples, exts := filled(t, 1000)
	now, n, i := second, uint32(0), 0
	if a := testing.AllocsPerRun(1000, func() {
		k := tuples[i]
		c := Client{k.Addr - alice + 1, 0}
		table.Out(k, c, Segment{Flags: ACK}, now)
		table.In(k.Proto, exts[i], k.Remote, k.RemotePort, Segment{Flags: ACK}, now)
		table.In(k.Proto, exts[i], k.Remote, k.RemotePort+1, Segment{Flags: SYN}, now)
		table.In(k.Proto, exts[i], 1, 1, Segment{Flags: SYN}, now)
		table.OutError(k)
		table.InError(k.Proto, exts[i], k.Remote, k.RemotePort)
		table.Out(udp(k.Addr, 9, n, 53), c, none, now)
		table.Out(udp(k.Addr, 9, n, 53), Client{c.Slot, 1 + n}, none, now)
		table.Out(tcp(k.Addr, 9, n, 53), Client{c.Slot, 1 + n}, Segment{Flags: SYN}, now)
		if n++; n%3 == 0 {
			table.Leave(Client{c.Slot, n}, k.Addr)
		}
		now += int64(100 * time.Millisecond)
		table.Expire(now, 64)
		i = (i + 1) % len(tuples)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
