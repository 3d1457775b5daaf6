package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ledgerLine is a line of the API's ledger.
type ledgerLine struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Why     string    `json:"why"`
	Changed []struct {
		Field string `json:"field"`
		Old   string `json:"old"`
		New   string `json:"new"`
	} `json:"changed"`
	Used           stretch `json:"used"`
	Total          stretch `json:"total"`
	CorrectedMS    int64   `json:"corrected_ms"`
	CorrectedBytes int64   `json:"corrected_bytes"`
	RemainingMS    *uint64 `json:"remaining_ms"`
	RemainingBytes *uint64 `json:"remaining_bytes"`
}

type stretch struct {
	TimeMS    uint64 `json:"time_ms"`
	UpBytes   uint64 `json:"up_bytes"`
	DownBytes uint64 `json:"down_bytes"`
}

// lineWords are the kinds of lines as one reads them to a customer.
var lineWords = map[string]string{
	"create": "bought", "start": "started", "resume": "resumed", "chain": "took over", "pause": "paused", "top-up": "topped up",
	"change": "changed", "throttle": "throttled", "use": "used", "end": "ended", "delete": "deleted", "now": "now",
}

// fieldWords are the fields that a change sets.
var fieldWords = map[string]string{
	"time_secs": "time", "data_mb": "data", "time_cons": "time used", "data_cons": "data used", "exp_days": "days",
	"down_mbits": "down", "up_mbits": "up", "use_global_speed": "global speed", "weight": "weight", "throttle_down_bits": "throttle down", "throttle_up_bits": "throttle up", "started_at": "start",
}

// showLedger prints a line a row, and what they add up to. Seconds are of what
// was used up to a row, so that they add up, too.
func showLedger(w io.Writer, lines []ledgerLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "no more lines")
		return
	}
	t := table(w)
	fmt.Fprintln(t, "WHEN\tWHAT\tTIME\tDATA\tLEFT\tWHY")
	var secs uint64
	var sum stretch
	for _, l := range lines {
		used := l.Total.TimeMS/1000 - (l.Total.TimeMS-l.Used.TimeMS)/1000
		secs += used
		sum.UpBytes += l.Used.UpBytes
		sum.DownBytes += l.Used.DownBytes
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", moment(&l.At), or(lineWords[l.Kind], l.Kind), orDash(exactTime(used)),
			orDash(exactData(l.Used.UpBytes+l.Used.DownBytes)), l.left(), orDash(l.reason()))
	}
	t.Flush()
	fmt.Fprintf(w, "\nused: %s, %s (%s up, %s down)\n", or(exactTime(secs), "0s"), or(exactData(sum.UpBytes+sum.DownBytes), "0 MB"),
		or(exactData(sum.UpBytes), "0 MB"), or(exactData(sum.DownBytes), "0 MB"))
	if last := lines[len(lines)-1]; last.CorrectedMS != 0 || last.CorrectedBytes != 0 {
		total := int64(last.Total.TimeMS)
		consumed := max(total+last.CorrectedMS, 0) / 1000
		data := max(int64(last.Total.UpBytes+last.Total.DownBytes)+last.CorrectedBytes, 0)
		fmt.Fprintf(w, "set by hand: %s, %s; so it has consumed %s, %s\n", signed(consumed-total/1000, exactTime), signed(last.CorrectedBytes, exactData),
			or(exactTime(uint64(consumed)), "0s"), or(exactData(uint64(data)), "0 MB"))
	}
}

// left is what remains after a line, of what the session's type counts.
func (l ledgerLine) left() string {
	var parts []string
	if l.RemainingMS != nil {
		parts = append(parts, or(exactTime((*l.RemainingMS+999)/1000), "0s"))
	}
	if l.RemainingBytes != nil {
		parts = append(parts, or(exactData(*l.RemainingBytes), "0 MB"))
	}
	return strings.Join(parts, " or ")
}

// reason is why, or what was set.
func (l ledgerLine) reason() string {
	var parts []string
	if l.Why != "" {
		parts = append(parts, l.Why)
	}
	for _, c := range l.Changed {
		value := func(v string) string {
			switch n, err := strconv.ParseUint(v, 10, 63); {
			case err == nil && strings.HasPrefix(c.Field, "time_"):
				return or(exactTime(n), "0s")
			case strings.HasPrefix(c.Field, "data_"):
				return v + " MB"
			case strings.HasSuffix(c.Field, "_mbits"):
				return v + " Mbit"
			case err == nil && strings.HasSuffix(c.Field, "_bits"):
				return or(humanRate(n), "none")
			}
			return v
		}
		parts = append(parts, fmt.Sprintf("%s from %s to %s", or(fieldWords[c.Field], c.Field), value(c.Old), value(c.New)))
	}
	return strings.Join(parts, "; ")
}

// or is text, or else what stands for it.
func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// exactTime writes seconds in full: 1d 4h 0m 12s; 0 is empty.
func exactTime(secs uint64) string {
	if secs == 0 {
		return ""
	}
	var parts []string
	for _, u := range []struct {
		name string
		secs uint64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}} {
		if n := secs / u.secs; n > 0 || parts != nil {
			parts = append(parts, strconv.FormatUint(n, 10)+u.name)
		}
		secs %= u.secs
	}
	return strings.Join(parts, " ")
}

// exactData writes bytes as megabytes, to the byte; 0 is empty.
func exactData(bytes uint64) string {
	if bytes == 0 {
		return ""
	}
	text := strconv.FormatUint(bytes/1e6, 10)
	if rest := bytes % 1e6; rest > 0 {
		text += strings.TrimRight(fmt.Sprintf(".%06d", rest), "0")
	}
	return text + " MB"
}

// signed writes an amount that may be below zero.
func signed(n int64, write func(uint64) string) string {
	if n < 0 {
		return "-" + or(write(uint64(-n)), "0")
	}
	return "+" + or(write(uint64(n)), "0")
}
