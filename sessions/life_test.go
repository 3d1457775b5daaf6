package sessions

import (
	"testing"
	"time"
	"unsafe"
)

func bytesOf(mem []uint64) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&mem[0])), 8*len(mem)) }

func TestConnectPassDisconnect(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	_, err := w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNoSession)
	s := w.create(d.ID, dataPlan(1))
	if s.State != Available || s.RemainingData != 1 {
		t.Fatalf("new session: %+v", s)
	}
	if n := w.pass(macA, 1000, 0); n != 0 {
		t.Errorf("%d bytes passed before connect", n)
	}
	w.connect(d.ID)
	_, err = w.m.ConnectDevice(bg(), d.ID, "")
	w.wants(err, ErrAlreadyConnected)
	if n := w.pass(macA, 1000, 2345); n != 3345 {
		t.Errorf("%d bytes passed, want 3345", n)
	}
	s = w.session(s.ID)
	if s.State != Running || s.UpBytes != 1000 || s.DownBytes != 2345 || s.DataCons != 0.003345 || s.StartedAt == nil {
		t.Errorf("running session: %+v", s)
	}
	if v := w.device(macA); !v.Connected || v.Session == nil || v.Session.ID != s.ID {
		t.Errorf("connected device: %+v", v)
	}
	w.disconnect(d.ID)
	if n := w.pass(macA, 1000, 0); n != 0 {
		t.Errorf("%d bytes passed after disconnect", n)
	}
	s = w.session(s.ID)
	if s.State != Available || s.UpBytes != 1000 || s.DownBytes != 2345 {
		t.Errorf("paused session: %+v", s)
	}
	_, err = w.m.DisconnectDevice(bg(), d.ID, "")
	w.wants(err, ErrNotConnected)

	w.connect(d.ID)
	if n := w.pass(macA, 0, 2_000_000); n != (1_000_000-3345)/1500*1500 {
		t.Errorf("%d bytes passed of the rest", n)
	}
	w.until("the session is consumed and the device disconnected", func() bool { return !w.device(macA).Connected })
	if s = w.session(s.ID); s.State != Consumed || s.RemainingData != 0 || s.UpBytes+s.DownBytes != 3345+(1_000_000-3345)/1500*1500 {
		t.Errorf("consumed session: %+v", s)
	}
}

func TestTimeIsConsumedToTheSecond(t *testing.T) {
	w := newWorld(t).stands().boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, timePlan(60))
	w.connect(d.ID)
	w.advance(12500 * time.Millisecond)
	if v := w.session(s.ID); v.TimeCons != 12 || v.RemainingTime != 48 {
		t.Errorf("after 12.5 s: %+v", v)
	}
	w.disconnect(d.ID)
	w.advance(time.Hour)
	w.connect(d.ID)
	w.advance(12500 * time.Millisecond)
	if v := w.session(s.ID); v.TimeCons != 25 || v.RemainingTime != 35 {
		t.Errorf("after another 12.5 s: %+v", v)
	}
	w.advance(time.Minute)
	w.until("the device is disconnected", func() bool { return !w.device(macA).Connected })
	if v := w.session(s.ID); v.State != Consumed || v.TimeCons != 60 || v.RemainingTime != 0 {
		t.Errorf("used up: %+v", v)
	}
}
