package sessions

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// A ledger says of each field that was set what it was and what it is, and nothing of
// the others.
func TestALedgerSaysWhatWasSet(t *testing.T) {
	before := newSession(1, 1, Plan{Type: TypeTimeOrData, TimeSecs: 60, DataMB: 1.5, DownMbits: 5, UpMbits: 3}, epoch)
	days := uint(30)
	for field, row := range map[string]struct {
		set      func(s *session)
		old, now string
	}{
		"time_secs":          {func(s *session) { s.timeLimit = 2 * time.Minute }, "60", "120"},
		"data_mb":            {func(s *session) { s.dataLimit = 2_000_001 }, "1.5", "2.000001"},
		"time_cons":          {func(s *session) { s.timeEdit = 3 * time.Second }, "10", "13"},
		"data_cons":          {func(s *session) { s.dataEdit = -100_000 }, "0.5", "0.4"},
		"exp_days":           {func(s *session) { s.expDays = &days }, "never", "30"},
		"down_mbits":         {func(s *session) { s.downMbits = 7 }, "5", "7"},
		"up_mbits":           {func(s *session) { s.upMbits = 9 }, "3", "9"},
		"use_global_speed":   {func(s *session) { s.global = true }, "false", "true"},
		"weight":             {func(s *session) { s.weight = 4 }, "1", "4"},
		"throttle_down_bits": {func(s *session) { s.throttle.down = 512_000 }, "0", "512000"},
		"throttle_up_bits":   {func(s *session) { s.throttle.up = 256_000 }, "0", "256000"},
		"started_at":         {func(s *session) { s.startedAt = epoch }, "not started", "2026-03-01T12:00:00Z"},
	} {
		after := *before
		row.set(&after)
		want := []LineChanged{{field, row.old, row.now}}
		if got := differences(before, &after, use{200_000, 300_000, 10 * time.Second}); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// A reason of any length and any bytes is kept as far as it is short, and is text.
func TestAReasonIsKeptInBounds(t *testing.T) {
	for _, why := range []string{"", "bye", strings.Repeat("x", maxWhy), strings.Repeat("x", 2000), strings.Repeat("é", 500), "x" + strings.Repeat("𝄞", 500), strings.Repeat("\xffx", 500)} {
		kept := shortened(why)
		if len(kept) > maxWhy+len("…") || !utf8.ValidString(kept) {
			t.Errorf("%.20q of %d bytes is kept as %q", why, len(why), kept)
		}
		switch short := len(why) <= maxWhy; {
		case short && kept != why:
			t.Errorf("%q is kept as %q", why, kept)
		case !short && !strings.HasSuffix(kept, "…"):
			t.Errorf("%q does not say that it was longer", kept)
		}
	}
}

// The last line of a session that is deleted while it runs has what passes until the
// forwarder has taken that in, also while the disk takes its time.
func TestADeletionCountsToTheEnd(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.pass(macA, 1000, 500)
	w.m.books.owing <- struct{}{} // somebody waits for the disk
	deleted := make(chan error)
	go func() { deleted <- w.m.Delete(bg(), s.ID) }()
	w.until("it is on its way to the disk", func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		return w.m.sessions[s.ID].writing
	})
	w.pass(macA, 700, 0)
	w.m.books.owing.done()
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	w.until("all of it is counted", func() bool {
		lines := w.ledger(s.ID)
		x := lines[len(lines)-1]
		return x.Kind == LineDelete && x.Total.UpBytes == 1700 && x.Total.DownBytes == 500
	})
}

// A session that was used up before it was paused, which nobody saw yet, is not paused
// in its ledger, whatever is done to its device meanwhile.
func TestWhatHasEndedIsNotPausedAfterwards(t *testing.T) {
	t.Parallel() // it waits for the forwarder
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	w.until("on disk", w.clean)
	w.stalls(true)
	w.advance(70 * time.Second)
	w.m.mu.Lock()
	dev := w.m.byID[d.ID]
	w.m.mu.Unlock()
	if err := dev.turn.take(bg()); err != nil {
		t.Fatal(err)
	}
	w.m.mu.Lock()
	w.m.halt(dev, dev.current().session, pauseIdle, "paused")
	w.m.mu.Unlock()
	w.m.finish(dev)
	_, err := w.m.DisconnectDevice(bg(), d.ID, "bye")
	w.wants(err, ErrForwarder)
	w.stalls(false)
	w.until("it is settled and on disk", func() bool { return w.session(s.ID).State == Consumed && w.clean() })
	w.tells(s.ID, "create start end")
}
