package forwarder

import (
	"encoding/binary"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// FuzzRound feeds frames into all three ports of a forwarder in a lively state:
// alice online with little left, bob bound without a grant, a conversation, held
// frames, fragments. Input: per frame a port (its highest bit has the IPv4
// checksum put right), a length, the bytes.
func FuzzRound(f *testing.F) {
	frame := func(port byte, raw []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{port}, uint16(len(raw))), raw...)
	}
	f.Add(frame(0, aliceUp.udp(100)))
	f.Add(frame(0, aliceUp.tcpSuper(3000, 1000)))
	f.Add(frame(0, bobUp.tcp(100)))
	f.Add(frame(0, toBox.echo(true, 10)))
	f.Add(frame(0, aliceUp.syn(false, 1460)))
	f.Add(frame(0, aliceUp.udpSuper(9000, 1200)))
	f.Add(frame(0, fragmentsOf(aliceUp.udp(3000), 1480)[0]))
	f.Add(frame(0, fragmentsOf(aliceUp.udp(3000), 1480)[1]))
	f.Add(frame(0, aliceUp.icmpError(3, 4, 1000, aliceUp.udp(10)[24:])))
	f.Add(frame(0, arp{from: aliceMAC, to: broadcast, op: 1, mac: aliceMAC, ip: aliceIP, target: lanIP}.raw()))
	f.Add(frame(1, arp{from: routerMAC, to: broadcast, op: 2, mac: routerMAC, ip: routerIP + 1, target: wanIP}.raw()))
	f.Add(frame(2, arp{from: lanMAC, to: broadcast, op: 1, mac: lanMAC, ip: lanIP, target: aliceIP}.raw()))
	f.Add(frame(2, boxUp.udp(100)))
	f.Add(frame(2, fromBox.tcp(100)))
	f.Add(frame(0, aliceUp.superSix(6, 3000, 1000)))
	f.Add(frame(1, aliceUp.six(17, 100)))
	f.Add(frame(0, tagged(aliceUp.tcpSuper(3000, 1000), 7)))
	f.Add(frame(0, tagged(tagged(aliceUp.six(17, 100), 7), 8)))
	w := flow{srcMAC: routerMAC, dstMAC: wanMAC, src: serverIP, dst: wanIP, srcPort: 443, dstPort: 2000, ttl: 2}
	f.Add(frame(1, w.udp(100)))
	f.Add(frame(1, w.tcpSuper(3000, 1000)))
	f.Add(append(frame(0x80, aliceUp.udp(100)), frame(0x81, w.udp(100))...))
	f.Add(append(frame(0, aliceUp.udp(1400)), frame(1, w.icmpError(3, 3, 0, w.udp(10)[24:]))...))

	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBench(t, func(c *Config) { c.NATFlows = 64 })
		defer b.close()
		b.mtus(1500, 1000)
		b.bind(bob, bobMAC, bobIP)
		b.bind(alice, aliceMAC, aliceIP)
		slow := bytesOf(9000)
		slow.Up = 10000
		b.grant(alice, slow, bytesOf(100), bytesOf(3000))
		b.in(clients.LAN, aliceUp.udp(10))
		known := back(b.one(clients.WAN))
		waits := aliceUp
		waits.dst = routerIP + 1
		b.in(clients.LAN, waits.udp(10), fragmentsOf(aliceUp.udp(2000), 1480)[0])
		b.delivered(clients.WAN)

		billed := b.table.Header().Counters().Totals.BilledBytes
		for n := 0; len(in) >= 3 && n < link.Batch; n++ {
			port, size := int(in[0]%clients.NumPorts), int(binary.BigEndian.Uint16(in[1:]))
			size = min(size, len(in)-3)
			raw := append([]byte(nil), in[3:3+size]...)
			if in[0]&0x80 != 0 && len(raw) >= 44 {
				raw[34], raw[35] = 0, 0
				sum := ^naiveSum(raw[24:min(len(raw), 24+max(int(raw[24]&15)*4, 20))])
				raw[34], raw[35] = byte(sum>>8), byte(sum)
			}
			in = in[3+size:]
			if port == clients.WAN && len(raw) > 47 && raw[33] == 17 { // let it meet the conversation
				binary.BigEndian.PutUint16(raw[46:], known.dstPort)
			}
			b.in(port, raw)
			for _, raw := range b.take(clients.WAN) {
				if !isARP(raw) && be32(raw[36:]) != wanIP {
					t.Fatalf("untranslated on the WAN: %x", raw)
				}
			}
			b.take(clients.LAN)
			b.take(clients.Host)
		}
		for range 5 {
			b.now += time.Second
			b.round()
		}
		for port := range b.ends {
			b.take(port)
		}
		b.witnessed()
		for seq := uint64(1); seq <= 3; seq++ {
			if u := b.use(alice, seq); total(u) > b.record(alice, seq).ByteLimit.Load() {
				t.Fatalf("grant %d: %+v", seq, u)
			}
		}
		sum := total(b.use(alice, 1)) + total(b.use(alice, 2)) + total(b.use(alice, 3))
		if got := b.table.Header().Counters().Totals.BilledBytes; got < billed || got != sum {
			t.Fatalf("%d billed, the grants say %d", got, sum)
		}
		if b.use(bob, 1).Up != 0 || b.table.Header().Counters().Totals.BilledBytes > 9000+100+3000 {
			t.Fatal("more left than was granted")
		}
	})
}
