//go:build netns

package gateway_test

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestWhereTheMinutesWent has a client use a session in two stretches, with a
// top-up and a killed control, and reads its ledger as a shopkeeper would.
func TestWhereTheMinutesWent(t *testing.T) {
	t.Parallel()
	lasts := 2 * time.Second
	if soaking() {
		lasts = 20 * time.Second
	}
	l := newLab(t)
	d := l.start()
	v := d.sell(`{"type":"time_or_data","time_secs":600,"data_mb":100,"down_mbits":50,"up_mbits":50}`)
	up, down := l.settle()
	var least, most time.Duration // that the client could use, by the test's own clock

	stretch := func(during func()) {
		asked := time.Now()
		d.connect()
		open := time.Now()
		s := l.stream(time.Millisecond, 200)
		s.flows()
		time.Sleep(lasts)
		during()
		time.Sleep(lasts)
		s.end()
		l.settle()
		least += time.Since(open)
		d.disconnect()
		most += time.Since(asked)
	}
	stretch(func() { d.must("PATCH", fmt.Sprint("/sessions/", v.ID), `{"time_secs":1200}`, nil) })
	time.Sleep(lasts)
	stretch(func() { d.replaced("control", d.kill("control")) })

	u, w := l.settle()
	want := u.bytes - up.bytes + w.bytes - down.bytes
	story := "bought started topped up paused resumed used paused"
	for _, when := range []string{"at the end", "after a restart", "after it was deleted"} {
		switch when {
		case "after a restart":
			d.stop()
			d = l.start()
		case "after it was deleted":
			d.must("DELETE", fmt.Sprint("/sessions/", v.ID), "", nil)
			story += " deleted"
		}
		_, out, errs := l.command("sessions", "show", fmt.Sprint(v.ID), "--ledger", "--socket", l.dir+"/gatewayd.sock")
		x := readLedger(t, out+errs)
		if x.story != story {
			t.Errorf("%s it tells %q, want %q", when, x.story, story)
		}
		if x.bytes != want || x.bytesInAll != want {
			t.Errorf("%s the rows add up to %d bytes and the last line says %d, %d arrived", when, x.bytes, x.bytesInAll, want)
		}
		if x.time != x.timeInAll || x.time < least.Truncate(time.Second)-time.Second || x.time > most+time.Second {
			t.Errorf("%s the rows add up to %v and the last line says %v, the client was let in for %v to %v", when, x.time, x.timeInAll, least, most)
		}
		if !strings.Contains(out, "time from 10m 0s to 20m 0s") {
			t.Errorf("%s it does not say what the top-up was:\n%s", when, out)
		}
	}
}

// readAloud is what the command's table says.
type readAloud struct {
	story             string
	time, timeInAll   time.Duration
	bytes, bytesInAll uint64
}

var (
	columns = regexp.MustCompile(` {2,}`)
	inAll   = regexp.MustCompile(`(?m)^used: (.*?), (\S+ MB) \(\S+ MB up, \S+ MB down\)$`)
)

func readLedger(t *testing.T, out string) (x readAloud) {
	t.Helper()
	table, _, _ := strings.Cut(out, "\n\n")
	var kinds []string
	for _, row := range strings.Split(table, "\n")[1:] {
		cells := columns.Split(row, -1)
		if len(cells) != 6 {
			t.Fatalf("%d columns in %q of\n%s", len(cells), row, out)
		}
		kinds = append(kinds, cells[1])
		x.time += readTime(t, cells[2])
		x.bytes += readData(t, cells[3])
	}
	x.story = strings.Join(kinds, " ")
	sums := inAll.FindStringSubmatch(out)
	if sums == nil {
		t.Fatalf("no sums in\n%s", out)
	}
	x.timeInAll, x.bytesInAll = readTime(t, sums[1]), readData(t, sums[2])
	return x
}

func readTime(t *testing.T, text string) time.Duration {
	t.Helper()
	if text == "-" {
		return 0
	}
	v, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	check(t, err)
	return v
}

func readData(t *testing.T, text string) uint64 {
	t.Helper()
	if text == "-" {
		return 0
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, " MB"), 64)
	check(t, err)
	return uint64(math.Round(v * 1e6))
}
