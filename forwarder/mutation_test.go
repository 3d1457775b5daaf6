package forwarder

import (
	"encoding/binary"
	"runtime"
	"testing"

	"gatewayd/forwarder/clients"
)

// field is a header field: the bits of mask in size bytes at an offset of the
// frame, virtio header included.
type field struct {
	name     string
	at, size int
	mask     uint64
	little   bool
}

func (f field) word(raw []byte) []byte { return raw[f.at : f.at+f.size] }

func (f field) order(b []byte) (v uint64) {
	for i := range b {
		if j := i; f.little {
			j = len(b) - 1 - i
			v = v<<8 | uint64(b[j])
		} else {
			v = v<<8 | uint64(b[j])
		}
	}
	return v
}

// set returns the frame with v in the field.
func (f field) set(raw []byte, v uint64) []byte {
	raw = append([]byte(nil), raw...)
	b := f.word(raw)
	whole := f.order(b)&^f.mask | v&f.mask
	for i := range b {
		shift := 8 * (len(b) - 1 - i)
		if f.little {
			shift = 8 * i
		}
		b[i] = byte(whole >> shift)
	}
	return raw
}

// values are 0, the most, and one less and one more than it is.
func (f field) values(raw []byte) []uint64 {
	v, one := f.order(f.word(raw)), f.mask&-f.mask
	return []uint64{0, f.mask, v - one, v + one}
}

func bytewide(name string, at int) field { return field{name, at, 1, 0xff, false} }
func wide(name string, at int) field     { return field{name, at, 2, 0xffff, false} }
func long(name string, at int) field     { return field{name, at, 4, 0xffffffff, false} }
func someBits(name string, at, size int, mask uint64) field {
	return field{name, at, size, mask, false}
}

const l2, l3, l4 = 10, 24, 44 // of a frame without IP options

var (
	virtioFields = []field{
		bytewide("flags", 0), bytewide("gso_type", 1), {"hdr_len", 2, 2, 0xffff, true}, {"gso_size", 4, 2, 0xffff, true},
		{"csum_start", 6, 2, 0xffff, true}, {"csum_offset", 8, 2, 0xffff, true},
	}
	ethernetFields = []field{
		wide("destination's first octets", l2), long("destination's last octets", l2+2),
		wide("source's first octets", l2+6), long("source's last octets", l2+8), wide("EtherType", l2+12),
	}
	arpFields = []field{
		wide("hrd", l3), wide("pro", l3+2), bytewide("hln", l3+4), bytewide("pln", l3+5), wide("op", l3+6), wide("sha first", l3+8),
		long("sha last", l3+10), long("spa", l3+14), wide("tha first", l3+18), long("tha last", l3+20), long("tpa", l3+24),
	}
)

func ipFields(at int) []field {
	return []field{
		someBits("version", at, 1, 0xf0), someBits("IHL", at, 1, 0x0f), bytewide("TOS", at+1), wide("total length", at+2), wide("id", at+4),
		someBits("flags", at+6, 1, 0xe0), someBits("fragment offset", at+6, 2, 0x1fff), bytewide("TTL", at+8), bytewide("protocol", at+9),
		wide("checksum", at+10), long("source", at+12), long("destination", at+16),
	}
}

func tcpFields(at int) []field {
	return []field{
		wide("source port", at), wide("destination port", at+2), long("sequence", at+4), long("acknowledgement", at+8),
		someBits("data offset", at+12, 1, 0xf0), someBits("reserved", at+12, 1, 0x0f), bytewide("flags", at+13), wide("window", at+14),
		wide("checksum", at+16), wide("urgent", at+18),
	}
}

func udpFields(at int) []field {
	return []field{wide("source port", at), wide("destination port", at+2), wide("length", at+4), wide("checksum", at+6)}
}

func icmpFields(at int) []field {
	return []field{bytewide("type", at), bytewide("code", at+1), wide("checksum", at+2), wide("id", at+4), wide("sequence or MTU", at+6)}
}

func optionFields(at, n int) (all []field) {
	for i := range n {
		all = append(all, bytewide("option octet", at+i))
	}
	return all
}

// checksummed puts the IPv4 checksum right.
func checksummed(raw []byte) []byte {
	if len(raw) < l4 || raw[22] != 8 || raw[23] != 0 {
		return raw
	}
	raw[34], raw[35] = 0, 0
	sum := ^naiveSum(raw[l3:min(len(raw), l3+max(int(raw[l3]&15)*4, 20))])
	raw[34], raw[35] = byte(sum>>8), byte(sum)
	return raw
}

// withOptions puts IP options in front of a frame's layer 4.
func withOptions(raw []byte, options ...byte) []byte {
	raw = append(append(append([]byte(nil), raw[:l4]...), options...), raw[l4:]...)
	raw[l3] += byte(len(options) / 4)
	binary.BigEndian.PutUint16(raw[l3+2:], uint16(len(raw)-l3))
	return checksummed(raw)
}

// bases are the frames to mutate of one side: w is the sender.
func bases(w flow) map[string]struct {
	raw    []byte
	fields [][]field
} {
	type base = struct {
		raw    []byte
		fields [][]field
	}
	quoted := back(&seen{ip: w.ip(17), srcPort: w.srcPort, dstPort: w.dstPort})
	ip, pieces := ipFields(l3), fragmentsOf(w.udp(3000), 1480)
	all := map[string]base{
		"UDP":             {w.udp(30), [][]field{ip, udpFields(l4)}},
		"TCP":             {w.tcp(30), [][]field{ip, tcpFields(l4)}},
		"SYN":             {w.syn(false, 1460), [][]field{ip, tcpFields(l4), optionFields(l4+20, 4)}},
		"echo":            {w.echo(true, 30), [][]field{ip, icmpFields(l4)}},
		"ICMP error":      {w.icmpError(3, 4, 1000, quoted.udp(20)[l3:]), [][]field{ip, icmpFields(l4), ipFields(l4 + 8), udpFields(l4 + 28)}},
		"TCP ICMP error":  {w.icmpError(11, 0, 0, quoted.tcp(20)[l3:]), [][]field{icmpFields(l4), ipFields(l4 + 8), tcpFields(l4 + 28)}},
		"options":         {withOptions(w.udp(30), 7, 7, 4, 0, 0, 0, 0, 0), [][]field{ip, optionFields(l4, 8), udpFields(l4 + 8)}},
		"source route":    {withOptions(w.udp(30), 131, 7, 4, 198, 51, 100, 1, 0), [][]field{ip, optionFields(l4, 8)}},
		"first fragment":  {pieces[0], [][]field{ip, udpFields(l4)}},
		"second fragment": {pieces[1], [][]field{ip}},
		"TCP super":       {w.tcpSuper(9000, 1400), [][]field{ip, tcpFields(l4)}},
		"UDP super":       {w.udpSuper(9000, 1400), [][]field{ip, udpFields(l4)}},
		"ARP": {arp{from: w.srcMAC, to: broadcast, op: 1, mac: w.srcMAC, ip: w.src, target: lanIP}.raw(),
			[][]field{arpFields}},
	}
	return all
}

func TestNoMutatedFrameHarmsAnybodyElse(t *testing.T) {
	const elsewhere = 0xc0000232 // bob's far end, whom nobody else speaks to
	b := online(t, free())
	b.bind(bob, bobMAC, bobIP)
	b.grant(bob, free())
	victim := bobUp
	victim.dst, victim.srcPort, victim.dstPort = elsewhere, 7777, 4444
	b.in(clients.LAN, aliceUp.udp(10))
	alices := back(b.one(clients.WAN))
	b.in(clients.LAN, victim.udp(10))
	bobs := back(b.one(clients.WAN))
	expected := uint64(38)
	mine := func(port int) (n int) {
		b.Helper()
		for _, raw := range b.take(port) {
			if isARP(raw) || len(raw) < l4+8 || raw[l3+9] != 17 {
				continue
			}
			if p := look(b, raw)[0]; p.udp != nil && len(p.payload) == 17 && be32(p.ip.SrcIP.To4()) == map[int]uint32{clients.WAN: wanIP, clients.LAN: elsewhere}[port] {
				n++
			}
		}
		return n
	}
	offered, tried, every := 0, 0, 1
	if testing.Short() {
		every = 10
	}
	try := func(what string, port int, raw []byte) {
		t.Helper()
		if offered++; offered%every != 0 {
			return
		}
		tried++
		b.offer(port, raw)
		b.round()
		for p := range b.ends {
			b.take(p)
		}
		b.offer(clients.LAN, victim.udp(17))
		b.offer(clients.WAN, bobs.udp(17))
		b.round()
		if up, down := mine(clients.WAN), mine(clients.LAN); up != 1 || down != 1 {
			t.Fatalf("%s: %d of the victim's packets passed up and %d down, want 1 and 1: %x: %v", what, up, down, raw, b.allDrops())
		}
		expected += 2 * 45
		if got := total(b.use(bob, 1)); got != expected {
			t.Fatalf("%s: the victim is billed %d bytes, want %d: %x", what, got, expected, raw)
		}
		if tried%64 == 0 {
			b.pass(1e8)
			b.in(clients.WAN, arp{from: routerMAC, to: wanMAC, op: 2, mac: routerMAC, ip: routerIP, targetMAC: wanMAC, target: wanIP}.raw())
		}
	}
	var before, after runtime.MemStats
	matrix := func() {
		for port, w := range map[int]flow{clients.LAN: aliceUp, clients.WAN: alices, clients.Host: boxUp} {
			for name, base := range bases(w) {
				for _, fields := range append(base.fields, virtioFields, ethernetFields) {
					for _, f := range fields {
						for _, v := range f.values(base.raw) {
							raw := f.set(base.raw, v)
							try(name+": "+f.name, port, append([]byte(nil), raw...))
							try(name+": "+f.name+" with the right checksum", port, checksummed(raw))
						}
					}
				}
				for n := 0; n < len(base.raw) && n < 110; n++ {
					try(name+" cut short", port, base.raw[:n])
				}
			}
		}
	}
	matrix()
	for range 2100 { // the pipes' own buffers have their largest size then
		for port := range b.ends {
			long := [][]byte{make([]byte, 10000)}
			for _, end := range b.everyEnd(port) {
				_ = end.Send(long, make([]bool, 1))
			}
			b.round()
			for _, f := range b.workers() {
				_ = f.links[port].Send(long, make([]bool, 1))
			}
			b.take(port)
		}
		b.in(clients.LAN, aliceUp.udpSuper(9000, 1400))
		b.in(clients.WAN, alices.udpSuper(9000, 1400))
		b.take(clients.WAN)
		b.take(clients.LAN)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	first := tried
	matrix()
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d frames; %d bytes more in use after the second %d", tried, int64(after.HeapAlloc-before.HeapAlloc), tried-first)
	if after.HeapAlloc > before.HeapAlloc+1<<20 {
		t.Errorf("%d bytes more are in use", after.HeapAlloc-before.HeapAlloc)
	}
}
