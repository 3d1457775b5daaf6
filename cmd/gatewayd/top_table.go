package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"gatewayd/gateway"
)

// top is what is shown of GET /top.
type top struct {
	Ready    bool     `json:"ready"`
	Degraded []string `json:"degraded"`
	Traffic  struct {
		Now     time.Time `json:"now"`
		OverMS  int64     `json:"over_ms"`
		Clients struct {
			Bound, Connected, Paused int
		} `json:"clients"`
		Down       flow        `json:"down"`
		Up         flow        `json:"up"`
		Drops      float64     `json:"drops_per_second"`
		OtherDrops float64     `json:"other_drops_per_second"`
		Items      []topClient `json:"items"`
	} `json:"traffic"`
}

// flow is what goes one way.
type flow struct {
	Bits    uint64  `json:"bits_per_second"`
	Packets uint64  `json:"packets_per_second"`
	Limit   uint64  `json:"limit_bits_per_second"`
	DelayMS float64 `json:"delay_ms"`
}

type topClient struct {
	MAC      string  `json:"mac"`
	IP       string  `json:"ip"`
	Hostname string  `json:"hostname"`
	Session  session `json:"session"`
	Down     flow    `json:"down"`
	Up       flow    `json:"up"`
	Drops    uint64  `json:"drops"`
	DropRate float64 `json:"drops_per_second"`
	Marked   uint64  `json:"marked"`
}

// column is one of the table's. On a narrow screen those of the highest rank are left
// out.
type column struct {
	name  string
	right bool // aligned
	width int  // at least
	rank  int
	text  func(c *topClient) string
}

const (
	clientColumn = 0
	widestClient = 24 // on a screen
)

var columns = []column{
	clientColumn: {"CLIENT", false, 15, 0, (*topClient).name},
	{"DOWN", true, 5, 1, func(c *topClient) string { return short(c.Down.Bits) }},
	{"UP", true, 5, 2, func(c *topClient) string { return short(c.Up.Bits) }},
	{"USED%", true, 7, 3, func(c *topClient) string { return c.Down.used() + "/" + c.Up.used() }},
	{"DELAY", true, 7, 4, func(c *topClient) string { return number(c.Down.DelayMS) + "/" + number(c.Up.DelayMS) }},
	{"DROP/S", true, 6, 5, func(c *topClient) string { return number(c.DropRate) }},
	{"DROPS", true, 7, 10, func(c *topClient) string { return short(c.Drops) }},
	{"MARKS", true, 7, 11, func(c *topClient) string { return short(c.Marked) }},
	{"TIME-LEFT", true, 9, 6, (*topClient).timeLeft},
	{"DATA-LEFT", true, 9, 7, (*topClient).dataLeft},
	{"STATE", false, 9, 8, (*topClient).state},
	{"PLAN", false, 9, 9, (*topClient).plan},
	{"SESSION", true, 7, 12, func(c *topClient) string { return fmt.Sprint(c.Session.ID) }},
	{"TYPE", false, 12, 13, func(c *topClient) string { return orDash(c.Session.Type) }},
	{"IP", false, 15, 14, func(c *topClient) string { return orDash(c.IP) }},
	{"MAC", false, 17, 15, func(c *topClient) string { return orDash(c.MAC) }},
}

// name is what a client is called: by its hostname, or else its address.
func (c *topClient) name() string {
	for _, name := range []string{c.Hostname, c.IP} {
		if strings.TrimSpace(name) != "" {
			return orDash(name)
		}
	}
	return orDash(c.MAC)
}

func (c *topClient) timeLeft() string {
	if c.Session.Type == "data" {
		return "-"
	}
	return humanTime(c.Session.RemainingTime)
}

func (c *topClient) dataLeft() string {
	if c.Session.Type == "time" {
		return "-"
	}
	return humanData(c.Session.RemainingData)
}

// state is the session's, or that it is used up and goes on at its throttle.
func (c *topClient) state() string {
	if c.Session.Throttled && c.Session.State == "running" {
		return "throttled"
	}
	return orDash(c.Session.State)
}

// plan is the speeds that hold.
func (c *topClient) plan() string {
	if c.Down.Limit == 0 && c.Up.Limit == 0 {
		return "unlimited"
	}
	speed := func(f flow) string {
		if f.Limit == 0 {
			return "-"
		}
		return short(f.Limit)
	}
	return speed(c.Down) + "/" + speed(c.Up)
}

// used is how much of its limit passes, in percent; - without one.
func (f flow) used() string {
	if f.Limit == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", 100*float64(f.Bits)/float64(f.Limit))
}

// lines are an answer in words, the verdict first, then the table's names and its rows.
// width is the screen's; 0: there is none, and nothing is left out.
func (t *top) lines(width int) []string {
	lines := append(t.head(), "")
	shown := t.fitting(width)
	cells := make([][]string, len(t.Traffic.Items)+1)
	widths := make([]int, len(columns))
	for i, c := range columns {
		if !shown[i] {
			continue
		}
		widths[i] = t.widthOf(i, width)
		for row := range cells {
			text := c.name
			if row > 0 {
				text = cut(c.text(&t.Traffic.Items[row-1]), widths[i])
			}
			if pad := strings.Repeat(" ", max(0, widths[i]-uniseg.StringWidth(text))); c.right {
				text = pad + text
			} else {
				text += pad
			}
			cells[row] = append(cells[row], text)
		}
	}
	for _, row := range cells {
		lines = append(lines, strings.Join(row, " "))
	}
	if len(t.Traffic.Items) == 0 {
		lines = append(lines, "nobody is connected; see who is known: gatewayd devices list")
	}
	return lines
}

// titleLine is which of the lines has the columns' names.
func (t *top) titleLine() int { return len(t.head()) + 1 }

// widthOf is how wide a column is on a screen of a width; 0: on none.
func (t *top) widthOf(i, screen int) int {
	c := &columns[i]
	width := max(c.width, len(c.name))
	for row := range t.Traffic.Items {
		width = max(width, uniseg.StringWidth(c.text(&t.Traffic.Items[row])))
	}
	if i == clientColumn && screen > 0 {
		width = min(width, widestClient)
		if screen < 100 {
			width = c.width
		}
	}
	return width
}

// fitting says which columns there is room for, the most important first.
func (t *top) fitting(width int) []bool {
	shown := make([]bool, len(columns))
	room := width + 1 // the first has no space before it
	for rank := range columns {
		for i, c := range columns {
			if c.rank != rank {
				continue
			}
			need := t.widthOf(i, width) + 1
			if width > 0 && rank > 0 && need > room {
				return shown
			}
			shown[i], room = true, room-need
		}
	}
	return shown
}

// head is what stands above the table: the verdict, and what all clients do together.
func (t *top) head() []string {
	f := &t.Traffic
	verdict := fmt.Sprintf("%s  (%s, over %s s)", gateway.Verdict(t.Ready, t.Degraded), f.Now.Local().Format(time.TimeOnly), number(float64(f.OverMS)/1000))
	if len(t.Degraded) > 0 {
		verdict += ": " + orDash(t.Degraded[0])
	}
	if more := len(t.Degraded) - 1; more > 0 {
		verdict += fmt.Sprintf(" (and %d more: gatewayd status)", more)
	}
	return []string{
		verdict,
		fmt.Sprintf("%d clients online, %d paused, %d known; drops/s: %s for the rate, %s other",
			f.Clients.Connected, f.Clients.Paused, f.Clients.Bound, number(f.Drops), number(f.OtherDrops)),
		"down  " + f.Down.words(),
		"up    " + f.Up.words(),
	}
}

// words are what all clients together have of a direction.
func (f flow) words() string {
	limit := ""
	if f.Limit > 0 {
		limit = fmt.Sprintf(", %s %% of %s", f.used(), speedWords(f.Limit))
	}
	return fmt.Sprintf("%s%s, %d packets/s, longest delay %s ms", speedWords(f.Bits), limit, f.Packets, number(f.DelayMS))
}

// speedWords writes bits a second: 84.2 Mbit/s.
func speedWords(bits uint64) string {
	text := short(bits)
	if unit := strings.TrimLeft(text, "0123456789."); unit != "" {
		return strings.TrimSuffix(text, unit) + " " + unit + "bit/s"
	}
	return text + " bit/s"
}

// short writes a number in five characters: 950, 4.98M, 12.3k, 100M.
func short(n uint64) string {
	value := float64(n)
	for _, unit := range []string{"", "k", "M", "G", "T", "P", "E"} {
		switch {
		case unit == "" && n < 1000:
			return fmt.Sprint(n)
		case unit != "" && value < 9.995:
			return strings.TrimSuffix(fmt.Sprintf("%.2f", value), ".00") + unit
		case unit != "" && value < 99.95:
			return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + unit
		case unit != "" && value < 999.5:
			return fmt.Sprintf("%.0f", value) + unit
		}
		value /= 1000
	}
	return "?"
}

// number writes what is small with one digit behind the point: 0, 0.5, 3, 120.
func number(v float64) string {
	if v > 0 && v < 0.1 {
		return "<0.1"
	}
	if v < 9.95 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	return fmt.Sprintf("%.0f", math.Min(v, 1e9))
}

// cut shortens text to a width on the screen, and says so with a + at its end.
func cut(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var kept strings.Builder
	room := width - 1
	for g := uniseg.NewGraphemes(text); g.Next() && g.Width() <= room; room -= g.Width() {
		kept.WriteString(g.Str())
	}
	return kept.String() + "+"
}
