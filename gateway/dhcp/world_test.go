package dhcp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

var (
	own      = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	stranger = net.HardwareAddr{2, 0, 0, 0, 0, 9}
	offered  = netip.MustParsePrefix("203.0.113.20/24")
	router   = netip.MustParseAddr("203.0.113.1")
	none     = netip.IPv4Unspecified()
)

// server is a DHCP server on the WAN, or behind a relay there.
type server struct {
	id  netip.Addr
	mac net.HardwareAddr
}

var (
	one = server{netip.MustParseAddr("203.0.113.2"), net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	two = server{netip.MustParseAddr("203.0.113.3"), net.HardwareAddr{2, 0, 0, 0, 0, 3}}
)

// said is a frame that the client sent, read by decoders that are not its own.
type said struct {
	at  time.Duration
	eth layers.Ethernet
	arp *layers.ARP
	ip  layers.IPv4
	dhc *dhcpv4.DHCPv4
}

// String is what was sent in a word or two.
func (s said) String() string {
	switch {
	case s.dhc != nil:
		return s.dhc.MessageType().String()
	case net.IP(s.arp.SourceProtAddress).IsUnspecified():
		return "probe"
	}
	return "announce"
}

// world is a client on a wire, and a clock.
type world struct {
	*testing.T
	client *Client
	now    time.Duration
	sent   []said
	asked  *dhcpv4.DHCPv4 // the last DHCP message
	usable func(*Lease) error

	elsewhere bool // other addresses than the usual one are given, too
}

const start = 1000 * time.Second

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: start, usable: func(*Lease) error { return nil }}
	w.client = New(Options{MAC: own, Send: w.read, Usable: func(l *Lease) error { return w.usable(l) }, Rand: rand.New(rand.NewPCG(1, 2))})
	return w
}

// read takes a frame apart; each has to be whole and to have right checksums.
func (w *world) read(frame []byte) {
	w.Helper()
	p := gopacket.NewPacket(bytes.Clone(frame), layers.LayerTypeEthernet, gopacket.DecodeOptions{DecodeStreamsAsDatagrams: true})
	s := said{at: w.now, eth: *p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)}
	if s.eth.SrcMAC.String() != own.String() {
		w.Errorf("a frame from %v", s.eth.SrcMAC)
	}
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		s.arp = arp
		if target := net.IP(arp.DstProtAddress); !target.Equal(offered.Addr().AsSlice()) && !w.elsewhere || arp.Operation != layers.ARPRequest ||
			!bytes.Equal(arp.SourceHwAddress, own) || !bytes.Equal(s.eth.DstMAC, everybody) {
			w.Errorf("ARP %d of %v about %v to %v", arp.Operation, arp.SourceHwAddress, target, s.eth.DstMAC)
		}
	} else {
		s.ip = *p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		var err error
		if s.dhc, err = dhcpv4.FromBytes(udp.Payload); err != nil {
			w.Errorf("it sent what is no DHCP: %v", err)
		}
		w.asked = s.dhc
		if wrong, err := sums(frame); err != nil || wrong {
			w.Errorf("wrong checksums: %v", err)
		}
		if udp.SrcPort != 68 || udp.DstPort != 67 || len(udp.Payload) < 300 {
			w.Errorf("%d bytes from port %d to %d", len(udp.Payload), udp.SrcPort, udp.DstPort)
		}
	}
	w.sent = append(w.sent, s)
}

// sums has gopacket make the checksums of a datagram anew, and says whether others come out.
func sums(frame []byte) (wrong bool, err error) {
	p := gopacket.NewPacket(bytes.Clone(frame), layers.LayerTypeEthernet, gopacket.Default)
	ip, udp := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4), p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return true, err
	}
	b := gopacket.NewSerializeBuffer()
	err = gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), ip, udp, gopacket.Payload(udp.Payload))
	return !bytes.Equal(b.Bytes(), frame), err
}

// to lets time go by until a moment after the start.
func (w *world) to(after time.Duration) *world {
	w.Helper()
	end := start + after
	for w.client.Next() <= end {
		w.now = max(w.now, w.client.Next())
		w.tick()
	}
	w.now = end
	w.tick()
	return w
}

func (w *world) tick() {
	w.Helper()
	w.client.Tick(w.now)
	if next := w.client.Next(); next <= w.now {
		w.Fatalf("at %v something is due at %v", w.now, next)
	}
	if l, held := w.client.Lease(); held && w.now >= l.End {
		w.Fatalf("at %v the lease that ended at %v is in force", w.now, l.End)
	} else if held && w.client.Next() > l.End {
		w.Fatalf("at %v the end at %v is not due before %v", w.now, l.End, w.client.Next())
	}
}

// next goes on to what is due next.
func (w *world) next() *world {
	w.Helper()
	return w.to(w.client.Next() - start)
}

func (w *world) last() said {
	w.Helper()
	if len(w.sent) == 0 {
		w.Fatal("nothing was sent")
	}
	return w.sent[len(w.sent)-1]
}

// took returns what was sent since it was last called.
func (w *world) took() (all []string) {
	for _, s := range w.sent {
		all = append(all, s.String())
	}
	w.sent = nil
	return all
}

func (w *world) wantSent(what ...string) *world {
	w.Helper()
	if got := w.took(); fmt.Sprint(got) != fmt.Sprint(what) {
		w.Errorf("at %v it sent %v, want %v", w.now, got, what)
	}
	return w
}

func (w *world) want(state State, held bool) *world {
	w.Helper()
	got, _, why := w.client.State()
	if _, has := w.client.Lease(); got != state || has != held {
		w.Errorf("at %v it is %s, in force %v (%s); want %s, %v", w.now, got, has, why, state, held)
	}
	return w
}

func (w *world) wantWhy(part string) *world {
	w.Helper()
	if _, _, why := w.client.State(); part == "" && why != "" || !bytes.Contains([]byte(why), []byte(part)) {
		w.Errorf("at %v it says %q, want %q", w.now, why, part)
	}
	return w
}

const hour = uint32(3600)

// says has a server answer the last message; more is put last.
func (w *world) says(s server, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *world {
	w.Helper()
	_ = w.client.Hear(w.now, s.frame(w.answer(s, kind, more...)), false)
	return w.at()
}

// at does what is due at the moment.
func (w *world) at() *world {
	w.Helper()
	w.tick()
	return w
}

func (w *world) answer(s server, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	w.Helper()
	mods := []dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(s.id.AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(s.id.AsSlice()))}
	if kind != dhcpv4.MessageTypeNak {
		mods = append(mods, dhcpv4.WithYourIP(offered.Addr().AsSlice()), dhcpv4.WithNetmask(net.CIDRMask(offered.Bits(), 32)),
			dhcpv4.WithRouter(router.AsSlice()), dhcpv4.WithDNS(net.IPv4(192, 0, 2, 53)), dhcpv4.WithLeaseTime(hour))
	}
	m, err := dhcpv4.NewReplyFromRequest(w.asked, append(mods, more...)...)
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// frame is a message on the wire, made by gopacket.
func (s server) frame(m *dhcpv4.DHCPv4) []byte { return s.datagram(m.ToBytes(), 67, 68) }

func (s server) datagram(payload []byte, from, to layers.UDPPort) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: s.id.AsSlice(), DstIP: net.IPv4bcast.To4()}
	udp := &layers.UDP{SrcPort: from, DstPort: to}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return wire(&layers.Ethernet{SrcMAC: s.mac, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(payload))
}

// hears has somebody's ARP heard.
func (w *world) hears(op uint16, mac net.HardwareAddr, sender, target netip.Addr) *world {
	w.Helper()
	if err := w.client.Hear(w.now, arpFrame(op, mac, mac, sender, target), false); err != nil {
		w.Errorf("ARP: %v", err)
	}
	return w.at()
}

func arpFrame(op uint16, from, mac net.HardwareAddr, sender, target netip.Addr) []byte {
	return wire(&layers.Ethernet{SrcMAC: from, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: mac, SourceProtAddress: sender.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice()})
}

func wire(l ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic(err)
	}
	return bytes.Clone(b.Bytes())
}

// Ways to say it.
const (
	offer = dhcpv4.MessageTypeOffer
	ack   = dhcpv4.MessageTypeAck
	nak   = dhcpv4.MessageTypeNak
)

func lasting(seconds uint32) dhcpv4.Modifier { return dhcpv4.WithLeaseTime(seconds) }

// timing sets T1 and T2, seconds.
func timing(t1, t2 uint32) dhcpv4.Modifier {
	return func(m *dhcpv4.DHCPv4) {
		m.UpdateOption(dhcpv4.OptRenewTimeValue(time.Duration(t1) * time.Second))
		m.UpdateOption(dhcpv4.OptRebindingTimeValue(time.Duration(t2) * time.Second))
	}
}

// bound has a lease of an hour in force since a second after the start, asked for at
// the start.
func bound(t *testing.T, more ...dhcpv4.Modifier) *world {
	t.Helper()
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	w.says(one, offer, more...).says(one, ack, more...).to(time.Second).want(Bound, true)
	w.took()
	return w
}

// former is a lease of before, of an hour since the start.
func former() *Lease {
	return &Lease{MAC: own, Address: offered, Router: router, Server: one.id, By: one.mac, Since: start,
		Renew: start + 30*time.Minute, Rebind: start + 52*time.Minute, End: start + time.Hour}
}
