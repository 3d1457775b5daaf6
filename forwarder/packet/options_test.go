package packet

import (
	"bytes"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// synFrame is a SYN with these bytes, a multiple of 4, as its options.
func synFrame(t testing.TB, options []byte) []byte {
	t.Helper()
	l4 := tcp()
	l4.SYN, l4.ACK = true, false
	for range len(options) {
		l4.Options = append(l4.Options, layers.TCPOption{OptionType: layers.TCPOptionKindNop})
	}
	raw := serialize(t, ethernet(), ipv4(layers.IPProtocolTCP), l4, gopacket.Payload(text(3)))
	b := raw[ipAt+20:]
	copy(b[20:], options)
	put16(b[16:], 0)
	pseudo := []byte{10, 0, 0, 5, 198, 51, 100, 1, 0, 6, 0, byte(len(b))}
	put16(b[16:], ^naiveSum(append(pseudo, b...)))
	return raw
}

func TestClampMSS(t *testing.T) {
	rows := []struct {
		name      string
		options   []byte
		limit     uint16
		wantBytes []byte
	}{
		{"a higher MSS is lowered", []byte{2, 4, 5, 180}, 1400, []byte{2, 4, 5, 120}},
		{"an equal one stays", []byte{2, 4, 5, 180}, 1460, []byte{2, 4, 5, 180}},
		{"a lower one stays", []byte{2, 4, 2, 24}, 1460, []byte{2, 4, 2, 24}},
		{"on an odd offset too", []byte{1, 2, 4, 5, 180, 1, 1, 0}, 1400, []byte{1, 2, 4, 5, 120, 1, 1, 0}},
		{"behind other options", []byte{4, 2, 3, 3, 7, 2, 4, 255, 255, 0, 0, 0}, 1, []byte{4, 2, 3, 3, 7, 2, 4, 0, 1, 0, 0, 0}},
		{"not behind the end of the list", []byte{0, 0, 0, 0, 2, 4, 5, 180}, 1400, []byte{0, 0, 0, 0, 2, 4, 5, 180}},
		{"not with a length of 3", []byte{2, 3, 5, 180}, 1400, []byte{2, 3, 5, 180}},
		{"a length of 0 is survived", []byte{8, 0, 2, 4, 5, 180, 0, 0}, 1400, []byte{8, 0, 2, 4, 5, 180, 0, 0}},
		{"a length of 1 is survived", []byte{8, 1, 2, 4, 5, 180, 0, 0}, 1400, []byte{8, 1, 2, 4, 5, 180, 0, 0}},
		{"an option cut short is survived", []byte{1, 1, 2, 4}, 1400, []byte{1, 1, 2, 4}},
		{"a kind without a length is survived", []byte{1, 1, 1, 2}, 1400, []byte{1, 1, 1, 2}},
		{"no options", nil, 1, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := decode(t, synFrame(t, row.options))
			p.ClampMSS(row.limit)
			if got := p.Raw[p.L4+20 : p.Payload]; !bytes.Equal(got, row.wantBytes) {
				t.Errorf("% d, want % d", got, row.wantBytes)
			}
			if !p.ValidChecksum() {
				t.Error("wrong checksum")
			}
		})
	}
	t.Run("a partial checksum does not hold it", func(t *testing.T) {
		p := decode(t, offload(t, synFrame(t, []byte{2, 4, 5, 180}), 0, 0))
		p.ClampMSS(1400)
		p.FinishChecksum()
		finished(t, p.Raw)
	})
	t.Run("only a SYN is looked at", func(t *testing.T) {
		raw := synFrame(t, []byte{2, 4, 5, 180})
		raw[ipAt+20+13] = ACK
		before := bytes.Clone(raw)
		decode(t, raw).ClampMSS(1400)
		if !bytes.Equal(raw, before) {
			t.Error("changed")
		}
	})
	t.Run("a SYN-ACK as well", func(t *testing.T) {
		raw := synFrame(t, []byte{2, 4, 5, 180})
		raw[ipAt+20+13] = SYN | ACK
		p := decode(t, raw)
		p.ClampMSS(1400)
		if raw[ipAt+43] != 120 {
			t.Error("unchanged")
		}
	})
}
