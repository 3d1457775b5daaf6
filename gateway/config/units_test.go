package config

import (
	"math"
	"testing"
	"time"
)

func TestRatesAreReadAsPeopleWriteThem(t *testing.T) {
	for _, row := range []struct {
		text string
		want Rate
		back string
	}{
		{"0", 0, "0"}, {"0 Mbit", 0, "0"},
		{"5 Mbit", 5_000_000, "5 Mbit"}, {"5Mbit", 5_000_000, "5 Mbit"}, {" 5  mbit/s ", 5_000_000, "5 Mbit"},
		{"1.5 Gbit", 1_500_000_000, "1.5 Gbit"}, {"500 kbit", 500_000, "500 kbit"}, {"0.5 Mbit", 500_000, "500 kbit"},
		{"1234567 bit", 1_234_567, "1234567 bit"}, {"1.05 Mbit", 1_050_000, "1.05 Mbit"}, {"1.50000000000000000000 kbit", 1500, "1.5 kbit"},
		{"9223372036854775807 bit", math.MaxInt64, "9223372036854775807 bit"},
		{"9223372036.854775807 Gbit", math.MaxInt64, "9223372036854775807 bit"},
	} {
		got, err := ParseRate(row.text)
		if err != nil || got != row.want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", row.text, int64(got), err, int64(row.want))
		}
		if back := got.String(); back != row.back {
			t.Errorf("ParseRate(%q) is written %q, want %q", row.text, back, row.back)
		}
	}
	if got := (10*Mbit + 7).BytesPerSecond(); got != 1_250_000 {
		t.Errorf("BytesPerSecond is %d", got)
	}
	if got := Rate(math.MinInt64).String(); got != "-9223372036854775808 bit" {
		t.Errorf("the least Rate is written %q", got)
	}
}

func TestSizesAreReadAsPeopleWriteThem(t *testing.T) {
	for _, row := range []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0"}, {"100 MB", 100_000_000, "100 MB"}, {"100MB", 100_000_000, "100 MB"}, {"1.5 GB", 1_500_000_000, "1.5 GB"},
		{"1 B", 1, "1 B"}, {"2 KB", 2000, "2 kB"}, {"2 kB", 2000, "2 kB"}, {"1 TB", 1e12, "1 TB"},
		{"512 MiB", 512 << 20, "536870912 B"}, {"1 KiB", 1024, "1024 B"}, {"0.5 GiB", 1 << 29, "536870912 B"}, {"1 TiB", 1 << 40, "1099511627776 B"},
	} {
		got, err := ParseSize(row.text)
		if err != nil || got != row.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", row.text, int64(got), err, int64(row.want))
		}
		if back := got.String(); back != row.back {
			t.Errorf("ParseSize(%q) is written %q, want %q", row.text, back, row.back)
		}
	}
}

func TestDurationsAreReadAsPeopleWriteThem(t *testing.T) {
	for _, row := range []struct {
		text string
		want time.Duration
		back string
	}{
		{"0", 0, "0"}, {"2h", 2 * time.Hour, "2h"}, {"90s", 90 * time.Second, "1m30s"}, {"1h30m", 90 * time.Minute, "1h30m"},
		{"30d", 30 * day, "30d"}, {"1d 12h", 36 * time.Hour, "1d12h"}, {"1.5d", 36 * time.Hour, "1d12h"}, {"500 ms", time.Second / 2, "500ms"},
		{"3µs", 3000, "3µs"}, {"3μs", 3000, "3µs"}, {"3us", 3000, "3µs"}, {"1m1ns", time.Minute + 1, "1m1ns"},
		{"9223372036854775807ns", math.MaxInt64, "106751d23h47m16.854775807s"},
	} {
		got, err := ParseDuration(row.text)
		if err != nil || got != row.want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", row.text, got, err, row.want)
		}
		if back := FormatDuration(got); back != row.back {
			t.Errorf("ParseDuration(%q) is written %q, want %q", row.text, back, row.back)
		}
	}
	if got := FormatDuration(-90 * time.Second); got != "-1m30s" {
		t.Errorf("a negative duration is written %q", got)
	}
}

func TestQuantitiesThatAreRefusedSayWhatIsRight(t *testing.T) {
	rate := func(text string) error { _, err := ParseRate(text); return err }
	size := func(text string) error { _, err := ParseSize(text); return err }
	span := func(text string) error { _, err := ParseDuration(text); return err }
	const rates, sizes = "bit, kbit, Mbit and Gbit", "B, kB, MB, GB and TB, and KiB, MiB, GiB and TiB"
	for _, row := range []struct {
		parse      func(string) error
		text, want string
	}{
		{rate, "", `"" is not a speed: write a number and a unit, such as 1 Mbit`},
		{rate, "fast", `"fast" is not a speed: write a number and a unit, such as 1 Mbit`},
		{rate, "5", `"5" is not a speed: its unit is missing; write 5 Mbit if that is meant`},
		{rate, "0.0", `"0.0" is not a speed: its unit is missing; write 0.0 Mbit if that is meant`},
		{rate, ".5 Mbit", `".5 Mbit" is not a speed: write a number and a unit, such as 1 Mbit`},
		{rate, "5. Mbit", `"5. Mbit" is not a speed: write a number and a unit, such as 1 Mbit`},
		{rate, "1.2.3 Mbit", `"1.2.3 Mbit" is not a speed: write a number and a unit, such as 1 Mbit`},
		{rate, "1,5 Mbit", `"1,5 Mbit" is not a speed: write the fraction with a point, without commas`},
		{rate, "-1 Mbit", `"-1 Mbit" is not a speed: it must not be negative`},
		{rate, "5 MB", `"5 MB" is not a speed: "MB" is not one of its units ` + rates + `; write it as 5 Mbit`},
		{rate, "1e3 bit", `"1e3 bit" is not a speed: "e3 bit" is not one of its units ` + rates + `; write it as 1 Mbit`},
		{rate, "0.5 bit", `"0.5 bit" is not a speed: it is finer than the smallest unit; write fewer digits after the point`},
		{rate, "0.1234567890123456789 Gbit", `"0.1234567890123456789 Gbit" is not a speed: it has too many digits after the point`},
		{rate, "9223372036854775808 bit", `"9223372036854775808 bit" is not a speed: it is too large`},
		{rate, "9223372036.854775808 Gbit", `"9223372036.854775808 Gbit" is not a speed: it is too large`},
		{rate, "99999999999 Gbit", `"99999999999 Gbit" is not a speed: it is too large`},
		{size, "100", `"100" is not an amount of data: its unit is missing; write 100 MB if that is meant`},
		{size, "100 Mb", `"100 Mb" is not an amount of data: "Mb" is not one of its units ` + sizes + `; write it as 100 MB`},
		{size, "1 iB", `"1 iB" is not an amount of data: "iB" is not one of its units ` + sizes + `; write it as 1 MB`},
		{span, "", `"" is not a duration: write a number and a unit, such as 1s`},
		{span, "5", `"5" is not a duration: its unit is missing; write 5s if that is meant`},
		{span, "1h 0", `"1h 0" is not a duration: its unit is missing; write 0s if that is meant`},
		{span, "-5s", `"-5s" is not a duration: it must not be negative`},
		{span, "5 weeks", `"5 weeks" is not a duration: "weeks" is not one of its units d, h, m, s, ms, us and ns; write it as 5s`},
		{span, "s5", `"s5" is not a duration: write a number and a unit, such as 1s`},
		{span, "106751d 1d", `"106751d 1d" is not a duration: it is too large`},
	} {
		if err := row.parse(row.text); err == nil || err.Error() != row.want {
			t.Errorf("got  %v\nwant %s", err, row.want)
		}
	}
}

func FuzzQuantities(f *testing.F) {
	for _, seed := range []string{"0", "5 Mbit", "1.5 Gbit", "100 MB", "1 KiB", "1h30m", "1d 12h", "-1s", "5", "3µs", "\xff", "1.000000000000000001 Gbit"} {
		f.Add(seed, int64(1_500_000))
	}
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if r, err := ParseRate(text); err == nil {
			sameAgain(t, r, ParseRate, r.String())
		}
		if s, err := ParseSize(text); err == nil {
			sameAgain(t, s, ParseSize, s.String())
		}
		if d, err := ParseDuration(text); err == nil {
			sameAgain(t, d, ParseDuration, FormatDuration(d))
		}
		if n >= 0 {
			sameAgain(t, Rate(n), ParseRate, Rate(n).String())
			sameAgain(t, Size(n), ParseSize, Size(n).String())
			sameAgain(t, time.Duration(n), ParseDuration, FormatDuration(time.Duration(n)))
			sameAgain(t, time.Duration(n), ParseDuration, time.Duration(n).String())
		}
	})
}

func sameAgain[T Rate | Size | time.Duration](t *testing.T, want T, parse func(string) (T, error), text string) {
	t.Helper()
	if got, err := parse(text); err != nil || got != want {
		t.Errorf("%q brings back %d, %v; want %d", text, int64(got), err, int64(want))
	}
}
