package packet

import (
	"bytes"
	"testing"
)

func TestChecksumOfEveryLength(t *testing.T) {
	b := bytes.Repeat([]byte{0xff, 0xfe, 0x00, 0x81, 0xff, 0x7f, 0xff}, 40)
	for n := range len(b) {
		for _, seed := range []uint32{0, 1, 0xffff, 0x12345, 0xffffffff} {
			want := naiveSum([]byte{byte(seed >> 24), byte(seed >> 16), byte(seed >> 8), byte(seed)})
			both := uint32(want) + uint32(naiveSum(b[:n]))
			if got := Checksum(b[:n], seed); got != ^uint16(both>>16+both&0xffff) {
				t.Fatalf("%d bytes, seed %#x: %#x", n, seed, got)
			}
		}
	}
}

// The example of RFC 1624, section 4: 0x5555 becomes 0x3285 under checksum 0xdd2f, and not 0xffff.
func TestAdjustFollowsRFC1624(t *testing.T) {
	field := []byte{0xdd, 0x2f}
	adjust(field, difference16(0x5555, 0x3285))
	if field[0] != 0 || field[1] != 0 {
		t.Errorf("%x", field)
	}
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte{}, uint32(0))
	f.Add([]byte{1}, uint32(1))
	f.Add(bytes.Repeat([]byte{0xff}, 129), uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, b []byte, seed uint32) {
		whole := append([]byte{byte(seed >> 24), byte(seed >> 16), byte(seed >> 8), byte(seed)}, b...)
		if got, want := Checksum(b, seed), ^naiveSum(whole); got != want {
			t.Fatalf("%#x, want %#x", got, want)
		}
	})
}

func BenchmarkChecksum1448(b *testing.B) {
	buffer := text(1448)
	b.SetBytes(1448)
	for b.Loop() {
		Checksum(buffer, 0)
	}
}
