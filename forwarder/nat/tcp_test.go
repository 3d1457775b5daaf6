package nat

import (
	"testing"
	"time"
)

// call is a TCP connection as its two ends see it; each method sends a segment.
type call struct {
	*world
	k        Tuple
	c        Client
	ext      Endpoint
	cs, ss   uint32 // next sequence number of client and server
	cw, sw   uint16 // windows
	cwS, swS uint8
}

func (w *world) call(port uint16) *call {
	return &call{world: w, k: tcp(alice, port, server, 443), c: clientA, cs: 0xfffffff0, ss: 70000, cw: 1000, sw: 2000, cwS: 7, swS: 8}
}

func (c *call) send(s Segment) Verdict {
	ext, v := c.out(c.k, c.c, s)
	if v == Translated {
		c.ext = ext
	}
	return v
}
func (c *call) answer(s Segment) Verdict { return c.in(TCP, c.ext, c.k.Remote, c.k.RemotePort, s) }
func (c *call) syn() {
	c.t.Helper()
	c.want(c.send(Segment{Flags: SYN, Seq: c.cs, Window: c.cw, WScale: c.cwS}), Translated)
	c.cs++
}
func (c *call) synAck() {
	c.want(c.answer(Segment{Flags: SYN | ACK, Seq: c.ss, Ack: c.cs, Window: c.sw, WScale: c.swS}), Translated)
	c.ss++
}
func (c *call) data(n int) {
	c.want(c.send(Segment{Flags: ACK, Seq: c.cs, Ack: c.ss, Window: c.cw, Len: n}), Translated)
	c.cs += uint32(n)
}
func (c *call) reply(n int) {
	c.want(c.answer(Segment{Flags: ACK, Seq: c.ss, Ack: c.cs, Window: c.sw, Len: n}), Translated)
	c.ss += uint32(n)
}
func (c *call) fin() {
	c.want(c.send(Segment{Flags: FIN | ACK, Seq: c.cs, Ack: c.ss, Window: c.cw}), Translated)
	c.cs++
}
func (c *call) finBack() {
	c.want(c.answer(Segment{Flags: FIN | ACK, Seq: c.ss, Ack: c.cs, Window: c.sw}), Translated)
	c.ss++
}
func (c *call) connect() { c.syn(); c.synAck(); c.data(0) }

// lives checks that the flow lasts d after its last refresh, and 2 s more not.
func (c *call) lives(d time.Duration) {
	c.t.Helper()
	alive := func() bool {
		_, v := c.OutError(c.k)
		return v == Translated
	}
	c.wait(d)
	if !alive() {
		c.t.Errorf("gone within %v", d)
		return
	}
	c.wait(2 * time.Second)
	if alive() {
		c.t.Errorf("still there %v later", d)
	}
}

func TestTCP(t *testing.T) {
	const idle, short = 7440 * time.Second, 240 * time.Second
	rows := []struct {
		name string
		run  func(c *call)
	}{
		{"RFC 5382 REQ-5 a SYN alone lasts 240 s", func(c *call) { c.syn(); c.lives(short) }},
		{"RFC 5382 REQ-5 a SYN and its answer alone last 240 s", func(c *call) { c.syn(); c.synAck(); c.lives(short) }},
		{"an acknowledgement of something else does not establish", func(c *call) {
			c.syn()
			c.synAck()
			c.want(c.send(Segment{Flags: ACK, Seq: c.cs, Ack: c.ss - 1, Window: c.cw}), Translated)
			c.lives(short)
		}},
		{"RFC 5382 REQ-5 an established connection lasts 7440 s", func(c *call) { c.connect(); c.lives(idle) }},
		{"RFC 5382 REQ-5 and longer when the client sends", func(c *call) {
			c.connect()
			c.wait(7000 * time.Second)
			c.data(10)
			c.lives(idle)
		}},
		{"RFC 5382 REQ-5 after one FIN it is still established", func(c *call) { c.connect(); c.fin(); c.reply(100); c.lives(idle) }},
		{"RFC 5382 REQ-5 after both FINs it lasts 240 s", func(c *call) { c.connect(); c.fin(); c.finBack(); c.data(0); c.lives(short) }},
		{"RFC 5382 REQ-5 after both FINs, the server's first, it lasts 240 s", func(c *call) { c.connect(); c.finBack(); c.fin(); c.lives(short) }},
		{"RFC 5382 REQ-2 a simultaneous open is established", func(c *call) {
			c.syn()
			c.want(c.answer(Segment{Flags: SYN, Seq: c.ss, Window: c.sw, WScale: c.swS}), Translated)
			c.ss++
			c.send(Segment{Flags: SYN | ACK, Seq: c.cs - 1, Ack: c.ss, Window: c.cw, WScale: c.cwS})
			c.reply(0)
			c.lives(idle)
		}},
		{"RFC 5382 REQ-3 a SYN from an allowed address on another port opens and is established by the answer", func(c *call) {
			c.connect()
			c.k.RemotePort = 20
			c.want(c.answer(Segment{Flags: SYN, Seq: 900, WScale: NoScale}), Translated)
			c.want(c.send(Segment{Flags: SYN | ACK, Seq: 44, Ack: 901, Window: 5000, WScale: NoScale}), Translated)
			c.want(c.answer(Segment{Flags: ACK, Seq: 901, Ack: 45}), Translated)
			c.lives(idle)
		}},
		{"RFC 5382 REQ-3 a SYN from another address is filtered", func(c *call) {
			c.connect()
			c.want(c.in(TCP, c.ext, other, 443, Segment{Flags: SYN}), Filtered)
		}},
		{"only a bare SYN opens from outside", func(c *call) {
			c.connect()
			for _, flags := range []uint8{0, ACK, SYN | ACK, SYN | RST, SYN | FIN, RST, FIN} {
				c.want(c.in(TCP, c.ext, server, 20, Segment{Flags: flags}), Filtered)
			}
		}},
		{"RFC 7857 section 2.2 an RST in the window starts the short timer", func(c *call) {
			c.connect()
			c.reply(500)
			c.data(0)
			c.want(c.answer(Segment{Flags: RST, Seq: c.ss}), Translated)
			c.lives(short)
		}},
		{"an RST at the window's right edge is the last one in", func(c *call) {
			c.connect()
			c.answer(Segment{Flags: RST, Seq: c.ss + 1000<<7 - 1})
			c.lives(short)
		}},
		{"RFC 7857 section 2.2 an RST out of the window changes nothing", func(c *call) {
			c.connect()
			c.wait(100 * time.Second)
			c.answer(Segment{Flags: RST, Seq: c.ss + 1000<<7})
			c.answer(Segment{Flags: RST, Seq: c.ss - 1})
			c.lives(idle - 100*time.Second)
		}},
		{"the client's own RST out of the server's window changes nothing", func(c *call) {
			c.connect()
			c.wait(100 * time.Second)
			c.send(Segment{Flags: RST, Seq: c.cs + 2000<<8})
			c.send(Segment{Flags: RST, Seq: c.cs - 1})
			c.lives(idle - 100*time.Second)
		}},
		{"the client's own RST in the server's window starts the short timer", func(c *call) {
			c.connect()
			c.send(Segment{Flags: RST | ACK, Seq: c.cs, Ack: c.ss})
			c.lives(short)
		}},
		{"RFC 6146 section 3.5.2.2 a connection that goes on after an RST is established again", func(c *call) {
			c.connect()
			c.answer(Segment{Flags: RST, Seq: c.ss})
			c.reply(10)
			c.data(10)
			c.lives(idle)
		}},
		{"a guessed data segment does not widen the window for a guessed RST", func(c *call) {
			c.connect()
			c.answer(Segment{Flags: ACK, Seq: c.ss + 1<<30, Ack: c.cs + 1<<30, Window: 65535, Len: 1000})
			c.answer(Segment{Flags: RST, Seq: c.ss + 1<<30 + 1000})
			c.lives(idle)
		}},
		{"a guessed FIN closes nothing", func(c *call) {
			c.connect()
			c.answer(Segment{Flags: FIN | ACK, Seq: c.ss + 1<<30, Ack: c.cs})
			c.fin()
			c.lives(idle)
		}},
		{"RFC 9293 a refusal ends what the SYN opened", func(c *call) {
			c.syn()
			c.answer(Segment{Flags: RST | ACK, Seq: 0, Ack: c.cs})
			if c.flows[1].state != reset {
				c.t.Error("not reset")
			}
			c.lives(short)
		}},
		{"a refusal of something else does not", func(c *call) {
			c.syn()
			c.answer(Segment{Flags: RST | ACK, Seq: 0, Ack: c.cs + 1})
			c.answer(Segment{Flags: RST, Seq: 0})
			if c.flows[1].state != opening {
				c.t.Error("reset")
			}
		}},
		{"without a scale option on one side the windows are as they are", func(c *call) {
			c.swS = NoScale
			c.connect()
			c.answer(Segment{Flags: RST, Seq: c.ss + 1000})
			c.lives(idle)
		}},
		{"a SYN sent again takes nothing back", func(c *call) {
			c.connect()
			for range 2 {
				c.send(Segment{Flags: SYN, Seq: 0xfffffff0, Window: c.cw, WScale: c.cwS})
				c.data(500)
			}
			c.lives(idle)
		}},
		{"a new SYN on a closed connection opens the next one", func(c *call) {
			c.connect()
			c.fin()
			c.finBack()
			c.cs, c.ss = 5, 6
			c.connect()
			c.lives(idle)
		}},
		{"a SYN from outside does not restart an established connection", func(c *call) {
			c.connect()
			c.answer(Segment{Flags: SYN, Seq: 1})
			c.answer(Segment{Flags: SYN | ACK, Seq: 1, Ack: c.cs})
			c.lives(idle)
		}},
		{"a SYN from outside restarts a closed one", func(c *call) {
			c.connect()
			c.fin()
			c.finBack()
			c.answer(Segment{Flags: SYN, Seq: 1, WScale: NoScale})
			c.send(Segment{Flags: SYN | ACK, Seq: 10, Ack: 2, WScale: NoScale})
			c.answer(Segment{Flags: ACK, Seq: 2, Ack: 11})
			c.lives(idle)
		}},
		{"data in a SYN and left out of the answer (RFC 7413) is no obstacle", func(c *call) {
			c.want(c.send(Segment{Flags: SYN, Seq: 100, Len: 500, WScale: NoScale}), Translated)
			c.want(c.answer(Segment{Flags: SYN | ACK, Seq: 200, Ack: 101, WScale: NoScale}), Translated)
			c.cs, c.ss = 101, 201
			c.data(0)
			c.lives(idle)
		}},
		{"a stream whose SYN was never seen opens from inside for 240 s", func(c *call) { c.data(100); c.lives(short) }},
		{"and is established by the answer", func(c *call) { c.data(100); c.reply(100); c.lives(idle) }},
		{"and no SYN from outside disturbs it", func(c *call) {
			c.data(100)
			c.answer(Segment{Flags: SYN, Seq: c.ss + 1<<30})
			c.reply(100)
			c.data(100)
			c.lives(idle)
		}},
		{"and closes as others do", func(c *call) { c.data(100); c.reply(100); c.fin(); c.finBack(); c.lives(short) }},
		{"an RST opens nothing", func(c *call) {
			c.want(c.send(Segment{Flags: RST}), NoMapping)
			c.want(c.send(Segment{Flags: RST | ACK}), NoMapping)
		}},
		{"sequence numbers wrap without harm", func(c *call) {
			c.cs, c.ss = 1<<32-2, 1<<31-3
			c.connect()
			for range 20 {
				c.data(60000)
				c.reply(60000)
			}
			c.fin()
			c.finBack()
			c.lives(short)
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(newWorld(t, nil).call(4000)) })
	}
}

func TestTCPPorts(t *testing.T) {
	syn := Segment{Flags: SYN, WScale: NoScale}
	two := func(o *Options) { o.PortLow, o.PortHigh = 3000, 3001 }
	one := func(o *Options) { o.PortLow, o.PortHigh = 3000, 3000 }
	rows := []struct {
		name   string
		change func(*Options)
		run    func(w *world)
	}{
		{"RFC 5382 REQ-1 the mapping is the same for every remote", nil, func(w *world) {
			if w.must(tcp(alice, 1, server, 80), clientA, syn) != w.must(tcp(alice, 1, other, 80), clientA, syn) {
				w.t.Error("two ports")
			}
		}},
		{"once ports are gone one serves several endpoints to different remotes", two, func(w *world) {
			for i := range uint16(20) {
				w.must(tcp(alice, 1+i, server+uint32(i), 80), clientA, syn)
			}
			for i := range uint16(20) {
				k := tcp(alice, 1+i, server+uint32(i), 80)
				ext, _ := w.OutError(k)
				if addr, port, _, v := w.In(TCP, ext, k.Remote, 80, none, w.now); addr != alice || port != k.Port || v != Translated {
					w.t.Error(k, addr, port, v)
				}
			}
		}},
		{"to one remote endpoint a port serves one flow", two, func(w *world) {
			w.must(tcp(alice, 1, server, 80), clientA, syn)
			w.must(tcp(alice, 2, server, 80), clientA, syn)
			_, v := w.out(tcp(alice, 3, server, 80), clientA, syn)
			w.want(v, NoPort)
		}},
		{"an endpoint whose shared port is taken towards a remote gets another port for it", two, func(w *world) {
			w.must(tcp(alice, 1, server, 80), clientA, syn)
			w.must(tcp(alice, 2, server, 81), clientA, syn)
			shared := w.must(tcp(bob, 3, server, 82), clientB, syn)
			victim := uint16(80) // whose flow is on that port
			if ext, _ := w.OutError(tcp(alice, 2, server, 81)); ext == shared {
				victim = 81
			}
			if got := w.must(tcp(bob, 3, server, victim), clientB, syn); got == shared {
				w.t.Error("two flows with one external five-tuple")
			}
		}},
		{"what an endpoint has a flow to lets no second one in by another port of it", two, func(w *world) {
			w.must(tcp(alice, 1, server, 80), clientA, syn)
			w.must(tcp(alice, 2, server, 81), clientA, syn)
			first := w.must(tcp(bob, 3, server, 82), clientB, syn)
			k := tcp(bob, 3, server, 80) // whose external five-tuple on that port is taken
			if ext, _ := w.OutError(tcp(alice, 2, server, 81)); ext == first {
				k.RemotePort = 81
			}
			another := w.must(k, clientB, syn)
			w.Drop(clientA)
			w.want(w.in(TCP, first, server, k.RemotePort, syn), Filtered)
			if ext, v := w.OutError(k); ext != another || v != Translated {
				w.t.Error(ext, v)
			}
			if _, flows := w.Counts(); flows != 2 {
				w.t.Error(flows)
			}
			w.wait(200 * time.Second) // the other runs on, this one …
			w.must(tcp(bob, 3, server, 82), clientB, syn)
			w.now += 100 * second // … has run out by now, and nobody has looked
			w.want(w.in(TCP, first, server, k.RemotePort, syn), Translated)
			if ext, v := w.OutError(k); ext != first || v != Translated {
				w.t.Error(ext, v)
			}
		}},
		{"a shared port lets in no unsolicited SYN", one, func(w *world) {
			ext := w.must(tcp(alice, 1, server, 80), clientA, syn)
			w.want(w.in(TCP, ext, server, 90, syn), Translated)
			w.must(tcp(bob, 1, server, 81), clientB, syn)
			w.want(w.in(TCP, ext, server, 91, syn), Filtered)
		}},
		{"RFC 6888 REQ-8 a port seen closed is free after its transitory timer", one, func(w *world) {
			c := w.call(4000)
			c.connect()
			c.fin()
			c.finBack()
			w.wait(242 * time.Second)
			w.want(c.answer(none), NoMapping)
			w.must(tcp(bob, 1, server, 443), clientB, syn)
		}},
		{"RFC 6888 REQ-8 a port not seen closed rests 120 s more", one, func(w *world) {
			c := w.call(4000)
			c.connect()
			w.wait(7442 * time.Second)
			w.want(c.answer(none), Resting)
			_, v := w.out(tcp(bob, 1, server, 443), clientB, syn)
			w.want(v, NoPort)
			w.wait(121 * time.Second)
			w.must(tcp(bob, 1, server, 443), clientB, syn)
		}},
		{"who leaves a shared port leaves it to the others", one, func(w *world) {
			for _, first := range []bool{true, false} {
				ext := w.must(tcp(alice, 1, server, 80), clientA, syn)
				w.must(tcp(bob, 1, server, 81), clientB, syn)
				gone, stays := clientA, uint16(81)
				if !first {
					gone, stays = clientB, 80
				}
				w.Drop(gone)
				w.want(w.in(TCP, ext, server, stays, none), Translated)
				_, v := w.out(tcp(bob+1, 1, server, stays), Client{3, 1}, syn)
				w.want(v, NoPort)
				w.want(w.in(TCP, ext, server, 90, syn), Translated) // it has the port to itself again
				w.wait(242 * time.Second)                           // run out
				w.wait(121 * time.Second)                           // and rested
			}
		}},
		{"a shared port rests when any who left it was not seen to close", one, func(w *world) {
			c := w.call(4000)
			c.connect()
			w.must(tcp(bob, 1, server, 80), clientB, syn)
			w.Drop(clientB)
			c.fin()
			c.finBack()
			w.wait(242 * time.Second)
			w.want(c.answer(none), Resting)
		}},
		{"ports of TCP and UDP are apart", one, func(w *world) {
			w.must(tcp(alice, 1, server, 80), clientA, syn)
			w.must(udp(alice, 1, server, 80), clientA, syn)
			w.must(Tuple{ICMP, alice, 1, server, 0}, clientA, syn)
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.run(newWorld(t, row.change)) })
	}
}
