package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"gatewayd/gateway"
)

// The flags with a unit; each keeps what the API takes.
type (
	speedFlag  int     // whole megabits per second
	timeFlag   int64   // seconds
	bitsFlag   int64   // bits per second
	dataFlag   float64 // megabytes
	expiryFlag struct {
		days  uint
		never bool
	}
)

func (f *speedFlag) Type() string   { return "SPEED" }
func (f *speedFlag) String() string { return "" }

// Set reads whole megabits: 5Mbit, "5 Mbit", 1 Gbit.
func (f *speedFlag) Set(text string) error {
	bits, err := gateway.ParseRate(text)
	if err != nil {
		return err
	}
	if bits < 1e6 || bits%1e6 != 0 || bits/1e6 > math.MaxInt32 {
		return fmt.Errorf("%q is not a plan's speed: write whole megabits, at least 1, such as 5Mbit", text)
	}
	*f = speedFlag(bits / 1e6)
	return nil
}

func (f *bitsFlag) Type() string   { return "SPEED" }
func (f *bitsFlag) String() string { return "" }

// Set reads a speed of any size: 512kbit, "1.5 Mbit"; none is 0.
func (f *bitsFlag) Set(text string) error {
	if text == "none" {
		*f = 0
		return nil
	}
	bits, err := gateway.ParseRate(text)
	if err == nil && bits < 1 {
		err = fmt.Errorf("%q is not a speed: write one such as 512kbit, or none", text)
	}
	*f = bitsFlag(bits)
	return err
}

func (f *timeFlag) Type() string   { return "TIME" }
func (f *timeFlag) String() string { return "" }

// Set reads whole seconds: 90s, 1h30m, 30d.
func (f *timeFlag) Set(text string) error {
	d, err := gateway.ParseDuration(text)
	if err != nil {
		return err
	}
	if d < time.Second || d%time.Second != 0 {
		return fmt.Errorf("%q is not a plan's time: write whole seconds, at least 1, such as 1h or 90s", text)
	}
	*f = timeFlag(d / time.Second)
	return nil
}

func (f *dataFlag) Type() string   { return "DATA" }
func (f *dataFlag) String() string { return "" }

// Set reads an amount of data: 100MB, "1.5 GB".
func (f *dataFlag) Set(text string) error {
	size, err := gateway.ParseSize(text)
	if err != nil {
		return err
	}
	if size < 1 {
		return fmt.Errorf("%q is not a plan's data: write at least 1 B, such as 100MB", text)
	}
	*f = dataFlag(float64(size) / 1e6)
	return nil
}

func (f *expiryFlag) Type() string   { return "DAYS" }
func (f *expiryFlag) String() string { return "" }

// Set reads a number of days, or never.
func (f *expiryFlag) Set(text string) error {
	if f.never = text == "never"; f.never {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return fmt.Errorf("%q is not a number of days: write one such as 30, or never", text)
	}
	f.days = uint(n)
	return nil
}

// json is what the API takes: a number, or null for never.
func (f expiryFlag) json() any {
	if f.never {
		return nil
	}
	return f.days
}

// humanTime writes seconds in their two largest units: 59m 48s, 1d 4h.
func humanTime(secs uint64) string {
	units := []struct {
		name string
		secs uint64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	for i, u := range units {
		if secs < u.secs {
			continue
		}
		text := fmt.Sprintf("%d%s", secs/u.secs, u.name)
		if i+1 < len(units) {
			if rest := secs % u.secs / units[i+1].secs; rest > 0 {
				text += fmt.Sprintf(" %d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

// humanData writes megabytes in the unit that suits them, with three digits or
// more: 96.75 MB, 1.5 GB.
func humanData(megabytes float64) string {
	if megabytes == 0 {
		return "0 MB"
	}
	value, prefix := humanize.ComputeSI(megabytes * 1e6)
	return humanize.FtoaWithDigits(value, 2) + " " + prefix + "B"
}

// humanRate writes bits per second in the unit that suits them: 512 kbit, 1.5 Mbit;
// empty for none.
func humanRate(bits uint64) string {
	if bits == 0 {
		return ""
	}
	value, prefix := humanize.ComputeSI(float64(bits))
	return humanize.FtoaWithDigits(value, 3) + " " + prefix + "bit"
}

func humanBytes(n uint64) string { return humanData(float64(n) / 1e6) }

// ago writes how long ago t was, as seen at now; never for the zero time.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return humanTime(uint64(max(0, now.Sub(t)/time.Second))) + " ago"
}

// orDash writes nothing as -, so that columns stay whole, and what a client
// chose (its hostname) without the characters that would command a terminal.
func orDash(text string) string {
	if strings.TrimSpace(text) == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
