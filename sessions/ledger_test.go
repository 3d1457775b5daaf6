package sessions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/store/client"
)

// ledger reads a session's ledger by pages and checks what is true of each:
// numbers rise, counters never fall, stretches add up to the totals, and the
// last total is what the session says.
func (w *world) ledger(id int64) []LedgerLine {
	w.t.Helper()
	before, known := w.m.Session(bg(), id)
	var all []LedgerLine
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		var next string
		page := answered(w, func() (page []LedgerLine, err error) {
			page, next, err = w.m.Ledger(bg(), id, cursor, 2)
			return page, err
		})
		if len(page) > 2 {
			w.t.Errorf("a page of %d lines, 2 were asked for", len(page))
		}
		all, cursor = append(all, page...), next
	}
	var sum Counted
	for i, l := range all {
		sum.TimeMS += l.Used.TimeMS
		sum.UpBytes += l.Used.UpBytes
		sum.DownBytes += l.Used.DownBytes
		if l.Total != sum {
			w.t.Errorf("line %d says %+v in all, the stretches add up to %+v", l.Number, l.Total, sum)
		}
		if i > 0 && l.Number <= all[i-1].Number {
			w.t.Errorf("line %d behind line %d", l.Number, all[i-1].Number)
		}
		if i > 0 && l.At.Before(all[i-1].At) {
			w.t.Errorf("line %d is of %v, the one before of %v", l.Number, l.At, all[i-1].At)
		}
	}
	if known == nil && len(all) > 0 {
		after := w.session(id)
		last := all[len(all)-1]
		if sum.UpBytes < before.UpBytes || sum.UpBytes > after.UpBytes || sum.DownBytes < before.DownBytes || sum.DownBytes > after.DownBytes {
			w.t.Errorf("the ledger adds up to %+v, the session says from %+v to %+v", sum, before, after)
		}
		if secs := uint((int64(sum.TimeMS) + last.CorrectedMS) / 1000); secs < before.TimeCons || secs > after.TimeCons {
			w.t.Errorf("the ledger adds up to %d s, the session says %d to %d", secs, before.TimeCons, after.TimeCons)
		}
	}
	if w.t.Failed() {
		for _, l := range all {
			w.t.Logf("%3d %s %-7s %8d ms %6d up %6d down  %s %v", l.Number, l.At.Format(time.StampMilli), l.Kind, l.Total.TimeMS, l.Total.UpBytes, l.Total.DownBytes, l.Why, l.Changed)
		}
	}
	return all
}

// story returns the kinds of a ledger's lines.
func (w *world) story(id int64) string {
	w.t.Helper()
	var kinds []string
	for _, l := range w.ledger(id) {
		kinds = append(kinds, string(l.Kind))
	}
	return strings.Join(kinds, " ")
}

func (w *world) tells(id int64, want string) {
	w.t.Helper()
	if got := w.story(id); got != want {
		w.t.Errorf("the ledger of session %d tells %q, want %q", id, got, want)
	}
}

// tellsSoon is tells of what is told after the call that it comes from has returned.
func (w *world) tellsSoon(id int64, want string) {
	w.t.Helper()
	for end := time.Now().Add(patience); w.story(id) != want && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	w.tells(id, want)
}

// comesBack has the device with hwA seen, and waits until it passes.
func (w *world) comesBack() {
	w.t.Helper()
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip2})
	w.until("the device is admitted again", func() bool { return w.pass(macA, 10, 0) == 10 })
}

func TestALedgerSaysWhatHappened(t *testing.T) {
	t.Parallel()
	more, hour, faster := 5.0, uint(3600), 7
	rows := []struct {
		name  string
		plan  Plan
		do    func(w *world, d Device, first, second Session)
		first string
		then  string // the ledger of the second session
	}{
		{"one that was bought", dataPlan(1), func(w *world, d Device, first, second Session) {}, "create", "create"},
		{"connected", dataPlan(1), func(w *world, d Device, first, second Session) { w.connect(d.ID) }, "create start now", "create"},
		{"paused", dataPlan(1), func(w *world, d Device, first, second Session) {
			w.connect(d.ID)
			w.pass(macA, 1000, 500)
			w.disconnect(d.ID)
		}, "create start pause", "create"},
		{"resumed", dataPlan(1), func(w *world, d Device, first, second Session) {
			for range 2 {
				w.connect(d.ID)
				w.advance(90 * time.Second)
				w.pass(macA, 1000, 500)
				w.disconnect(d.ID)
			}
		}, "create start pause resume pause", "create"},
		{"topped up while it runs", dataPlan(1), func(w *world, d Device, first, second Session) {
			w.connect(d.ID)
			w.pass(macA, 1000, 500)
			w.change(first.ID, Change{DataMB: &more})
			w.pass(macA, 1000, 500)
		}, "create start top-up now", "create"},
		{"its speed and days set", dataPlan(1), func(w *world, d Device, first, second Session) {
			w.change(first.ID, Change{UpMbits: &faster, ExpDays: &hour})
		}, "create change", "create"},
		{"nothing set", dataPlan(1), func(w *world, d Device, first, second Session) {
			w.change(first.ID, Change{UpMbits: &first.UpMbits})
		}, "create", "create"},
		{"used up, and the next takes over", dataPlan(0.003), func(w *world, d Device, first, second Session) {
			w.connect(d.ID)
			w.pass(macA, 5000, 0)
			w.runsNow(second.ID)
		}, "create start end", "create chain now"},
		{"used up by time", timePlan(60), func(w *world, d Device, first, second Session) {
			w.connect(d.ID)
			w.advance(70 * time.Second)
			w.runsNow(second.ID)
		}, "create start end", "create chain now"},
		{"both used up", dataPlan(0.003), func(w *world, d Device, first, second Session) {
			w.connect(d.ID)
			w.pass(macA, 2_000_000, 0)
			w.until("it is disconnected", func() bool { return !w.device(macA).Connected })
		}, "create start end", "create chain end"},
		{"deleted while it runs", dataPlan(1), func(w *world, d Device, first, second Session) {
			w.connect(d.ID)
			w.pass(macA, 1000, 500)
			if err := w.m.Delete(bg(), first.ID); err != nil {
				w.t.Error(err)
			}
			w.pass(macA, 10, 0)
			w.runsNow(second.ID)
		}, "create start delete", "create chain now"},
		{"deleted unused", dataPlan(1), func(w *world, d Device, first, second Session) {
			if err := w.m.Delete(bg(), first.ID); err != nil {
				w.t.Error(err)
			}
		}, "create delete", "create"},
		{"the forwarder does not answer a connect", dataPlan(1), func(w *world, d Device, first, second Session) {
			w.stalls(true)
			_, err := w.m.ConnectDevice(bg(), d.ID, "")
			w.wants(err, ErrForwarder)
			w.stalls(false)
			w.until("it is settled", w.clean)
		}, "create start pause", "create"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			d := w.add(macA, "10.10.0.2")
			first := w.create(d.ID, r.plan)
			second := w.create(d.ID, dataPlan(1))
			r.do(w, d, first, second)
			w.tells(first.ID, r.first)
			w.tells(second.ID, r.then)
			w.until("all is on disk", w.clean)
			w.kills() // what has happened is on disk, once
			w.runs()
			w.tells(first.ID, strings.Replace(r.first, "now", "use now", 1))
			w.tells(second.ID, strings.Replace(r.then, "now", "use now", 1))
			w.until("all is on disk", w.clean)
			w.kills()
			w.boots().runs()
			w.tells(first.ID, strings.Replace(r.first, "now", "use pause", 1))
			w.tells(second.ID, strings.Replace(r.then, "now", "use pause", 1))
		})
	}
}

func (w *world) change(id int64, c Change) {
	w.t.Helper()
	if _, err := w.m.Update(bg(), id, c); err != nil {
		w.t.Error(err)
	}
}

// runsNow waits until the manager knows that the forwarder has begun a session.
func (w *world) runsNow(id int64) {
	w.t.Helper()
	w.until(fmt.Sprintf("session %d runs", id), func() bool {
		w.m.mu.Lock()
		defer w.m.mu.Unlock()
		return w.m.sessions[id].ledger.open
	})
}

func TestALedgerSaysThatThePowerWasCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, Plan{Type: TypeTimeOrData, DataMB: 10, TimeSecs: 1000, UseGlobalSpeed: true})
	w.connect(d.ID)
	w.pass(macA, 1000, 2000)
	w.advance(10 * time.Second)
	if _, err := w.m.checkpoint(bg(), false); err != nil {
		t.Fatal(err)
	}
	cut := w.now()
	w.kills()
	w.advance(time.Hour)
	w.boots().runs()
	w.tells(s.ID, "create start pause")
	w.comesBack()
	w.tells(s.ID, "create start pause resume now")
	pause := w.ledger(s.ID)[2]
	if got := pause.Used; got.UpBytes != 1000 || got.DownBytes != 2000 || got.TimeMS < 10_000 {
		t.Errorf("used before the cut: %+v", got)
	}
	if ran := pause.At.Sub(w.ledger(s.ID)[1].At); ran != time.Duration(pause.Used.TimeMS)*time.Millisecond {
		t.Errorf("paused %v after its start, %d ms are used", ran, pause.Used.TimeMS)
	}
	if pause.At.After(cut) || pause.At.Before(cut.Add(-time.Minute)) || pause.Why == "" {
		t.Errorf("paused at %v, the power was cut at %v: %+v", pause.At, cut, pause)
	}
}

func FuzzLine(f *testing.F) {
	s := newSession(7, 3, Plan{Type: TypeTimeOrData, DataMB: 10, TimeSecs: 1000, UseGlobalSpeed: true}, epoch)
	x := line{kind: LineTopUp, at: epoch, unsure: epoch, why: "why", changed: []LineChanged{{"data_mb", "1", "2"}}}
	x.count(s, use{1, 2, 3 * time.Second})
	f.Add(x.pack())
	x = line{kind: LineCreate, at: epoch}
	f.Add(x.pack())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := readLine(client.Record{Key: lineKey(7, 9), Value: b})
		if err != nil {
			return
		}
		again, err := readLine(x.record(7))
		if err != nil || !reflect.DeepEqual(x, again) {
			t.Errorf("%+v, read again %+v, %v", x, again, err)
		}
		m := Manager{moves: map[int64]time.Duration{}}
		if _, err := json.Marshal(m.tellLines([]line{x}, place{})); err != nil {
			t.Error(err)
		}
	})
}

func TestABackupHasTheLedgers(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.pass(macA, 1000, 500)
	var kept bytes.Buffer
	if err := w.m.Backup(bg(), &kept); err != nil {
		t.Fatal(err)
	}
	w.disconnect(d.ID)
	late := w.create(d.ID, dataPlan(1))
	if err := w.m.Restore(bg(), &kept); err != nil {
		t.Fatal(err)
	}
	w.tells(s.ID, "create start pause")
	_, _, err := w.m.Ledger(bg(), late.ID, "", 0)
	w.wants(err, ErrUnknownSession)
	w.comesBack()
	w.tells(s.ID, "create start pause resume now")
}
