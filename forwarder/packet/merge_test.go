package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// merged is what leaves when packets of one flow go through Mergers in turn, as a port's batch does it.
func merged(t testing.TB, frames [][]byte) [][]byte {
	t.Helper()
	var out [][]byte
	var m *Merger
	for _, raw := range frames {
		p := decode(t, bytes.Clone(raw))
		if m != nil && m.Add(p, func() []byte { return make([]byte, MaxMerged) }) {
			continue
		}
		if m != nil {
			out = append(out, m.Frame())
		}
		m = &Merger{}
		m.Begin(p)
	}
	return append(out, m.Frame())
}

// wire is what frames are on the wire.
func wire(t testing.TB, frames [][]byte) [][]byte {
	t.Helper()
	var out [][]byte
	for _, raw := range frames {
		out = append(out, segmented(t, decode(t, bytes.Clone(raw)))...)
	}
	return out
}

// dataTCP is a run of data packets of one connection, and dataUDP of datagrams.
func dataTCP(t testing.TB, payload, size int) [][]byte {
	l4 := tcp()
	l4.PSH = true
	l4.Options = timestamps()
	return segments(t, serialize(t, ethernet(), ipv4(layers.IPProtocolTCP), l4, gopacket.Payload(text(payload))), size)
}

func dataUDP(t testing.TB, payload, size int) [][]byte {
	return segments(t, udpFrame(t, payload), size)
}

func dataTCP6(t testing.TB, payload, size int) [][]byte {
	l4 := tcp()
	l4.PSH = true
	l4.Options = timestamps()
	return segments(t, serialize(t, ethernet6(), ipv6(layers.IPProtocolTCP), l4, gopacket.Payload(text(payload))), size)
}

func dataUDP6(t testing.TB, payload, size int) [][]byte {
	return segments(t, udp6Frame(t, payload), size)
}

func TestMerge(t *testing.T) {
	for _, row := range []struct {
		name   string
		frames [][]byte
		leave  int // frames
	}{
		{"TCP with a short end", dataTCP(t, 5001, 1000), 1},
		{"TCP with a full end", dataTCP(t, 5000, 1000), 1},
		{"UDP with a short end", dataUDP(t, 5001, 1000), 1},
		{"UDP with a full end", dataUDP(t, 5000, 1000), 1},
		{"UDP of single bytes", dataUDP(t, 9, 1), 1},
		{"more than a packet holds", append(dataUDP(t, 60000, 1000), dataUDP(t, 9000, 1000)...), 2},
		{"one", dataTCP(t, 100, 1000), 1},
		{"a second run behind PSH", append(dataTCP(t, 3000, 1000), dataTCP(t, 3000, 1000)...), 2},
		{"TCP over IPv6 with a short end", dataTCP6(t, 5001, 1000), 1},
		{"TCP over IPv6 with a full end", dataTCP6(t, 5000, 1000), 1},
		{"UDP over IPv6 with a short end", dataUDP6(t, 5001, 1000), 1},
		{"UDP over IPv6 of single bytes", dataUDP6(t, 9, 1), 1},
		{"over IPv6 more than a packet holds", append(dataUDP6(t, 60000, 1000), dataUDP6(t, 9000, 1000)...), 2},
		{"TCP in a VLAN", dressed(dataTCP(t, 5001, 1000), inVLAN(7)), 1},
		{"UDP over IPv6 in a VLAN", dressed(dataUDP6(t, 5001, 1000), inVLAN(7)), 1},
		{"in a VLAN more than a packet holds", dressed(append(dataUDP6(t, 60000, 1000), dataUDP6(t, 9000, 1000)...), inVLAN(7)), 2},
		{"of another VLAN", append(dressed(dataTCP6(t, 3000, 1000), inVLAN(7)), dressed(dataTCP6(t, 3000, 1000), inVLAN(8))...), 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			out := merged(t, row.frames)
			if len(out) != row.leave {
				t.Errorf("%d frames leave, want %d", len(out), row.leave)
			}
			for _, raw := range out {
				consistent(t, decode(t, bytes.Clone(raw)))
			}
			sameFrames(t, wire(t, out), row.frames)
		})
	}
}

// What is not the next packet of the run goes by itself, and what follows it does not overtake it.
func TestWhatIsNotMerged(t *testing.T) {
	const at = ipAt
	tcpAt, udpAt := at+20, at+20
	change := func(frames [][]byte, i int, change func(raw []byte)) [][]byte {
		frames[i] = with(frames[i], func(raw, _ []byte) { change(raw) })
		return frames
	}
	// with mends the IPv4 checksum only; TCP's and UDP's are mended here.
	mend := func(raw []byte) []byte {
		p := Packet{}
		if p.Decode(raw) != Kept {
			t.Fatal("not kept")
		}
		p.makePartial()
		p.FinishChecksum()
		return p.Raw
	}
	mended := func(frames [][]byte) [][]byte {
		for i := range frames {
			frames[i] = mend(frames[i])
		}
		return frames
	}
	for _, row := range []struct {
		name   string
		frames [][]byte
	}{
		{"another type of service", change(dataUDP(t, 3000, 1000), 1, func(raw []byte) { raw[at+1] = 4 })},
		{"another TTL", change(dataUDP(t, 3000, 1000), 1, func(raw []byte) { raw[at+8]-- })},
		{"an identification out of turn", change(dataUDP(t, 3000, 1000), 1, func(raw []byte) { raw[at+5] += 7 })},
		{"another port", mended(change(dataUDP(t, 3000, 1000), 1, func(raw []byte) { raw[udpAt+3]++ }))},
		{"no UDP checksum", change(dataUDP(t, 3000, 1000), 1, func(raw []byte) { raw[udpAt+6], raw[udpAt+7] = 0, 0 })},
		{"a wrong UDP checksum", change(dataUDP(t, 3000, 1000), 1, func(raw []byte) { raw[len(raw)-1]++ })},
		{"a wrong UDP checksum first", change(dataUDP(t, 3000, 1000), 0, func(raw []byte) { raw[len(raw)-1]++ })},
		{"a wrong TCP checksum", change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[len(raw)-1]++ })},
		{"another acknowledgement", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+11]++ }))},
		{"another window", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+15]++ }))},
		{"another timestamp", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+27]++ }))},
		{"a gap", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+7]++ }))},
		{"URG", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+13] |= URG }))},
		{"CWR", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+13] |= CWR }))},
		{"ECE", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+13] |= ECE }))},
		{"SYN", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+13] |= SYN }))},
		{"RST", mended(change(dataTCP(t, 3000, 1000), 1, func(raw []byte) { raw[tcpAt+13] |= RST }))},
		{"PSH first", mended(change(dataTCP(t, 3000, 1000), 0, func(raw []byte) { raw[tcpAt+13] |= PSH }))},
		{"longer than the first", atomic(append(dataUDP(t, 900, 900), dataUDP(t, 1000, 1000)...))},
		{"behind a short one", atomic(append(dataUDP(t, 1900, 1000), dataUDP(t, 900, 900)...))},
		{"no payload", append(dataTCP(t, 0, 1), dataTCP(t, 1000, 1000)...)},
		{"another traffic class", change(dataUDP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+1] ^= 0x40 })},
		{"another flow label", change(dataUDP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+3]++ })},
		{"another hop limit", change(dataTCP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+7]-- })},
		{"another IPv6 source", mended(change(dataUDP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+23]++ }))},
		{"another IPv6 destination", mended(change(dataUDP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+24] ^= 8 }))},
		{"another port over IPv6", mended(change(dataUDP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+43]++ }))},
		{"a gap over IPv6", mended(change(dataTCP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+47]++ }))},
		{"no UDP checksum over IPv6", change(dataUDP6(t, 3000, 1000), 1, func(raw []byte) { raw[at+46], raw[at+47] = 0, 0 })},
		{"a wrong UDP checksum over IPv6", change(dataUDP6(t, 3000, 1000), 1, func(raw []byte) { raw[len(raw)-1]++ })},
		{"a wrong TCP checksum over IPv6 first", change(dataTCP6(t, 3000, 1000), 0, func(raw []byte) { raw[len(raw)-1]++ })},
		{"behind extension headers", dressed(dataUDP6(t, 3000, 1000), func(raw []byte) []byte { return extended(raw, options(destination, 8)) })},
		{"another VLAN", append(dressed(dataUDP6(t, 1000, 1000), inVLAN(7)), dressed(dataUDP6(t, 1000, 1000), inVLAN(8))...)},
		{"another priority", append(dressed(dataUDP6(t, 1000, 1000), inVLAN(7)), dressed(dataUDP6(t, 1000, 1000), inVLAN(0x2007))...)},
		{"one in a VLAN, one in none", append(dressed(dataUDP6(t, 1000, 1000), inVLAN(7)), dataUDP6(t, 1000, 1000)...)},
		{"IPv4 and IPv6", atomic(append(dataUDP(t, 1000, 1000), dataUDP6(t, 1000, 1000)...))},
	} {
		t.Run(row.name, func(t *testing.T) {
			out := merged(t, row.frames)
			if len(out) < 2 {
				t.Error("merged")
			}
			sameFrames(t, atomic(wire(t, out)), atomic(row.frames))
		})
	}
}

// inVLAN puts a tag with that control information in front of frames.
func inVLAN(tci uint16) func([]byte) []byte {
	return func(raw []byte) []byte { return vlan(raw, EtherTypeVLAN, tci) }
}

// atomic makes IPv4 datagrams atomic, without an identification.
func atomic(frames [][]byte) [][]byte {
	for i, raw := range frames {
		frames[i] = with(raw, func(_, ip []byte) {
			if ip[0]>>4 == 4 {
				ip[6], ip[4], ip[5] = 0x40, 0, 0
			}
		})
	}
	return frames
}

// The identification of an atomic datagram says nothing (RFC 6864), so any will do.
func TestMergeOfAtomicDatagrams(t *testing.T) {
	frames := atomic(dataUDP(t, 5000, 1000))
	out := merged(t, frames)
	if len(out) != 1 {
		t.Fatalf("%d frames leave, want 1", len(out))
	}
	sameFrames(t, atomic(wire(t, out)), frames)
}

// What the hardware has verified, or leaves to who sends it, is not looked at again.
func TestMergeTrustsWhoVerified(t *testing.T) {
	for name, flags := range map[string]uint8{"verified": dataValid, "not verified": 0} {
		frames := dataUDP(t, 3000, 1000)
		for _, raw := range frames {
			raw[flagsAt] = flags
			raw[len(raw)-1]++ // nobody will see it
		}
		if got, want := len(merged(t, frames)), map[bool]int{true: 1, false: 3}[flags == dataValid]; got != want {
			t.Errorf("%s: %d frames leave, want %d", name, got, want)
		}
	}
}

func TestMergeWithoutABuffer(t *testing.T) {
	frames := dataUDP(t, 3000, 1000)
	var m Merger
	m.Begin(decode(t, bytes.Clone(frames[0])))
	if m.Add(decode(t, bytes.Clone(frames[1])), func() []byte { return nil }) {
		t.Error("joined")
	}
	sameFrames(t, [][]byte{m.Frame()}, frames[:1])
}

// FuzzMerge breaks a run of packets in one place: on the wire it stays what it was.
func FuzzMerge(f *testing.F) {
	f.Add(true, uint16(5000), uint16(1000), uint8(2), uint16(30), uint8(1), false)
	f.Add(false, uint16(5000), uint16(1000), uint8(0), uint16(38), uint8(0xff), true)
	f.Add(true, uint16(9), uint16(1), uint8(3), uint16(47), uint8(8), true)
	f.Fuzz(func(t *testing.T, isTCP bool, length, size uint16, which uint8, where uint16, flip uint8, mend bool) {
		if size == 0 || length > 9000 || int(length)/int(size) > 100 {
			return
		}
		kinds := []func(testing.TB, int, int) [][]byte{dataUDP, dataUDP6}
		if isTCP {
			kinds = []func(testing.TB, int, int) [][]byte{dataTCP, dataTCP6}
		}
		for _, run := range kinds {
			for _, dress := range dresses[:3] {
				breakOne(t, dressed(run(t, int(length), int(size)), dress.on), int(which), int(where), flip, mend)
			}
		}
	})
}

func breakOne(t *testing.T, frames [][]byte, which, where int, flip uint8, mend bool) {
	i := which % len(frames)
	at := ipAt + where%(len(frames[i])-ipAt)
	frames[i] = with(frames[i], func(raw, _ []byte) { raw[at] ^= flip })
	var p Packet
	if p.Decode(bytes.Clone(frames[i])) != Kept {
		return
	}
	if mend && !p.IsFragment() && (p.Proto == TCP || p.Proto == UDP) && p.HeaderLen != 0 && (p.Proto != UDP || int(get16(p.Raw[p.L4+4:])) == len(p.Raw)-p.L4) {
		p.makePartial()
		p.FinishChecksum()
		frames[i] = p.Raw
	}
	got, want := wire(t, merged(t, frames)), wire(t, frames)
	for _, list := range [][][]byte{got, want} {
		for i, raw := range list {
			list[i] = with(raw, func(_, ip []byte) {
				if ip[0]>>4 == 4 && ip[6]&0x40 != 0 { // atomic
					ip[4], ip[5] = 0, 0
				}
			})
		}
	}
	sameFrames(t, got, want)
}
