package limiter

import (
	"testing"
	"time"
)

// TestCoDel has rows of what RFC 8289's pseudo-code does to a queue that is looked at each ms.
func TestCoDel(t *testing.T) {
	rows := []struct {
		name   string
		waited time.Duration
		alone  bool
		want   []time.Duration // when one goes, after the first look
	}{
		{"below the target", target - 1, false, nil},
		{"alone", time.Second, true, nil},
		{"after an interval, and then at interval/sqrt(count)", target, false,
			[]time.Duration{100, 200, 271, 329, 379}},
	}
	for _, row := range rows {
		var c codel
		var got []time.Duration
		for at := range time.Duration(400) {
			if c.congested(row.waited, target, row.alone, time.Hour+at*time.Millisecond) {
				got = append(got, at)
			}
		}
		same := len(got) == len(row.want)
		for i := range min(len(got), len(row.want)) {
			same = same && got[i] == row.want[i]
		}
		if !same {
			t.Errorf("%s: %d ms, want %d", row.name, got, row.want)
		}
	}
}

func TestPatience(t *testing.T) {
	rows := []struct {
		rate        Rate
		wire, flows int
		shared      bool
		want        time.Duration
	}{
		{0, 1500, 1, false, target},
		{125_000_000, 1500, 1, false, target},
		{125_000, 1500, 1, false, 48 * time.Millisecond},
		{125_000, 1500, 4, false, 96 * time.Millisecond},
		{1, 1500, 1, false, 4 * time.Second},
		{0, 1500, 1, true, 2 * burstTime},
		{125_000_000, 1500, 1, true, 2 * burstTime},
		{125_000, 1500, 1, true, 48 * time.Millisecond},
	}
	for _, row := range rows {
		if got := patience(row.rate, row.wire, row.flows, row.shared); got != row.want {
			t.Errorf("%d bytes/s, %d flows: %v, want %v", row.rate, row.flows, got, row.want)
		}
	}
}
