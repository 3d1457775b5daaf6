package sessions

import (
	"testing"

	"gatewayd/forwarder/clients"
	"gatewayd/store/client"
)

// A MAC is a device's name however it is written, and an id is never another device's.
func TestADeviceIsNamedByMACAndID(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	for _, key := range []string{"02:00:00:00:00:0a", "02-00-00-00-00-0A", "02:00:00:00:00:0A", "10.10.0.2", "1"} {
		if v, err := w.m.Device(bg(), key); err != nil || v.ID != d.ID {
			t.Errorf("%q: %+v, %v", key, v, err)
		}
	}
	w.m.mu.Lock()
	dev := w.m.byID[d.ID]
	records := w.m.deviceRecords(dev)
	w.m.mu.Unlock()
	stale := client.Record{Key: deviceKey(99), Value: records[0].Value}
	if err := w.m.save(bg(), []client.Record{stale}); err != nil {
		t.Fatal(err)
	}
	_, err := w.m.Create(bg(), 99, dataPlan(1))
	w.wants(err, ErrNoDevice)
}

// An entry of an index that leads to another device's record is none: a device is its
// MAC.
func TestADeviceIsItsMAC(t *testing.T) {
	w := newWorld(t).boots().runs()
	a := w.add(macA, "10.10.0.2")
	if err := w.m.save(bg(), []client.Record{{Key: macKey(hwB), Value: number(a.ID)}}); err != nil {
		t.Fatal(err)
	}
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: 0x0a0a0003})
	w.until("it is known", func() bool { v, err := w.m.Device(bg(), "10.10.0.3"); return err == nil && v.ID != 0 })
	if b := w.device("10.10.0.3"); b.ID == a.ID || b.MAC != macB {
		t.Errorf("%+v, and the first is %+v", b, a)
	}
}
