package config

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Rate is a speed in bits per second; where a rate limits, 0 means no limit.
// A megabit is 1,000,000 bits.
type Rate int64

// The units of Rate.
const (
	Bit  Rate = 1
	Kbit      = 1000 * Bit
	Mbit      = 1000 * Kbit
	Gbit      = 1000 * Mbit
)

// Size is a number of bytes. A megabyte is 1,000,000 bytes.
type Size int64

// The units of Size.
const (
	Byte Size = 1
	KB        = 1000 * Byte
	MB        = 1000 * KB
	GB        = 1000 * MB
	TB        = 1000 * GB
)

const day = 24 * time.Hour

// unit is a name and how many of the smallest unit it holds.
type unit struct {
	name string
	size int64
}

// Largest first, as String tries them.
var (
	rateUnits   = []unit{{"Gbit", int64(Gbit)}, {"Mbit", int64(Mbit)}, {"kbit", int64(Kbit)}, {"bit", int64(Bit)}}
	sizeUnits   = []unit{{"TB", int64(TB)}, {"GB", int64(GB)}, {"MB", int64(MB)}, {"kB", int64(KB)}, {"B", int64(Byte)}}
	binaryUnits = []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
	timeUnits   = []unit{{"d", int64(day)}, {"h", int64(time.Hour)}, {"m", int64(time.Minute)}, {"s", int64(time.Second)},
		{"ms", int64(time.Millisecond)}, {"us", int64(time.Microsecond)}, {"µs", int64(time.Microsecond)},
		{"μs", int64(time.Microsecond)}, {"ns", 1}}
)

// BytesPerSecond returns the rate in whole bytes per second, rounded down.
func (r Rate) BytesPerSecond() int64 { return int64(r) / 8 }

// String returns the shortest text that ParseRate reads as exactly r: 1.5 Gbit, 500 kbit, 0.
func (r Rate) String() string { return shortest(int64(r), rateUnits) }

// String returns the shortest text that ParseSize reads as exactly s: 100 MB, 1.5 GB, 0.
func (s Size) String() string { return shortest(int64(s), sizeUnits) }

// ParseRate reads a speed such as 5 Mbit, 1.5 Gbit or 500 kbit, with or
// without the blank and a trailing /s, in small or capital letters. A number
// without unit is refused, except 0. The error says what would be right.
func ParseRate(text string) (Rate, error) {
	bare := strings.TrimSuffix(strings.TrimSpace(text), "/s")
	if bare == "0" {
		return 0, nil
	}
	n, err := parseOne(bare, func(name string) (int64, bool) {
		for _, u := range rateUnits {
			if strings.EqualFold(name, u.name) {
				return u.size, true
			}
		}
		return 0, false
	}, "Mbit", "bit, kbit, Mbit and Gbit")
	if err != nil {
		return 0, fmt.Errorf("%q is not a speed: %w", text, err)
	}
	return Rate(n), nil
}

// ParseSize reads an amount of data such as 100 MB (100,000,000 bytes) or
// 512 MiB (536,870,912 bytes), with or without the blank. The last letter is a
// capital B: a small b is a bit. A number without unit is refused, except 0. The
// error says what would be right.
func ParseSize(text string) (Size, error) {
	if strings.TrimSpace(text) == "0" {
		return 0, nil
	}
	n, err := parseOne(text, func(name string) (int64, bool) {
		prefix, isBytes := strings.CutSuffix(name, "B")
		for _, u := range append(sizeUnits[:len(sizeUnits):len(sizeUnits)], binaryUnits...) {
			if isBytes && strings.EqualFold(prefix, strings.TrimSuffix(u.name, "B")) {
				return u.size, true
			}
		}
		return 0, false
	}, "MB", "B, kB, MB, GB and TB, and KiB, MiB, GiB and TiB")
	if err != nil {
		return 0, fmt.Errorf("%q is not an amount of data: %w", text, err)
	}
	return Size(n), nil
}

// ParseDuration reads what time.ParseDuration reads, and days and blanks: 2h,
// 90s, 1h30m, 30d, 1d 12h. What is negative or not a whole number of
// nanoseconds is refused, and so is a number without unit, except 0. The error
// says what would be right.
func ParseDuration(text string) (time.Duration, error) {
	var total int64
	rest := strings.TrimSpace(text)
	if rest == "0" {
		return 0, nil
	}
	for first := true; first || rest != ""; first = false {
		end := strings.IndexFunc(rest, isLetter)
		if end < 0 {
			end = len(rest)
		}
		for end < len(rest) && isLetter(rune(rest[end])) {
			end++
		}
		n, err := parseOne(rest[:end], func(name string) (int64, bool) {
			for _, u := range timeUnits {
				if name == u.name {
					return u.size, true
				}
			}
			return 0, false
		}, "s", "d, h, m, s, ms, us and ns")
		if err == nil && n > math.MaxInt64-total {
			err = errTooLarge
		}
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration: %w", text, err)
		}
		total += n
		rest = strings.TrimSpace(rest[end:])
	}
	return time.Duration(total), nil
}

// FormatDuration returns text that ParseDuration reads as exactly d: 10m, 1d12h, 1.5s, 0.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	var text strings.Builder
	rest := uint64(d)
	if d < 0 {
		text.WriteByte('-')
		rest = -rest
	}
	for _, u := range timeUnits[:3] { // d, h, m
		if n := rest / uint64(u.size); n > 0 {
			fmt.Fprintf(&text, "%d%s", n, u.name)
			rest %= uint64(u.size)
		}
	}
	if rest > 0 {
		text.WriteString(time.Duration(rest).String())
	}
	return text.String()
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 }

var errTooLarge = errors.New("it is too large")

// parseOne reads a decimal number and one unit. usual is the unit that a
// message proposes, known the list of all.
func parseOne(text string, lookup func(name string) (int64, bool), usual, known string) (int64, error) {
	text = strings.TrimSpace(text)
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.') {
		end++
	}
	number, name := text[:end], strings.TrimSpace(text[end:])
	whole, fraction, dotted := strings.Cut(number, ".")
	switch {
	case strings.HasPrefix(text, "-"):
		return 0, errors.New("it must not be negative")
	case whole == "" || dotted && fraction == "" || strings.Contains(fraction, "."):
		return 0, fmt.Errorf("write a number and a unit, such as %s", example(1, usual))
	case name == "":
		return 0, fmt.Errorf("its unit is missing; write %s%s%s if that is meant", number, blank(usual), usual)
	case strings.HasPrefix(name, ","):
		return 0, errors.New("write the fraction with a point, without commas")
	}
	size, ok := lookup(name)
	if !ok {
		return 0, fmt.Errorf("%q is not one of its units %s; write it as %s%s%s", name, known, number, blank(usual), usual)
	}
	return scale(whole, fraction, size)
}

// scale returns whole.fraction × size, exactly or not at all.
func scale(whole, fraction string, size int64) (int64, error) {
	n, err := strconv.ParseUint(whole, 10, 63)
	if err != nil {
		return 0, errTooLarge
	}
	high, total := bits.Mul64(n, uint64(size))
	fraction = strings.TrimRight(fraction, "0")
	var part uint64
	if fraction != "" {
		if len(fraction) > 18 {
			return 0, errors.New("it has too many digits after the point")
		}
		f, err := strconv.ParseUint(fraction, 10, 64)
		if err != nil {
			return 0, err
		}
		power := uint64(math.Pow10(len(fraction)))
		h, l := bits.Mul64(f, uint64(size))
		quotient, remainder := bits.Div64(h, l, power) // h < power because f < power
		if remainder != 0 {
			return 0, errors.New("it is finer than the smallest unit; write fewer digits after the point")
		}
		part = quotient
	}
	sum, carry := bits.Add64(total, part, 0)
	if high != 0 || carry != 0 || sum > math.MaxInt64 {
		return 0, errTooLarge
	}
	return int64(sum), nil
}

// shortest writes n in the unit that needs the fewest characters, exactly; of
// equals the larger unit that needs no leading zero.
func shortest(n int64, units []unit) string {
	if n == 0 {
		return "0"
	}
	sign, abs := "", uint64(n)
	if n < 0 {
		sign, abs = "-", -abs
	}
	best := ""
	for _, u := range units {
		size := uint64(u.size)
		if abs < size {
			continue
		}
		text := strconv.FormatUint(abs/size, 10)
		if rest := abs % size; rest != 0 {
			digits := strconv.FormatUint(size+rest, 10)[1:] // size is a power of ten: keeps the leading zeros
			text += "." + strings.TrimRight(digits, "0")
		}
		if text += " " + u.name; best == "" || len(text) < len(best) {
			best = text
		}
	}
	return sign + best
}

// example writes n of a unit as people do: 5 Mbit, but 5s.
func example(n int, unit string) string { return strconv.Itoa(n) + blank(unit) + unit }

func blank(unit string) string {
	if unit == "s" {
		return ""
	}
	return " "
}
