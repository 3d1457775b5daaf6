package forwarder

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// tooBigSaid is what a frame says about one that was too big.
type tooBigSaid struct {
	from, to string
	mtu      int
	quoted   int // bytes
}

// readTooBig reads an answer, whose checksums have to be right, sent to alice's or the router's MAC.
func readTooBig(t testing.TB, raw, about []byte) (said tooBigSaid) {
	t.Helper()
	var p packet.Packet
	if r := p.Decode(bytes.Clone(raw)); r != packet.Kept || !p.ValidChecksum() {
		t.Fatalf("%v: %x", r, raw)
	}
	if p.SrcMAC != lanMAC || p.DstMAC != packet.MAC(about[packet.VirtioLen+6:]) {
		t.Errorf("from %x to %x", p.SrcMAC, p.DstMAC)
	}
	g := gopacket.NewPacket(p.Raw[p.L3:], map[uint8]gopacket.Decoder{4: layers.LayerTypeIPv4, 6: layers.LayerTypeIPv6}[p.Version], gopacket.Default)
	said.from, said.to = g.NetworkLayer().NetworkFlow().Src().String(), g.NetworkLayer().NetworkFlow().Dst().String()
	body := p.Raw[p.L4:]
	switch {
	case p.Version == 4 && body[0] == 3 && body[1] == 4:
		said.mtu = int(binary.BigEndian.Uint16(body[6:]))
	case p.Version == 6 && body[0] == 2 && body[1] == 0:
		said.mtu = int(binary.BigEndian.Uint32(body[4:]))
	default:
		t.Fatalf("type %d code %d", body[0], body[1])
	}
	var was packet.Packet
	was.Decode(bytes.Clone(about))
	if was.VLAN != p.VLAN || was.Tagged != p.Tagged {
		t.Errorf("in VLAN %#x, want %#x", p.VLAN, was.VLAN)
	}
	if quote := body[8:]; !bytes.HasPrefix(was.Raw[was.L3:], quote) {
		t.Errorf("quotes %x", quote)
	} else {
		said.quoted = len(quote)
	}
	return said
}

func TestABridgeMindsTheMTU(t *testing.T) {
	whole := func(w flow) flow { w.dont = true; return w }
	service := func(raw []byte) []byte { raw[22], raw[23] = 0x88, 0xa8; return raw }
	const a6, s6 = "2001:db8::a00:5", "2001:db8::c633:6401"
	rows := []struct {
		name     string
		lan, wan int
		from     int
		raw      []byte
		want     tooBigSaid // zero: it passes
	}{
		{"as long as the WAN takes", 1500, 1400, clients.LAN, whole(across).udp(1372), tooBigSaid{}},
		{"longer, not to be fragmented", 1500, 1400, clients.LAN, whole(across).udp(1373), tooBigSaid{"10.0.0.1", "10.0.0.5", 1400, 548}},
		{"longer than the LAN takes", 1400, 1500, clients.WAN, whole(home).udp(1373), tooBigSaid{"10.0.0.1", "198.51.100.1", 1400, 548}},
		{"longer, in a VLAN", 1500, 1400, clients.LAN, tagged(whole(across).udp(1373), 0x6007), tooBigSaid{"10.0.0.1", "10.0.0.5", 1400, 548}},
		{"a VLAN's tag is not counted", 1500, 1400, clients.LAN, tagged(whole(across).udp(1372), 7), tooBigSaid{}},
		{"a service tag is", 1500, 1400, clients.LAN, service(tagged(whole(across).udp(1372), 7)), tooBigSaid{"10.0.0.1", "10.0.0.5", 1396, 548}},
		{"segments that fit", 1500, 1400, clients.LAN, whole(across).tcpSuper(13600, 1360), tooBigSaid{}},
		{"segments that do not", 1500, 1400, clients.LAN, whole(across).tcpSuper(13600, 1361), tooBigSaid{"10.0.0.1", "10.0.0.5", 1400, 548}},
		{"IPv6 as long as the WAN takes", 1500, 1400, clients.LAN, across.six(17, 1352), tooBigSaid{}},
		{"IPv6 that is longer", 1500, 1400, clients.LAN, across.six(17, 1353), tooBigSaid{s6, a6, 1400, 1232}},
		{"IPv6 longer than the LAN takes", 1400, 1500, clients.WAN, home.six(17, 1353), tooBigSaid{a6, s6, 1400, 1232}},
		{"IPv6 in a VLAN", 1500, 1400, clients.LAN, tagged(across.six(17, 1353), 7), tooBigSaid{s6, a6, 1400, 1232}},
		{"IPv6 segments that do not fit", 1500, 1400, clients.LAN, across.superSix(6, 13600, 1341), tooBigSaid{s6, a6, 1400, 1232}},
		{"less than IPv6 has", 1500, 1000, clients.LAN, across.six(17, 1000), tooBigSaid{s6, a6, 1280, 1048}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			b.mtus(row.lan, row.wan)
			b.in(row.from, bytes.Clone(row.raw))
			if row.want == (tooBigSaid{}) {
				b.onlyFrame(1 - row.from)
				b.carried()
				return
			}
			if got := readTooBig(t, b.onlyFrame(row.from), row.raw); got != row.want {
				t.Errorf("%+v, want %+v", got, row.want)
			}
			var p packet.Packet
			p.Decode(bytes.Clone(row.raw))
			b.dropped(TooBig, uint64(p.Segments))
			b.nothing()
			b.carried()
		})
	}
}

// Nobody is told of what goes to many, or of an error.
func TestABridgeIsSilentAboutWhatIsForMany(t *testing.T) {
	group := across
	group.dstMAC, group.dst, group.dont = 0x01005e0000fb, 0xe00000fb, true
	group6 := across.six(17, 1400)
	copy(group6[packet.VirtioLen:], []byte{0x33, 0x33, 0, 0, 0, 0xfb})
	group6[l3+24] = 0xff
	about := across
	about.dont = true
	b := aliceBridge(t)
	b.mtus(1500, 1300)
	b.in(clients.LAN, group.udp(1400), group6, about.icmpError(3, 1, 0, text(1400)))
	b.dropped(TooBig, 3)
	b.nothing()
}

func TestABridgeFragmentsWhatMayBe(t *testing.T) {
	for _, raw := range [][]byte{across.udp(1400), tagged(across.udp(1400), 0x6007)} {
		b := aliceBridge(t)
		b.mtus(1500, 600)
		b.in(clients.LAN, bytes.Clone(raw))
		var was packet.Packet
		was.Decode(bytes.Clone(raw))
		var body []byte
		sum := 0
		for _, piece := range b.frames(clients.WAN) {
			var p packet.Packet
			if r := p.Decode(piece); r != packet.Kept || p.Len > 600 || int(p.FragOffset) != len(body) || p.VLAN != was.VLAN || p.DstMAC != routerMAC || p.SrcMAC != aliceMAC {
				t.Fatalf("%v, %d bytes at %d of VLAN %#x", r, p.Len, p.FragOffset, p.VLAN)
			}
			body = append(body, p.Raw[p.L4:]...)
			sum += p.Len
		}
		if !bytes.Equal(body, was.Raw[was.L4:]) {
			t.Error("the payload changed")
		}
		if u := b.use(alice, 1); u.Up != uint64(sum) {
			t.Errorf("billed %d bytes of %d", u.Up, sum)
		}
		b.carried()
	}
}

func TestABridgeClampsTheSegmentSize(t *testing.T) {
	syn6 := func(w flow, mss uint16) []byte {
		h := w.tcpHeader()
		h.SYN = true
		h.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: binary.BigEndian.AppendUint16(nil, mss)}}
		raw := w.six(6, 0)
		eth, ip := w.ethernet(), new(layers.IPv6)
		eth.EthernetType = layers.EthernetTypeIPv6
		if err := ip.DecodeFromBytes(raw[l3:], gopacket.NilDecodeFeedback); err != nil {
			t.Fatal(err)
		}
		return serialize(eth, ip, h)
	}
	rows := []struct {
		name      string
		make      func(flow, uint16) []byte
		mss, want uint16
	}{
		{"more than passes", func(w flow, n uint16) []byte { return w.syn(false, n) }, 1460, 1360},
		{"as much as passes", func(w flow, n uint16) []byte { return w.syn(true, n) }, 1360, 1360},
		{"less", func(w flow, n uint16) []byte { return w.syn(false, n) }, 536, 536},
		{"more, in a VLAN", func(w flow, n uint16) []byte { return tagged(w.syn(false, n), 7) }, 1460, 1360},
		{"more over IPv6", syn6, 1440, 1340},
		{"as much over IPv6", syn6, 1340, 1340},
		{"more over IPv6 in a VLAN", func(w flow, n uint16) []byte { return tagged(syn6(w, n), 7) }, 1440, 1340},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := aliceBridge(t)
			b.mtus(1500, 1400)
			b.in(clients.LAN, row.make(across, row.mss))
			b.in(clients.WAN, row.make(home, row.mss))
			for _, port := range []int{clients.LAN, clients.WAN} {
				var p packet.Packet
				raw := b.onlyFrame(port)
				if r := p.Decode(raw); r != packet.Kept || !p.ValidChecksum() {
					t.Fatalf("%v: %x", r, raw)
				}
				if got := binary.BigEndian.Uint16(raw[p.L4+22:]); got != row.want {
					t.Errorf("port %d: %d, want %d", port, got, row.want)
				}
			}
		})
	}
}
