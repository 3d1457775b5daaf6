package demo

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestWithin(t *testing.T) {
	rows := []struct {
		name        string
		rate        int
		during      time.Duration
		least, most float64
	}{
		{"a second at 20 Mbit, and 50 ms of it at once", 20, time.Second, 2_250_000, 2_525_000 + 125_000},
		{"a slow plan has the least burst", 1, 2 * time.Second, 225_000, 252_500 + 98_304},
	}
	for _, row := range rows {
		if least, most := within(row.rate, row.during); least != row.least || most != row.most {
			t.Errorf("%s: %v to %v, want %v to %v", row.name, least, most, row.least, row.most)
		}
	}
	if got := mbits(2_500_000, 2*time.Second); got != 10 {
		t.Errorf("2.5 MB in 2 s are %v Mbit/s", got)
	}
}

func TestAtLimit(t *testing.T) {
	rows := []struct {
		name string
		used uint64
		want bool
	}{
		{"the last byte", 10_000, true},
		{"one more", 10_001, false},
		{"a packet would not have fitted", 8_501, true},
		{"a packet would have fitted", 8_500, false},
		{"nothing", 0, false},
	}
	for _, row := range rows {
		if atLimit(row.used, 10_000) != row.want {
			t.Errorf("%s: want %v", row.name, row.want)
		}
	}
}

func TestOnTime(t *testing.T) {
	for passed, want := range map[time.Duration]bool{
		4800 * time.Millisecond: true, 5200 * time.Millisecond: true, 4799 * time.Millisecond: false, 5201 * time.Millisecond: false, 0: false,
	} {
		if onTime(passed, 5*time.Second) != want {
			t.Errorf("%v of 5s: want %v", passed, want)
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 10_000_001: "10,000,001"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	s := span{from: map[netip.Addr]bool{}}
	a, now := netip.MustParseAddr(wanIP), time.Now()
	s.add(packet{protocol: tcp, from: a, packets: 2, bytes: 100}, false, now)
	s.add(packet{protocol: udp, from: a, packets: 1, bytes: 30}, false, now.Add(time.Second))
	s.add(packet{protocol: udp, packets: 1, bytes: 7}, true, now.Add(time.Minute))
	if s.arrived() != (count{3, 130}) || s.sent() != (count{1, 7}) || s.in[tcp] != (count{2, 100}) {
		t.Errorf("arrived %v, sent %v", s.arrived(), s.sent())
	}
	if s.lasted() != time.Second || len(s.from) != 1 || !s.from[a] {
		t.Errorf("lasted %v, from %v: what is sent is none of it", s.lasted(), s.from)
	}
}

func TestNumbers(t *testing.T) {
	var n numbers
	for _, number := range []uint64{0, 63, 64, 1000, 64, highest, 1 << 63} {
		n.add(number)
	}
	if n.count() != 4 || n.twice != 1 {
		t.Errorf("%d different ones, %d twice; want 4 and 1: those from %d on are nobody's", n.count(), n.twice, highest)
	}
	copied := n.clone()
	n.add(5)
	if copied.count() != 4 {
		t.Error("a copy changed")
	}
}

func TestEndlessReadsOverAndOver(t *testing.T) {
	text, err := io.ReadAll(io.LimitReader(&endless{text: []byte("abc")}, 8))
	if string(text) != "abcabcab" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

func TestBillIsRightToTheByte(t *testing.T) {
	b := bill{up: 5, down: 7, billedUp: 5, billedDown: 7}
	if !b.right() {
		t.Error("an equal bill is wrong")
	}
	b.billedUp, b.billedDown = 6, 6
	if b.right() {
		t.Error("a bill with the right sum and wrong directions is right")
	}
}

func TestVerdict(t *testing.T) {
	rows := []struct {
		name string
		saw  []bool
		err  error
		want bool
	}{
		{"all as claimed", []bool{true, true}, nil, true},
		{"one not as claimed", []bool{true, false, true}, nil, false},
		{"nothing seen proves nothing", nil, nil, false},
		{"an error ends the proof", []bool{true}, errors.New("the capture lost 1 packet"), false},
	}
	for _, row := range rows {
		var out strings.Builder
		v := &verdict{report: newReport(&out, func() {})}
		for _, right := range row.saw {
			v.saw(right, "something")
		}
		if got := v.holds(row.err); got != row.want || strings.Contains(out.String(), "DOES NOT HOLD") == row.want {
			t.Errorf("%s: %v\n%s", row.name, got, out.String())
		}
	}
}

// deaf is a pipe that nobody reads.
type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAReportThatNobodyReadsEndsTheDemo(t *testing.T) {
	ctx, gone := context.WithCancel(t.Context())
	newReport(deaf{}, gone).note("anything")
	if ctx.Err() == nil {
		t.Error("it goes on")
	}
}

func TestEverySaleHasABill(t *testing.T) {
	if want := len(claims) - 2; selling != want { // all but the first and the bill's own
		t.Errorf("%d bills, %d claims that sell", selling, want)
	}
}
