package clients

import (
	"slices"
	"testing"
)

// What is open is what was set last, whatever was set before.
func TestOpenPorts(t *testing.T) {
	h := new(Header)
	type port struct {
		udp bool
		n   uint16
	}
	for _, row := range []struct {
		name   string
		all    bool
		ranges []PortRange
		open   []port // of those that are asked for
	}{
		{"a list", false, []PortRange{{false, 80, 81}, {true, 53, 53}}, []port{{false, 80}, {false, 81}, {true, 53}}},
		{"another list, in part the same", false, []PortRange{{false, 81, 127}}, []port{{false, 81}, {false, 127}}},
		{"a range over words of bits", false, []PortRange{{true, 63, 128}}, []port{{true, 63}, {true, 80}, {true, 81}, {true, 127}, {true, 128}}},
		{"none", false, nil, nil},
		{"all but 80", false, []PortRange{{false, 0, 79}, {false, 81, 65535}, {true, 0, 65535}}, []port{
			{false, 0}, {false, 53}, {false, 63}, {false, 81}, {false, 127}, {false, 128}, {false, 65535},
			{true, 0}, {true, 53}, {true, 63}, {true, 80}, {true, 81}, {true, 127}, {true, 128}, {true, 65535}}},
		{"all, with a list that does not matter", true, []PortRange{{false, 80, 80}}, []port{
			{false, 0}, {false, 53}, {false, 63}, {false, 80}, {false, 81}, {false, 127}, {false, 128}, {false, 65535},
			{true, 0}, {true, 53}, {true, 63}, {true, 80}, {true, 81}, {true, 127}, {true, 128}, {true, 65535}}},
		{"the last port", false, []PortRange{{false, 65535, 65535}}, []port{{false, 65535}}},
	} {
		h.SetOpen(row.all, row.ranges)
		var open []port
		for _, udp := range []bool{false, true} {
			for _, n := range []uint16{0, 53, 63, 80, 81, 127, 128, 65535} {
				if h.Open(udp, n) {
					open = append(open, port{udp, n})
				}
			}
		}
		if !slices.Equal(open, row.open) {
			t.Errorf("%s: open are %v, want %v", row.name, open, row.open)
		}
	}
}

// A port that is open before and after is open between.
func TestNoPortThatStaysOpenIsClosedMeanwhile(t *testing.T) {
	h := new(Header)
	sets := []struct {
		all    bool
		ranges []PortRange
	}{{true, nil}, {false, []PortRange{{false, 80, 80}}}, {false, []PortRange{{false, 60, 90}}}}
	h.SetOpen(sets[0].all, sets[0].ranges)
	h.SetOpen(sets[1].all, sets[1].ranges)
	h.SetOpen(true, nil)
	if h.open[0][80/64].Load() == 0 {
		t.Error("who has seen that not all is open, just before all is, finds the list gone")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 3000 {
			s := sets[i%len(sets)]
			h.SetOpen(s.all, s.ranges)
		}
	}()
	for n := 0; ; n++ {
		if !h.Open(false, 80) {
			t.Fatalf("port 80 is closed in look %d", n)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
