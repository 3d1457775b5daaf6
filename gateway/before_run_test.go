package gateway_test

import (
	"context"
	"testing"
	"time"

	"gatewayd/gateway"
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
