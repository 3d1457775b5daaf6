package dhcp

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// given is a frame with an offer, and who is to hear it.
func given(t *testing.T) (w *world, frame []byte) {
	w = newWorld(t)
	w.client.Begin(w.now, nil)
	return w, one.frame(w.answer(one, offer))
}

const ipAt, udpAt = 14, 34

// TestFramesOnTheWAN: which are heard, and why others are not.
func TestFramesOnTheWAN(t *testing.T) {
	whole := func(b []byte) []byte { // with the IP checksum right
		ip := b[ipAt:udpAt]
		ip[10], ip[11] = 0, 0
		sum := uint32(0)
		for i := 0; i < len(ip); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(ip[i:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
		return b
	}
	for _, row := range []struct {
		name    string
		change  func(b []byte) []byte
		partial bool
		why     string // empty: it is heard
	}{
		{"as it is", func(b []byte) []byte { return b }, false, ""},
		{"with what Ethernet fills up", func(b []byte) []byte { return append(b, 1, 2, 3) }, false, ""},
		{"without a checksum", func(b []byte) []byte { b[udpAt+6], b[udpAt+7] = 0, 0; return b }, false, ""},
		{"a wrong checksum", func(b []byte) []byte { b[udpAt+6]++; return b }, false, "checksum is wrong"},
		{"a flipped bit", func(b []byte) []byte { b[udpAt+8+16] ^= 1; return b }, false, "checksum is wrong"},
		{"another sender", func(b []byte) []byte { b[ipAt+15]++; return whole(b) }, false, "checksum is wrong"},
		{"a checksum that is left to a device", func(b []byte) []byte { b[udpAt+6]++; return b }, true, ""},
		{"the first fragment", func(b []byte) []byte { b[ipAt+6] |= 0x20; return whole(b) }, false, "neither"},
		{"a later fragment", func(b []byte) []byte { b[ipAt+7] = 185; return whole(b) }, false, "neither"},
		{"a UDP length that is less", func(b []byte) []byte { b[udpAt+5]--; return b }, false, "checksum"},
		{"a UDP length that is more", func(b []byte) []byte { b[udpAt+4]++; return b }, false, "a part of a datagram"},
		{"a UDP length of 0", func(b []byte) []byte { b[udpAt+4], b[udpAt+5] = 0, 0; return b }, true, "a part of a datagram"},
		{"from another port", func(b []byte) []byte { b[udpAt+1]++; return b }, true, "neither"},
		{"to another port", func(b []byte) []byte { b[udpAt+3]++; return b }, true, "neither"},
		{"another cookie", func(b []byte) []byte { b[udpAt+8+236]++; return b }, true, "cookie"},
		{"IPv6", func(b []byte) []byte { b[12], b[13] = 0x86, 0xdd; return b }, false, "neither"},
		{"TCP", func(b []byte) []byte { b[ipAt+9] = 6; return whole(b) }, false, "neither"},
		{"for somebody else", func(b []byte) []byte { b[udpAt+8+28+5]++; return b }, true, "DHCP for somebody else: 02:00:00:00:00:02"},
		{"empty", func(b []byte) []byte { return nil }, false, "too small"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, frame := given(t)
			err := w.client.Hear(w.now, row.change(frame), row.partial)
			heard := w.client.state == Requesting
			if heard != (row.why == "") || (err == nil) != heard || err != nil && !strings.Contains(err.Error(), row.why) {
				t.Errorf("%s after %v, want %q", w.client.state, err, row.why)
			}
		})
	}
}

// ARP of other kinds is no claim.
func TestOtherARP(t *testing.T) {
	w := bound(t)
	claim := arpFrame(layers.ARPReply, stranger, stranger, offered.Addr(), none)
	for at, what := range map[int]string{15: "hardware", 17: "protocol", 18: "length of a MAC", 19: "length of an address"} {
		b := bytes.Clone(claim)
		b[at]++
		if err := w.client.Hear(w.now, b, false); err == nil {
			t.Errorf("another %s is heard", what)
		}
	}
	w.wantSent()
	if err := w.client.Hear(w.now, claim, false); err != nil {
		t.Error(err)
	}
	w.wantSent("announce")
}

// Lengths that add up to 256 in a byte are more than there is.
func TestLengthsThatWrapAround(t *testing.T) {
	w := bound(t)
	b := make([]byte, 42) // not a byte more is behind it
	copy(b, arpFrame(layers.ARPReply, stranger, stranger, offered.Addr(), none))
	b[18], b[19] = 60, 64
	if err := w.client.Hear(w.now, b[:42:42], false); err == nil {
		t.Error("it is heard")
	}
	w.wantSent()
}

// A frame that is cut off anywhere is refused, whatever of it is left.
func TestCutOffAnywhere(t *testing.T) {
	w, frame := given(t)
	for n := range frame {
		if err := w.client.Hear(w.now, bytes.Clone(frame[:n]), true); err == nil {
			t.Errorf("%d of %d bytes are heard", n, len(frame))
		}
	}
	w.want(Selecting, false)
	payload := w.answer(one, offer).ToBytes()
	for n := range payload { // cut off before it was sent: without an end it is none
		if n == bytes.LastIndexByte(payload, 255)+1 {
			break
		}
		if _ = w.client.Hear(w.now, one.datagram(payload[:n], 67, 68), false); w.client.state != Selecting {
			t.Fatalf("a message of %d of %d bytes is heard", n, len(payload))
		}
	}
	claim := arpFrame(layers.ARPReply, stranger, stranger, offered.Addr(), none)
	for n := range 42 {
		if err := w.client.Hear(w.now, claim[:n], false); err == nil {
			t.Errorf("%d bytes of ARP are heard", n)
		}
	}
}

// What is heard may be overwritten: the ring it comes from is written on.
func TestNothingOfAFrameIsKept(t *testing.T) {
	w, frame := given(t)
	if err := w.client.Hear(w.now, frame, false); err != nil {
		t.Fatal(err)
	}
	clear(frame)
	frame = one.frame(w.answer(one, ack))
	if err := w.client.Hear(w.now, frame, false); err != nil {
		t.Fatal(err)
	}
	clear(frame)
	w.next().next().next().want(Bound, true)
	if l, _ := w.client.Lease(); l.By.String() != one.mac.String() || l.MAC.String() != own.String() || l.Address != offered || l.DNS[0].String() != "192.0.2.53" {
		t.Errorf("the lease: %+v", l)
	}
}

// A datagram with options in its IP header is heard, too.
func TestOptionsOfIP(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: one.id.AsSlice(), DstIP: offered.Addr().AsSlice(),
		Options: []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}} // router alert
	udp := &layers.UDP{SrcPort: 67, DstPort: 68}
	_ = udp.SetNetworkLayerForChecksum(ip)
	frame := wire(&layers.Ethernet{SrcMAC: one.mac, DstMAC: own, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(w.answer(one, offer).ToBytes()))
	if err := w.client.Hear(w.now, frame, false); err != nil {
		t.Error(err)
	}
	w.want(Requesting, false)
}
