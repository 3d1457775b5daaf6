package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func fragments(t testing.TB, p *Packet, mtu int) [][]byte {
	t.Helper()
	var out [][]byte
	if !p.Fragment(mtu, make([]byte, p.L3+mtu), func(raw []byte) { out = append(out, bytes.Clone(raw)) }) {
		t.Fatal("Fragment is false")
	}
	return out
}

// reassemble puts the IPv4 payloads of fragments, read by gopacket, in their places.
func reassemble(t testing.TB, frames [][]byte) []byte {
	t.Helper()
	var whole []byte
	for i, raw := range frames {
		var ip layers.IPv4
		if err := ip.DecodeFromBytes(raw[ipAt:], gopacket.NilDecodeFeedback); err != nil {
			t.Fatal(err)
		}
		if more := ip.Flags&layers.IPv4MoreFragments != 0; more != (i < len(frames)-1) {
			t.Fatalf("fragment %d of %d: more is %v", i, len(frames), more)
		}
		if int(ip.FragOffset)*8 != len(whole) {
			t.Fatalf("fragment %d is at %d, want %d", i, ip.FragOffset*8, len(whole))
		}
		whole = append(whole, ip.Payload...)
	}
	return whole
}

func TestFragment(t *testing.T) {
	rows := []struct {
		name string
		raw  []byte
		mtu  int
		want []int // IPv4 total lengths
	}{
		{"one that fits is left whole", udpFrame(t, 1472), 1500, []int{1500}},
		{"a byte too long", udpFrame(t, 1473), 1500, []int{1500, 21}},
		{"pieces are multiples of 8 bytes", udpFrame(t, 1500), 1003, []int{996, 552}},
		{"with a partial checksum", offload(t, udpFrame(t, 3000), 0, 0), 1500, []int{1500, 1500, 68}},
		{"TCP with a partial checksum", offload(t, tcpFrame(t, 3000), 0, 0), 1500, []int{1500, 1500, 80}},
		{"the least MTU", icmpFrame(t, EchoRequest, text(90)), 68, []int{68, 68, 22}},
		{"the largest packet", udpFrame(t, 65507), 32768, []int{32764, 32764, 47}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := decode(t, row.raw)
			got := fragments(t, p, row.mtu)
			if len(got) != len(row.want) {
				t.Fatalf("%d fragments, want %d", len(got), len(row.want))
			}
			for i, raw := range got {
				f := decode(t, raw)
				if f.Len != row.want[i] || f.ID != p.ID || f.TTL != p.TTL || f.SrcMAC != p.SrcMAC {
					t.Errorf("fragment %d: %+v", i, *f)
				}
			}
			if len(got) > 1 && !bytes.Equal(reassemble(t, got), p.Raw[p.L4:]) {
				t.Error("does not reassemble")
			}
			finished(t, p.Raw)
		})
	}
}

func TestFragmentsOfFragments(t *testing.T) {
	p := decode(t, udpFrame(t, 4000))
	var all [][]byte
	for _, raw := range fragments(t, p, 1500) {
		all = append(all, fragments(t, decode(t, raw), 600)...)
	}
	if len(all) < 8 {
		t.Fatalf("%d fragments", len(all))
	}
	if !bytes.Equal(reassemble(t, all), p.Raw[p.L4:]) {
		t.Error("does not reassemble")
	}
}

// RFC 791, 3.1: an option goes into all fragments if its copy bit says so, else into the first only.
func TestFragmentsCopyOptions(t *testing.T) {
	ip := ipv4(layers.IPProtocolUDP)
	ip.Options = []layers.IPv4Option{
		{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}},
		{OptionType: 1},
		{OptionType: 0x94, OptionLength: 4, OptionData: []byte{0, 0}}, // router alert
		{OptionType: 0x82, OptionLength: 3, OptionData: []byte{9}},    // security
		{OptionType: 1},
	}
	p := decode(t, serialize(t, ethernet(), ip, &layers.UDP{SrcPort: 1, DstPort: 2}, gopacket.Payload(text(500))))
	own := bytes.Clone(p.Raw[p.L3+20 : p.L4])
	if len(own) != 16 {
		t.Fatalf("% x", own)
	}
	got := fragments(t, p, 200)
	for i, raw := range got {
		f := decode(t, raw)
		want := []byte{0x94, 4, 0, 0, 0x82, 3, 9, 0}
		if i == 0 {
			want = own
		}
		if o := f.Raw[f.L3+20 : f.L4]; !bytes.Equal(o, want) {
			t.Errorf("fragment %d: % x, want % x", i, o, want)
		}
		if f.Len > 200 {
			t.Errorf("fragment %d: %d bytes", i, f.Len)
		}
	}
	if !bytes.Equal(reassemble(t, got), p.Raw[p.L4:]) {
		t.Error("does not reassemble")
	}
}

func TestFragmentRefuses(t *testing.T) {
	rows := []struct {
		name         string
		raw          []byte
		mtu, scratch int
	}{
		{"a super-packet", superTCP(t, 5000, 1000), 600, 4000},
		{"an MTU without room for 8 bytes", udpFrame(t, 100), 27, 4000},
		{"a scratch too short", udpFrame(t, 1000), 500, ipAt + 499},
	}
	for _, row := range rows {
		p := decode(t, row.raw)
		if p.Fragment(row.mtu, make([]byte, row.scratch), func([]byte) { t.Error(row.name + ": emitted") }) {
			t.Error(row.name)
		}
	}
}
