package main

import (
	"testing"
	"time"
)

func TestHumanUnits(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{humanTime(0), "0s"}, {humanTime(59), "59s"}, {humanTime(3600), "1h"}, {humanTime(3661), "1h 1m"}, {humanTime(90061), "1d 1h"},
		{humanBytes(0), "0 MB"}, {humanBytes(999), "999 B"}, {humanBytes(1500), "1.5 kB"}, {humanBytes(18446744073709551615), "18.44 EB"},
		{humanData(0.25), "250 kB"}, {humanData(1500), "1.5 GB"},
	} {
		if row.got != row.want {
			t.Errorf("%q, want %q", row.got, row.want)
		}
	}
}

func TestMoments(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-11-22":                time.Date(2026, 11, 22, 0, 0, 0, 0, time.Local),
		"2026-11-22 15:04":          time.Date(2026, 11, 22, 15, 4, 0, 0, time.Local),
		"2026-11-22T15:04:05+01:00": time.Date(2026, 11, 22, 14, 4, 5, 0, time.UTC),
		"yesterday":                 {},
		"":                          {},
	} {
		var f momentFlag
		if err := f.Set(text); !f.Equal(want) || (err == nil) == want.IsZero() {
			t.Errorf("%q is %v, %v; want %v", text, f, err, want)
		}
	}
}

// FuzzPlanFlags: what a flag takes is an amount that a plan can have.
func FuzzPlanFlags(f *testing.F) {
	for _, seed := range []string{"5Mbit", "5 Mbit", "0.5Mbit", "9223372036 Gbit", "1h30m", "30d", "500ms", "100MB", "1.5 GiB", "0", "never", "-1", "30", "NaN"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var speed speedFlag
		if speed.Set(text) == nil && speed < 1 {
			t.Errorf("%q is a speed of %d Mbit", text, speed)
		}
		var span timeFlag
		if span.Set(text) == nil && span < 1 {
			t.Errorf("%q is a time of %d s", text, span)
		}
		var data dataFlag
		if data.Set(text) == nil && !(data > 0) {
			t.Errorf("%q is %v MB", text, data)
		}
		var at momentFlag
		if at.Set(text) == nil && at.IsZero() && text[:4] != "0001" {
			t.Errorf("%q is %v", text, at)
		}
		var expiry expiryFlag
		if expiry.Set(text) == nil && expiry.never && text != "never" {
			t.Errorf("%q is never", text)
		}
	})
}
