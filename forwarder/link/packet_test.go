package link

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// detached returns a Packet without a socket, to be filled as recvmmsg does.
func detached(t testing.TB) *Packet {
	t.Helper()
	mem, err := newBuffers()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mem.release() })
	return &Packet{fd: -1, mem: mem, next: Batch, control: make([]byte, Batch*controlLen)}
}

// fill puts message i in place.
func (p *Packet) fill(i int, frame []byte, flags int32, aux unix.TpacketAuxdata) {
	copy(p.mem.frame[i], frame)
	p.rx[i].len, p.rx[i].hdr.Flags = uint32(len(frame)), flags
	p.rx[i].hdr.Control = &p.control[i*controlLen]
	p.rx[i].hdr.SetControllen(controlLen)
	c := p.control[i*controlLen:]
	if unix.SizeofCmsghdr == 16 {
		binary.LittleEndian.PutUint64(c, uint64(unix.CmsgLen(20)))
	} else {
		binary.LittleEndian.PutUint32(c, uint32(unix.CmsgLen(20)))
	}
	binary.LittleEndian.PutUint32(c[unix.SizeofCmsghdr-8:], unix.SOL_PACKET)
	binary.LittleEndian.PutUint32(c[unix.SizeofCmsghdr-4:], unix.PACKET_AUXDATA)
	c = c[unix.CmsgLen(0):]
	binary.LittleEndian.PutUint32(c, aux.Status)
	binary.LittleEndian.PutUint16(c[16:], aux.Vlan_tci)
	binary.LittleEndian.PutUint16(c[18:], aux.Vlan_tpid)
}

func TestVLANTagsComeBackInPlace(t *testing.T) {
	const valid, tpid = unix.TP_STATUS_VLAN_VALID, unix.TP_STATUS_VLAN_TPID_VALID
	addresses := "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"
	plain := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	offloaded := "\x01\x01\x36\x00\xa8\x05\x22\x00\x10\x00" // NEEDS_CSUM, TCPv4, 54, 1448, 34, 16
	moved := "\x01\x01\x3a\x00\xa8\x05\x26\x00\x10\x00"     // 58, 1448, 38, 16
	for _, row := range []struct {
		name     string
		in       string
		aux      unix.TpacketAuxdata
		want     string
		retagged uint64
	}{
		{"no tag: as it came", plain + addresses + "\x08\x00IP",
			unix.TpacketAuxdata{}, plain + addresses + "\x08\x00IP", 0},
		{"a tag goes behind the addresses", plain + addresses + "\x08\x00IP",
			unix.TpacketAuxdata{Status: valid | tpid, Vlan_tci: 0x6064, Vlan_tpid: 0x8100},
			plain + addresses + "\x81\x00\x60\x64\x08\x00IP", 1},
		{"a service tag keeps its protocol", plain + addresses + "\x81\x00\x00\x05",
			unix.TpacketAuxdata{Status: valid | tpid, Vlan_tci: 7, Vlan_tpid: 0x88a8},
			plain + addresses + "\x88\xa8\x00\x07\x81\x00\x00\x05", 1},
		{"a kernel that tells no protocol means 802.1Q", plain + addresses + "\x08\x00IP",
			unix.TpacketAuxdata{Status: valid, Vlan_tci: 7},
			plain + addresses + "\x81\x00\x00\x07\x08\x00IP", 1},
		{"a priority tag is no VLAN", plain + addresses + "\x08\x00IP",
			unix.TpacketAuxdata{Status: valid | tpid, Vlan_tci: 0xe000, Vlan_tpid: 0x8100},
			plain + addresses + "\x08\x00IP", 0},
		{"offsets in the header move along", offloaded + addresses + "\x08\x00IP",
			unix.TpacketAuxdata{Status: valid | tpid, Vlan_tci: 7, Vlan_tpid: 0x8100},
			moved + addresses + "\x81\x00\x00\x07\x08\x00IP", 1},
		{"a frame without addresses has no place for one", plain + "short",
			unix.TpacketAuxdata{Status: valid, Vlan_tci: 7}, plain + "short", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := detached(t)
			p.fill(0, []byte(row.in), 0, row.aux)
			got := p.collect(1)
			if len(got) != 1 || !bytes.Equal(got[0], []byte(row.want)) {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if p.stats.Tagged != row.retagged {
				t.Errorf("counted %d tags, want %d", p.stats.Tagged, row.retagged)
			}
		})
	}
}

func TestTruncatedFramesAreDroppedAndCounted(t *testing.T) {
	p := detached(t)
	p.fill(0, []byte("the first frame"), 0, unix.TpacketAuxdata{})
	p.fill(1, make([]byte, bufferLen), unix.MSG_TRUNC, unix.TpacketAuxdata{})
	p.fill(2, make([]byte, MaxFrame+1), 0, unix.TpacketAuxdata{})
	p.fill(3, []byte("the last frame"), 0, unix.TpacketAuxdata{})
	got := p.collect(4)
	if len(got) != 2 || string(got[0]) != "the first frame" || string(got[1]) != "the last frame" {
		t.Errorf("kept %d frames", len(got))
	}
	if p.stats.Truncated != 2 {
		t.Errorf("counted %d", p.stats.Truncated)
	}
}

func TestBatchFollowsTheSizeOfFrames(t *testing.T) {
	for _, row := range []struct {
		name        string
		length, got int
		next        int
	}{
		{"small frames come in full batches", 70, Batch, Batch},
		{"frames of a full MTU too", 1524, Batch, Batch},
		{"super-packets come by a few", 65236, 4, batchBytes / 65236},
		{"one large frame is enough to know", 65236, 1, batchBytes / 65236},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := detached(t)
			for i := range row.got {
				p.fill(i, make([]byte, row.length), 0, unix.TpacketAuxdata{})
			}
			if p.collect(row.got); p.next != row.next {
				t.Errorf("asks for %d next, want %d", p.next, row.next)
			}
		})
	}
}

func TestBuffersDoNotOverlapAndStartInDifferentCacheSets(t *testing.T) {
	p := detached(t)
	sets := map[int]bool{}
	for i := range p.mem.frame {
		whole := p.mem.tagged(i, bufferLen)
		if len(whole) != bufferLen+4 || cap(whole) != len(whole) || bufferLen < MaxFrame+4 {
			t.Fatalf("buffer %d has %d bytes, cap %d", i, len(whole), cap(whole))
		}
		sets[(i*stride/64)%64] = true
	}
	if len(sets) != Batch || stride < tagRoom+bufferLen {
		t.Errorf("%d buffers at a stride of %d start in %d of 64 cache sets", Batch, stride, len(sets))
	}
}

func FuzzCollect(f *testing.F) {
	f.Add([]byte("\x01\x01\x36\x00\xa8\x05\x22\x00\x10\x00addressesaddr\x08\x00"), uint32(0x50), uint16(100), uint16(0x8100), int32(0))
	f.Add([]byte{}, uint32(0x10), uint16(0xffff), uint16(0), int32(unix.MSG_TRUNC))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff############"), uint32(0xffffffff), uint16(1), uint16(1), int32(0))
	p := detached(f)
	f.Fuzz(func(t *testing.T, frame []byte, status uint32, tci, tpid uint16, flags int32) {
		if len(frame) > bufferLen {
			return
		}
		p.fill(0, frame, flags, unix.TpacketAuxdata{Status: status, Vlan_tci: tci, Vlan_tpid: tpid})
		for _, got := range p.collect(1) {
			if n := len(got) - len(frame); n != 0 && n != 4 {
				t.Errorf("%d bytes became %d", len(frame), len(got))
			}
			if tail := min(len(frame), max(0, len(frame)-HeaderLen-12)); !bytes.HasSuffix(got, frame[len(frame)-tail:]) {
				t.Error("the payload changed")
			}
		}
	})
}
