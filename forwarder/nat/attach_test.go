package nat

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
	"unsafe"
)

func TestEntrySize(t *testing.T) {
	if s := unsafe.Sizeof(flow{}); s != flowSize {
		t.Errorf("a flow is %d bytes, not %d", s, flowSize)
	}
	if s := unsafe.Sizeof(header{}); s != headerSize {
		t.Errorf("the header is %d bytes, not %d", s, headerSize)
	}
	if n := Layout(262144); n > 32<<20 {
		t.Errorf("%d bytes at the default size", n)
	}
}

// entry is the memory of flow i.
func (w *world) entry(i int) []byte {
	at := headerSize + restSize + i*flowSize
	return w.mem[at : at+flowSize]
}

func TestAttach(t *testing.T) {
	k := udp(alice, 5000, server, 53)
	kept := func(w *world, want, lost int) {
		w.t.Helper()
		if kept, discarded := w.Recovered(); kept != want || discarded != lost {
			w.t.Errorf("kept %d, discarded %d; want %d, %d", kept, discarded, want, lost)
		}
	}
	rows := []struct {
		name string
		run  func(w *world)
	}{
		{"the next process goes on with mapping, filter, timer and client", func(w *world) {
			ext := w.must(k, Client{1, 9}, none)
			w.wait(200 * time.Second)
			w.attach()
			kept(w, 1, 0)
			addr, port, c, v := w.In(UDP, ext, server, 99, none, w.now)
			if addr != alice || port != 5000 || c != (Client{1, 9}) || v != Translated {
				w.t.Error(addr, port, c, v)
			}
			if again := w.must(udp(alice, 5000, other, 1), Client{1, 9}, none); again != ext {
				w.t.Errorf("port %d, was %d", again, ext)
			}
			w.Drop(Client{1, 9})
			if m, f := w.Counts(); m != 0 || f != 0 {
				w.t.Error(m, f)
			}
		}},
		{"an established connection goes on, its windows too", func(w *world) {
			c := w.call(4000)
			c.connect()
			c.data(100)
			w.attach()
			c.answer(Segment{Flags: RST, Seq: c.ss - 1})
			c.reply(100)
			c.lives(7440 * time.Second)
		}},
		{"shared TCP ports go on", func(w *world) {
			w.opt.PortLow, w.opt.PortHigh = 3000, 3001
			w.attach()
			for i := range uint16(20) {
				w.must(tcp(alice, 1+i, server+uint32(i), 80), clientA, Segment{Flags: SYN})
			}
			w.attach()
			kept(w, 20, 0)
			if m, _ := w.Counts(); m != 20 {
				w.t.Errorf("%d mappings", m)
			}
		}},
		{"the caps count what was there", func(w *world) {
			w.opt.FlowsPerClient = 2
			w.must(k, clientA, none)
			w.must(udp(alice, 5000, server, 54), clientA, none)
			w.attach()
			_, v := w.out(udp(alice, 5000, server, 55), clientA, none)
			w.want(v, ClientFlows)
		}},
		{"what ran out meanwhile is gone", func(w *world) {
			ext := w.must(k, clientA, none)
			w.now += 400 * second
			w.attach()
			w.wait(0)
			if _, f := w.Counts(); f != 0 {
				w.t.Errorf("%d flows", f)
			}
			w.want(w.in(UDP, ext, server, 53, none), Resting)
		}},
		{"an entry without its commit word is no flow", func(w *world) {
			w.must(k, clientA, none)
			clear(w.entry(1)[:4])
			w.attach()
			kept(w, 0, 0)
			w.must(k, clientA, none)
		}},
		{"an entry with any fixed octet changed is discarded and used again", func(w *world) {
			for i := range 32 {
				if i >= 4 && i < 8 { // last-seen
					continue
				}
				w.must(k, clientA, none)
				w.entry(1)[i] ^= 0x10
				w.attach()
				kept(w, 0, 1)
				w.attach()
				kept(w, 0, 0)
			}
		}},
		{"of two entries with one external five-tuple one is discarded", func(w *world) {
			w.must(tcp(alice, 5000, server, 53), clientA, Segment{Flags: SYN})
			w.must(tcp(alice, 5001, server, 54), clientA, Segment{Flags: SYN})
			w.flows[2].ext, w.flows[2].remotePort = w.flows[1].ext, 53
			w.flows[2].publish(external)
			w.attach()
			kept(w, 1, 1)
		}},
		{"of two endpoints on one UDP port one is discarded", func(w *world) {
			w.must(k, clientA, none)
			w.must(udp(alice, 5001, server, 54), clientA, none)
			w.flows[2].ext = w.flows[1].ext
			w.flows[2].publish(external)
			w.attach()
			kept(w, 1, 1)
		}},
		{"of two UDP ports for one endpoint one is discarded", func(w *world) {
			w.must(k, clientA, none)
			w.must(udp(alice, 5001, server, 54), clientA, none)
			w.flows[2].port = 5000
			w.flows[2].publish(external)
			w.attach()
			kept(w, 1, 1)
		}},
		{"of two clients on one endpoint one is discarded", func(w *world) {
			w.must(k, clientA, none)
			w.must(udp(alice, 5000, server, 54), clientA, none)
			w.flows[2].slot = 2
			w.flows[2].publish(external)
			w.attach()
			kept(w, 1, 1)
		}},
		{"another owner's entries are discarded", func(w *world) {
			w.must(k, clientA, none)
			w.opt.Owners, w.opt.Owner = 2, 1
			w.attach()
			kept(w, 0, 1)
		}},
		{"ports outside the range are discarded", func(w *world) {
			ext := w.must(k, clientA, none)
			w.opt.PortLow, w.opt.PortHigh = ext.Port+1, ext.Port+1
			w.attach()
			kept(w, 0, 1)
		}},
		{"with another external address nothing goes on", func(w *world) {
			w.must(k, clientA, none)
			w.opt.Externals = []uint32{another}
			w.attach()
			kept(w, 0, 1)
			w.opt.Externals = []uint32{external}
			w.attach()
			kept(w, 0, 0)
		}},
		{"a torn count of entries hides none", func(w *world) {
			w.must(k, clientA, none)
			w.header.used = 1 << 31
			w.attach()
			kept(w, 1, 0)
			w.must(udp(alice, 1, server, 1), clientA, none)
		}},
		{"a last-seen or a rest in the future counts as now", func(w *world) {
			ext := w.must(k, clientA, none)
			w.flows[1].seen = 1 << 31
			w.rest[0][1][ext.Port] = 1 << 31
			w.rest[0][1][ext.Port^1] = 1 << 31
			w.attach()
			w.wait(302 * time.Second)
			w.want(w.in(UDP, ext, server, 53, none), Resting)
			w.want(w.in(UDP, Endpoint{external, ext.Port ^ 1}, server, 53, none), NoMapping)
		}},
		{"another size or version is refused, and left alone", func(w *world) {
			w.must(k, clientA, none)
			for _, field := range []int{0, 4, 8, 12} {
				w.mem[field]++
				if _, err := Attach(w.mem, w.opt, w.now); !errors.Is(err, ErrLayout) {
					w.t.Errorf("header octet %d: %v", field, err)
				}
				w.mem[field]--
			}
			w.attach()
			kept(w, 1, 0)
		}},
		{"options that cannot work are refused", func(w *world) {
			for _, change := range []func(*Options){
				func(o *Options) { o.Owner = 1 },
				func(o *Options) { o.Owners = -1 },
				func(o *Options) { o.Owners = 257 },
				func(o *Options) { o.PortLow, o.PortHigh = 2000, 1999 },
				func(o *Options) { o.PortLow, o.PortHigh, o.Owners = 2000, 2001, 3 },
				func(o *Options) { o.MaxFlows = -1 },
				func(o *Options) { o.MaxFlows = maxFlows + 1 },
				func(o *Options) { o.MaxFlows = 1025 },
				func(o *Options) { o.FlowsPerClient = -1 },
				func(o *Options) { o.MaxClients = -1 },
				func(o *Options) { o.UDP = -1 },
				func(o *Options) { o.PortRest = 1 << 62 },
				func(o *Options) { o.Externals = []uint32{external, 0} },
				func(o *Options) { o.Externals = []uint32{external, another, external} },
				func(o *Options) { o.Externals = make([]uint32, MaxExternals+1) },
			} {
				opt := w.opt
				change(&opt)
				if _, err := Attach(w.mem, opt, w.now); err == nil {
					w.t.Errorf("%+v accepted", opt)
				}
			}
			if _, err := Attach(make([]byte, len(w.mem)+1)[1:], w.opt, w.now); err == nil {
				w.t.Error("odd memory accepted")
			}
			if _, err := Attach(nil, w.opt, w.now); err == nil {
				w.t.Error("no memory accepted")
			}
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(newWorld(t, nil)) })
	}
}

func TestDefaultSizeStaysUntouched(t *testing.T) {
	mem := make([]byte, Layout(262144))
	table, err := Attach(mem, Options{Externals: []uint32{external}, Seed: [32]byte{1}}, second)
	if err != nil {
		t.Fatal(err)
	}
	table.Out(udp(alice, 1, server, 1), clientA, none, second)
	for at := headerSize + restSize/MaxExternals; at < headerSize+restSize; at++ {
		if mem[at] != 0 {
			t.Fatalf("octet %d, of an address that is none, written", at)
		}
	}
	for at := headerSize + restSize + 2*flowSize; at < len(mem); at++ {
		if mem[at] != 0 {
			t.Fatalf("octet %d written", at)
		}
	}
}

// FuzzAttach puts anything into the memory of a small table: Attach and what
// follows must survive it, and agree with themselves.
func FuzzAttach(f *testing.F) {
	opt := Options{Externals: []uint32{external, another}, MaxFlows: 8, MaxClients: 3, PortLow: 4000, PortHigh: 4007, Seed: [32]byte{3}}
	f.Add([]byte{}, true)
	f.Add(make([]byte, 9*flowSize), true)
	w := newWorld(f, func(o *Options) { *o = opt })
	for i := range uint16(3) {
		w.must(udp(alice, i, server, 1), clientA, none)
		w.must(tcp(alice, i, server, 1), clientB, Segment{Flags: SYN})
	}
	seed := append([]byte{}, w.mem[headerSize+restSize:]...)
	f.Add(seed, true)
	f.Add(seed, false)
	for i := range 8 {
		bent := append([]byte{}, seed...)
		copy(bent[(i+1)*flowSize+16:], seed[flowSize+16:flowSize+32])
		f.Add(bent, true)
	}
	mem := make([]byte, Layout(opt.MaxFlows))
	f.Fuzz(func(t *testing.T, entries []byte, sealed bool) {
		clear(mem)
		copy(mem[headerSize+restSize:], entries)
		for i, v := range []uint32{layoutMagic, layoutVersion, flowSize, 8, 8} {
			binary.NativeEndian.PutUint32(mem[4*i:], v)
		}
		for i, v := range []uint32{external, third, another, external} { // one is gone, one is torn
			binary.NativeEndian.PutUint32(mem[headerSize/2+4*i:], v)
		}
		if len(entries) > 64 {
			copy(mem[headerSize+4*4000:headerSize+4*4008], entries) // rests of TCP ports
		}
		w := &world{t: t, opt: opt, mem: mem, now: 1000 * second}
		if sealed { // past the checksum, so that contradictions are seen
			var raw Table
			if err := raw.overlay(mem, 8); err != nil {
				t.Fatal(err)
			}
			for i := range raw.flows[1:] {
				f := &raw.flows[i+1]
				f.publish(raw.header.externals[f.place%MaxExternals])
			}
		}
		w.attach()
		kept, _ := w.Recovered()
		if _, flows := w.Counts(); flows != kept {
			t.Fatalf("%d flows, kept %d", flows, kept)
		}
		for i := range w.flows[1:] {
			g := w.flows[i+1]
			if g.commit == 0 {
				continue
			}
			if ext, v := w.OutError(Tuple{g.proto, g.addr, g.port, g.remote, g.remotePort}); v == Translated && ext.Port != g.ext {
				t.Fatalf("flow %d: port %d, not %d", i+1, ext.Port, g.ext)
			}
			ext := Endpoint{w.live[g.place], g.ext}
			w.in(g.proto, ext, g.remote, g.remotePort, Segment{Flags: FIN | ACK, Len: 1})
			w.in(g.proto, ext, g.remote, g.remotePort+1, Segment{Flags: SYN})
		}
		w.SetExternals([]uint32{another, third})
		for i := range uint16(12) {
			w.out(udp(bob, i, server, 1), clientB, none)
			w.out(tcp(bob, i, server, 1+i), clientB, Segment{Flags: SYN})
		}
		w.Drop(clientB)
		w.wait(10000 * time.Second)
		if m, flows := w.Counts(); m != 0 || flows != 0 {
			t.Fatalf("%d mappings, %d flows are left", m, flows)
		}
		w.wait(200 * time.Second)
		allFree(t, w.Table, 8)
	})
}
