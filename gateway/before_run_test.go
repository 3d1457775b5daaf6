package gateway_test

import (
	"context"
	"testing"
	"time"

	"gatewayd/gateway"
	"gatewayd/sessions"
)

// Who is connected before Run counts as connected, and is billed nothing.
func TestConnectedBeforeRun(t *testing.T) {
	cfg, clean := atHome()
	defer clean()
	gw, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	ctx := context.Background()

	m := gw.API().SessionsMgr()
	d, _, err := gw.Sessions().AddDevice(ctx, "02:00:00:00:00:0c", "10.10.0.2", "phone")
	if err != nil {
		t.Fatal(err)
	}
	phone := gw.Sessions().ClientDevice(d)
	if err := m.CreateSession(ctx, d.ID, 0, 600, 0, nil, 5, 3, false); err != nil {
		t.Fatal(err)
	}
	if err := m.Connect(ctx, phone, "welcome"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // what would be billed
	if on, err := m.IsConnected(phone); !on || err != nil {
		t.Errorf("connected %v, %v", on, err)
	}
	if s, ok := m.CurrSession(phone); !ok || s.TimeConsumption() != 0 || s.RemainingTime() != 600 {
		t.Errorf("it has a session: %v, %+v", ok, s)
	}
}

// What only reads does not wait for a store that is starting, so New does.
func TestReadsAreServedOnceNewHasReturned(t *testing.T) {
	cfg, clean := atHome()
	defer clean()
	began := time.Now()
	gw, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Skipf("New took %v: this machine is so slow that it has given up waiting", took)
	}
	if all, _, err := gw.Sessions().Sessions(context.Background(), sessions.Filter{}, "", 0); err != nil {
		t.Errorf("%+v, %v", all, err)
	}
}
