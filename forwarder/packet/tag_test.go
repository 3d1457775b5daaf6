package packet

import (
	"bytes"
	"testing"
)

func TestDecodeReadsVLANTags(t *testing.T) {
	four, six := tcpFrame(t, 100), udp6Frame(t, 100)
	arp := append(bytes.Clone(four[:ipAt]), text(28)...)
	put16(arp[ipAt-2:], EtherTypeARP)
	twice := vlan(vlan(four, EtherTypeVLAN, 5), EtherTypeQinQ, 0x9006)
	short := vlan(four, EtherTypeVLAN, 5)[:ipAt+3]
	rows := []struct {
		name      string
		raw       []byte
		want      Reason
		etherType uint16
		version   uint8
		tci       uint16
		l3        int
	}{
		{"none", four, Kept, EtherTypeIPv4, 4, 0, 24},
		{"802.1Q in front of IPv4", vlan(four, EtherTypeVLAN, 0x6064), Kept, EtherTypeIPv4, 4, 0x6064, 28},
		{"802.1ad in front of IPv4", vlan(four, EtherTypeQinQ, 7), Kept, EtherTypeIPv4, 4, 7, 28},
		{"802.1Q in front of IPv6", vlan(six, EtherTypeVLAN, 0xffff), Kept, EtherTypeIPv6, 6, 0xffff, 28},
		{"802.1Q in front of ARP", vlan(arp, EtherTypeVLAN, 7), Kept, EtherTypeARP, 0, 7, 28},
		{"a priority tag", vlan(six, EtherTypeVLAN, 0xe000), Kept, EtherTypeIPv6, 6, 0xe000, 28},
		{"a tag of nothing but zeros", vlan(four, EtherTypeVLAN, 0), Kept, EtherTypeIPv4, 4, 0, 28},
		{"two tags", twice, Kept, EtherTypeVLAN, 0, 0x9006, 28},
		{"a tag and nothing behind it", vlan(arp[:ipAt], EtherTypeVLAN, 7), Kept, EtherTypeARP, 0, 7, 28},
		{"a tag and no IPv4 behind it", vlan(four[:ipAt], EtherTypeVLAN, 7), Malformed, EtherTypeIPv4, 0, 7, 28},
		{"a tag that is cut short", short, Kept, EtherTypeVLAN, 0, 0, 24},
		{"a partial checksum", vlan(offload(t, tcpFrame(t, 9), 0, 0), EtherTypeVLAN, 7), Kept, EtherTypeIPv4, 4, 7, 28},
		{"a partial checksum as if there were none", virtio(vlan(four, EtherTypeVLAN, 7), 1, 0, 0, 34, 16), Malformed, EtherTypeIPv4, 4, 7, 28},
		{"segments of the other version", virtio(vlan(six, EtherTypeVLAN, 7), 1, gsoTCPv4, 100, 58, 16), Malformed, EtherTypeIPv6, 0, 7, 28},
		{"a wrong IPv4 checksum", vlan(append(bytes.Clone(four[:ipAt+8]), append([]byte{1}, four[ipAt+9:]...)...), EtherTypeVLAN, 7), BadChecksum, EtherTypeIPv4, 0, 7, 28},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var p Packet
			if got := p.Decode(bytes.Clone(row.raw)); got != row.want {
				t.Fatalf("%v, want %v", got, row.want)
			}
			if p.EtherType != row.etherType || p.Version != row.version || p.VLAN != row.tci || p.L3 != row.l3 || p.Tagged != (row.name != "none") {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestHdrLenCountsTheTag(t *testing.T) {
	for name, row := range map[string]struct {
		raw  []byte
		want uint8
	}{
		"IPv4": {superTCP(t, 500, 100), 14 + 52}, "IPv4 in a VLAN": {vlan(superTCP(t, 500, 100), EtherTypeVLAN, 7), 18 + 52},
		"IPv6": {superUDP6(t, 500, 100), 14 + 48}, "IPv6 in a VLAN": {vlan(superUDP6(t, 500, 100), EtherTypeVLAN, 7), 18 + 48},
	} {
		if p := decode(t, row.raw); p.Raw[hdrLenAt] != row.want || p.Raw[hdrLenAt+1] != 0 {
			t.Errorf("%s: %d", name, p.Raw[hdrLenAt])
		}
	}
}

func TestFragmentsInAVLAN(t *testing.T) {
	p := decode(t, udpFrame(t, 3000))
	want := fragments(t, p, 1500)
	got := fragments(t, decode(t, vlan(udpFrame(t, 3000), EtherTypeVLAN, 7)), 1500)
	sameFrames(t, got, dressed(want, inVLAN(7)))
	if decode(t, udp6Frame(t, 3000)).Fragment(1500, make([]byte, 4000), func([]byte) { t.Error("emitted") }) {
		t.Error("IPv6 was fragmented")
	}
}
