package sessions

import (
	"testing"

	"gatewayd/forwarder/clients"
)

// stored is what the disk has of a device's address, and whose it has the address.
func (w *world) stored(id int64, ip uint32) (address string, owner int64) {
	w.t.Helper()
	b, ok, err := w.client.Get(bg(), deviceKey(id))
	if err != nil || !ok {
		w.t.Fatalf("device %d on disk: %v, %v", id, ok, err)
	}
	v, _, err := readDevice(b)
	if err != nil {
		w.t.Fatal(err)
	}
	if b, ok, err = w.client.Get(bg(), addressKey(ip)); err != nil {
		w.t.Fatal(err)
	}
	if ok {
		owner, _ = numberOf(b)
	}
	return v.IP, owner
}

// addresses are those of all devices, as a list shows them.
func (w *world) addresses() map[string]string {
	w.t.Helper()
	page, _, err := w.m.Devices(bg(), "", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	for _, v := range page {
		all[v.MAC] = v.IP
	}
	return all
}

// shows wants the list, and each device by MAC, to have these addresses, and each
// address to name its device.
func (w *world) shows(want map[string]string) {
	w.t.Helper()
	list := w.addresses()
	for mac, ip := range want {
		if v := w.device(mac); v.IP != ip || list[mac] != ip {
			w.t.Errorf("%s is at %q, and at %q in the list; want %q", mac, v.IP, list[mac], ip)
		}
		if ip == "" {
			continue
		}
		if v := w.device(ip); v.MAC != mac {
			w.t.Errorf("%s names %s, want %s", ip, v.MAC, mac)
		}
	}
}

func (w *world) restarts() {
	w.t.Helper()
	w.kills()
	w.boots().runs()
}

func TestAnAddressNamesItsDeviceAfterARestart(t *testing.T) {
	w := newWorld(t).boots().runs()
	a := w.add(macA, "10.10.7.7")
	w.restarts()
	w.shows(map[string]string{macA: "10.10.7.7"})
	if v := w.standing("10.10.7.7"); v.Device == nil || v.Device.ID != a.ID {
		t.Errorf("standing %+v", v)
	}
	_, err := w.m.Device(bg(), "10.10.7.8")
	w.wants(err, ErrNoDevice)
	w.create(a.ID, timePlan(60))
	w.connect(a.ID)
	if at := w.fake.addressOf(hwA); at != 0x0a0a0707 {
		t.Errorf("bound to %s", ipText(at))
	}

	// It goes on to another one by its own packet.
	w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwA), MAC: hwA, IP: ip3})
	w.until("the disk has its new address", func() bool {
		ip, owner := w.stored(a.ID, ip3)
		return ip == "10.10.0.3" && owner == a.ID
	})
	w.restarts()
	w.shows(map[string]string{macA: "10.10.0.3"})
	_, err = w.m.Device(bg(), "10.10.7.7")
	w.wants(err, ErrNoDevice)
}

// A device away from the gateway has its last address until another one sends from it.
func TestAnAddressIsOneDevices(t *testing.T) {
	w := newWorld(t).boots().runs()
	a := w.add(macA, "10.10.0.2")
	w.restarts()
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip2})
	w.until("the other one is bound", func() bool { return w.fake.addressOf(hwB) == ip2 })
	w.until("the other one is known", func() bool { return w.addresses()[macB] != "" })
	w.shows(map[string]string{macA: "", macB: "10.10.0.2"})
	if ip, _ := w.stored(a.ID, ip2); ip != "10.10.0.2" {
		t.Errorf("who only passes by changed the disk: %q", ip)
	}
	w.restarts()
	w.shows(map[string]string{macA: "10.10.0.2"})

	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip2})
	w.until("the other one is known", func() bool { return w.addresses()[macB] != "" })
	b := w.device(macB)
	w.create(b.ID, timePlan(60))
	w.until("the disk has moved the address", func() bool {
		was, _ := w.stored(a.ID, ip2)
		is, owner := w.stored(b.ID, ip2)
		return was == "" && is == "10.10.0.2" && owner == b.ID
	})
	w.shows(map[string]string{macA: "", macB: "10.10.0.2"})
	w.restarts()
	w.shows(map[string]string{macA: "", macB: "10.10.0.2"})

	// Back to the first one, as an administrator says, and by its own packet.
	w.add(macA, "10.10.0.2")
	w.restarts()
	w.shows(map[string]string{macA: "10.10.0.2", macB: ""})
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip2})
	w.until("the disk has moved the address", func() bool {
		was, _ := w.stored(a.ID, ip2)
		is, owner := w.stored(b.ID, ip2)
		return was == "" && is == "10.10.0.2" && owner == b.ID
	})
	w.restarts()
	w.shows(map[string]string{macA: "", macB: "10.10.0.2"})
}

func TestExchangedAddressesOutliveARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	a, b := w.add(macA, "10.10.0.2"), w.add(macB, "10.10.0.3")
	w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwA), MAC: hwA, IP: ip3})
	w.until("the first one has moved", func() bool { return w.fake.addressOf(hwA) == ip3 })
	w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwB), MAC: hwB, IP: ip2})
	w.until("both have moved, also on disk", func() bool {
		at, atOwner := w.stored(a.ID, ip3)
		bt, btOwner := w.stored(b.ID, ip2)
		return at == "10.10.0.3" && bt == "10.10.0.2" && atOwner == a.ID && btOwner == b.ID
	})
	w.shows(map[string]string{macA: "10.10.0.3", macB: "10.10.0.2"})
	w.restarts()
	w.shows(map[string]string{macA: "10.10.0.3", macB: "10.10.0.2"})
}

// While the store is away nobody can say whose an address was.
func TestAnAddressWithoutTheStore(t *testing.T) {
	w := newWorld(t).boots().runs()
	w.add(macA, "10.10.0.2")
	w.away()
	if v := w.device("10.10.0.2"); v.MAC != macA {
		t.Errorf("%+v", v)
	}
	_, err := w.m.Device(bg(), "10.10.0.3")
	w.wants(err, ErrUnavailable)
}
