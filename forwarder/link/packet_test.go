package link

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

func TestVLANTagsComeBackInPlace(t *testing.T) {
	const valid, tpid = unix.TP_STATUS_VLAN_VALID, unix.TP_STATUS_VLAN_TPID_VALID
	addresses := "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"
	plain := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	offloaded := "\x01\x01\x36\x00\xa8\x05\x22\x00\x10\x00" // NEEDS_CSUM, TCPv4, 54, 1448, 34, 16
	moved := "\x01\x01\x3a\x00\xa8\x05\x26\x00\x10\x00"     // 58, 1448, 38, 16
	for _, row := range []struct {
		name     string
		in       string
		slot     unix.Tpacket2Hdr
		want     string
		tagged   bool
		priority bool // such tags are kept
	}{
		{"no tag: as it came", plain + addresses + "\x08\x00IP",
			unix.Tpacket2Hdr{}, plain + addresses + "\x08\x00IP", false, false},
		{"a tag goes behind the addresses", plain + addresses + "\x08\x00IP",
			unix.Tpacket2Hdr{Status: valid | tpid, Vlan_tci: 0x6064, Vlan_tpid: 0x8100},
			plain + addresses + "\x81\x00\x60\x64\x08\x00IP", true, false},
		{"a service tag keeps its protocol", plain + addresses + "\x81\x00\x00\x05",
			unix.Tpacket2Hdr{Status: valid | tpid, Vlan_tci: 7, Vlan_tpid: 0x88a8},
			plain + addresses + "\x88\xa8\x00\x07\x81\x00\x00\x05", true, false},
		{"a kernel that tells no protocol means 802.1Q", plain + addresses + "\x08\x00IP",
			unix.Tpacket2Hdr{Status: valid, Vlan_tci: 7},
			plain + addresses + "\x81\x00\x00\x07\x08\x00IP", true, false},
		{"a priority tag is no VLAN", plain + addresses + "\x08\x00IP",
			unix.Tpacket2Hdr{Status: valid | tpid, Vlan_tci: 0xe000, Vlan_tpid: 0x8100},
			plain + addresses + "\x08\x00IP", false, false},
		{"a priority tag is kept where it is wanted", plain + addresses + "\x08\x00IP",
			unix.Tpacket2Hdr{Status: valid | tpid, Vlan_tci: 0xe000, Vlan_tpid: 0x8100},
			plain + addresses + "\x81\x00\xe0\x00\x08\x00IP", true, true},
		{"no tag at all is none where priority tags are kept", plain + addresses + "\x08\x00IP",
			unix.Tpacket2Hdr{}, plain + addresses + "\x08\x00IP", false, true},
		{"offsets in the header move along", offloaded + addresses + "\x08\x00IP",
			unix.Tpacket2Hdr{Status: valid | tpid, Vlan_tci: 7, Vlan_tpid: 0x8100},
			moved + addresses + "\x81\x00\x00\x07\x08\x00IP", true, false},
		{"a frame without addresses has no place for one", plain + "short",
			unix.Tpacket2Hdr{Status: valid, Vlan_tci: 7}, plain + "short", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.slot.Snaplen = uint32(len(row.in) - HeaderLen)
			got := []byte(row.in)
			tagged := tagOf(&row.slot, row.priority)
			if tagged.valid {
				got = tagged.put(append(make([]byte, 4), row.in...))
			}
			if !bytes.Equal(got, []byte(row.want)) {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if tagged.valid != row.tagged {
				t.Errorf("tagged: %v", tagged.valid)
			}
		})
	}
}

func TestFramesLongerThanABufferAreDroppedAndCounted(t *testing.T) {
	mem, err := newBuffers()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.release()
	p := &Packet{fd: -1, mem: mem}
	for i, m := range []struct {
		length, flags int
		kept          bool
	}{{HeaderLen + 9000, 0, true}, {bufferLen, unix.MSG_TRUNC, false}, {MaxFrame + 1, 0, false}, {MaxFrame, 0, true}} {
		p.rx[i].len, p.rx[i].hdr.Flags = uint32(m.length), int32(m.flags)
		if f := p.longFrame(i); (f != nil) != m.kept || m.kept && len(f) != m.length {
			t.Errorf("message %d: %d bytes", i, len(f))
		}
	}
	if p.stats.Truncated != 2 {
		t.Errorf("counted %d", p.stats.Truncated)
	}
}

func TestBuffersDoNotOverlapAndStartInDifferentCacheSets(t *testing.T) {
	mem, err := newBuffers()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.release()
	sets := map[int]bool{}
	for i := range mem.frame {
		whole := mem.tagged(i, bufferLen)
		if len(whole) != bufferLen+4 || cap(whole) != len(whole) || bufferLen < MaxFrame+4 {
			t.Fatalf("buffer %d has %d bytes, cap %d", i, len(whole), cap(whole))
		}
		sets[(i*stride/64)%64] = true
	}
	if len(sets) != Batch || stride < tagRoom+bufferLen {
		t.Errorf("%d buffers at a stride of %d start in %d of 64 cache sets", Batch, stride, len(sets))
	}
}
