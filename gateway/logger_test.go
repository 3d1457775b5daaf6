package gateway

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestALogIsNotFlooded(t *testing.T) {
	var out bytes.Buffer
	h := sparing{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), newRation()}
	from := time.Now()
	log := func(after time.Duration, level slog.Level, message string) {
		t.Helper()
		r := slog.NewRecord(from.Add(after), level, message, 0)
		r.AddAttrs(slog.String("mac", fmt.Sprint(after)))
		if err := h.WithAttrs([]slog.Attr{slog.Int("n", 1)}).WithGroup("g").Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	lines := func() (said []string) {
		defer out.Reset()
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
	for i := range 10_000 {
		log(time.Duration(i)*time.Millisecond, slog.LevelWarn, "address not given")
		log(time.Duration(i)*time.Millisecond, slog.LevelDebug, "client not taken in")
	}
	log(10*time.Second, slog.LevelInfo, "ready")
	if said := lines(); len(said) != sameLines+debugLines+1 || !strings.Contains(said[len(said)-1], "msg=ready") {
		t.Errorf("%d lines: %q", len(said), said)
	}
	log(logMinute, slog.LevelWarn, "address not given")
	log(logMinute, slog.LevelWarn, "address not given")
	if said := lines(); len(said) != 2 || !strings.Contains(said[0], "left_out=9995") || strings.Contains(said[1], "left_out") {
		t.Errorf("%q", said)
	}
	for i := range 10_000 {
		log(3*logMinute, slog.LevelError, fmt.Sprintf("ever another one %d", i))
	}
	if said := lines(); len(said) != allLines {
		t.Errorf("%d lines", len(said))
	}
	for minute := range 100 {
		for i := range 1000 {
			log(time.Duration(5+2*minute)*logMinute, slog.LevelError, fmt.Sprintf("%d of minute %d", i, minute))
		}
	}
	if n := len(h.ration.each); n > 2*allLines {
		t.Errorf("%d messages are remembered", n)
	}
}
