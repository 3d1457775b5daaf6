package sessions

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

const (
	hwA = 0x02000000000a
	hwB = 0x02000000000b
	hwC = 0x02000000000c

	ip2 = 0x0a0a0002
	ip3 = 0x0a0a0003
)

func TestSightings(t *testing.T) {
	rows := []struct {
		name string
		mac  uint64
		ip   uint32
		want bool // a device is made
	}{
		{"a client inside the prefix", hwA, ip2, true},
		{"a client that has no address yet", hwA, 0, true},
		{"outside the prefix", hwA, 0xc0a80002, false},
		{"the gateway's address", hwA, 0x0a0a0001, false},
		{"the network's address", hwA, 0x0a0a0000, false},
		{"the broadcast address", hwA, 0x0a0affff, false},
		{"a group MAC", 0x01005e000001, ip2, false},
		{"no MAC", 0, ip2, false},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t).boots().runs()
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: r.mac, IP: r.ip})
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwC, IP: ip3})
			w.until("the one behind is bound", func() bool { return w.fake.addressOf(hwC) == ip3 })
			w.m.mu.Lock()
			d := w.m.byMAC[r.mac]
			w.m.mu.Unlock()
			if (d != nil) != r.want {
				t.Errorf("device %v, want one: %v", d, r.want)
			}
			if r.want && w.fake.addressOf(r.mac) != r.ip {
				t.Errorf("bound to %x, want %x", w.fake.addressOf(r.mac), r.ip)
			}
		})
	}
}

// Behind a bridge any one host's address may be a client's.
func TestAddressesBehindABridge(t *testing.T) {
	for ip, want := range map[uint32]bool{
		0xc0a80002: true, 0x08080808: true, 0x0a0affff: true, 0x0a0a0001: false, 0x7f000001: false, 0xa9fe0001: false,
		0x00000001: false, 0xe0000001: false, 0xffffffff: false,
	} {
		t.Run(ipText(ip), func(t *testing.T) {
			w := newWorld(t)
			w.opt.Bridge = true
			w.boots().runs()
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA, IP: ip})
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwC, IP: ip3})
			w.until("the one behind is bound", func() bool { return w.fake.addressOf(hwC) == ip3 })
			if got := w.fake.addressOf(hwA) == ip; got != want {
				t.Errorf("bound: %v, want %v", got, want)
			}
			if want {
				return
			}
			_, _, err := w.m.AddDevice(bg(), macB, ipText(ip), "")
			w.wants(err, ErrBadDevice)
		})
	}
}

func TestBindingRule(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		answers bool
		claim   func(w *world) // macB asks for macA's address
		given   bool
	}{
		{"a known MAC gets an address whose holder is gone", false, func(w *world) {
			w.add(macB, "10.10.0.3")
			w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwB), MAC: hwB, IP: ip2})
		}, true},
		{"a known MAC is refused an address whose holder answers", true, func(w *world) {
			w.add(macB, "10.10.0.3")
			w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwB), MAC: hwB, IP: ip2})
		}, false},
		{"a new MAC gets an address whose holder is gone", false, func(w *world) {
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip2})
		}, true},
		{"a new MAC is refused an address whose holder answers", true, func(w *world) {
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip2})
		}, false},
		{"an added device gets an address whose holder is gone", false, func(w *world) {
			w.add(macB, "10.10.0.2")
		}, true},
		{"an added device is refused an address whose holder answers", true, func(w *world) {
			_, _, err := w.m.AddDevice(bg(), macB, "10.10.0.2", "")
			w.wants(err, ErrConflict)
		}, false},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			w.fake.answers[hwA] = r.answers
			w.add(macA, "10.10.0.2")
			r.claim(w)
			if r.given {
				w.until("the address has moved", func() bool { return w.fake.addressOf(hwB) == ip2 && w.fake.addressOf(hwA) == 0 })
			} else {
				w.until("the claim is refused", func() bool {
					w.m.mu.Lock()
					defer w.m.mu.Unlock()
					return w.m.refusals == 1
				})
				if w.fake.addressOf(hwA) != ip2 || w.fake.addressOf(hwB) == ip2 {
					t.Error("the address has moved")
				}
			}
			w.fake.mu.Lock()
			defer w.fake.mu.Unlock()
			if n := w.fake.asked[hwA]; r.given && n != 2 || !r.given && n < 1 {
				t.Errorf("the holder was asked %d times", n)
			}
		})
	}
}

func TestAddressFollowsTheDevice(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.pass(macA, 100, 0)
	w.see(clients.Sighting{Kind: clients.NewAddress, Slot: w.slotOf(hwA), MAC: hwA, IP: ip3})
	w.until("the address has moved", func() bool { return w.fake.addressOf(hwA) == ip3 })
	if v := w.device("10.10.0.3"); v.ID != d.ID || !v.Connected {
		t.Errorf("%+v", v)
	}
	if n := w.pass(macA, 100, 0); n != 100 || w.session(s.ID).UpBytes != 200 {
		t.Errorf("%d bytes passed, session %+v", n, w.session(s.ID))
	}
	_, err := w.m.DeviceAt(bg(), netip.MustParseAddr("10.10.0.2"))
	w.wants(err, ErrNoBinding)
	at, err := w.m.DeviceAt(bg(), netip.MustParseAddr("10.10.0.3"))
	if err != nil || at.Id() != d.ID || at.MacAddr() != macA {
		t.Errorf("device at 10.10.0.3: %v, %v", at, err)
	}
}

func TestAddingAgain(t *testing.T) {
	w := newWorld(t).boots().runs()
	d, created, err := w.m.AddDevice(bg(), macA, "10.10.0.2", "laptop")
	if err != nil || !created {
		t.Fatal(created, err)
	}
	again, created, err := w.m.AddDevice(bg(), "02-00-00-00-00-0A", "10.10.0.2", "")
	if err != nil || created || again.ID != d.ID || again.Hostname != "laptop" {
		t.Errorf("again: %+v, created %v, %v", again, created, err)
	}
	for _, bad := range [][2]string{{"nonsense", ""}, {"01:00:5e:00:00:01", ""}, {macB, "10.10.0.1"}, {macB, "fe80::1"}, {macB, "192.0.2.1"}} {
		_, _, err := w.m.AddDevice(bg(), bad[0], bad[1], "")
		w.wants(err, ErrBadDevice)
	}
	w.kills()
	w.boots().runs()
	if v := w.device(macA); v.ID != d.ID || v.Hostname != "laptop" || v.IP != "10.10.0.2" {
		t.Errorf("after a restart: %+v", v)
	}
}

func TestAClientUnderANewMACKeepsItsSessions(t *testing.T) {
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	s := w.create(d.ID, dataPlan(1))
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip3})
	w.until("the new MAC is bound", func() bool { return w.fake.addressOf(hwB) == ip3 })
	if err := w.m.ClientDevice(d).Update(bg(), macB, "", "phone"); err != nil {
		t.Fatal(err)
	}
	v := w.device(macB)
	if v.ID != d.ID || v.IP != "10.10.0.3" || v.Hostname != "phone" {
		t.Errorf("%+v", v)
	}
	w.connect(d.ID)
	if n := w.pass(macB, 100, 0); n != 100 || w.session(s.ID).UpBytes != 100 {
		t.Errorf("%d bytes passed", n)
	}
	_, err := w.m.Device(bg(), macA)
	w.wants(err, ErrNoDevice)
	w.add(macC, "")
	w.wants(w.m.ClientDevice(d).Update(bg(), macC, "", ""), ErrConflict)
	w.kills()
	w.boots().runs()
	if v := w.device(macB); v.ID != d.ID {
		t.Errorf("after a restart: %+v", v)
	}
}

func TestFloodOfMACs(t *testing.T) {
	w := newWorld(t)
	w.slots = 32
	w.boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	for i := range 400 {
		w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: 0x020000010000 + uint64(i), IP: uint32(0x0a0a0100 + i)})
		if i%20 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if n := w.pass(macA, 1500, 0); n != 1500 {
		t.Error("a connected client lost its slot")
	}
	w.m.mu.Lock()
	n := len(w.m.byMAC)
	w.m.mu.Unlock()
	if n > 31 {
		t.Errorf("%d devices in memory for 31 slots", n)
	}
	w.advance(time.Second)
	w.until("a newcomer gets a slot", func() bool {
		w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwB, IP: ip3})
		return w.fake.addressOf(hwB) == ip3
	})
}

func TestNewcomersAreLimited(t *testing.T) {
	w := newWorld(t).stands()
	w.slots = 1024
	w.boots().runs()
	w.m.mu.Lock()
	for i := range 500 {
		w.m.meetUnknown(bg(), clients.Sighting{Kind: clients.UnknownMAC, MAC: 0x020000010000 + uint64(i), IP: uint32(0x0a0a0100 + i)})
	}
	n := len(w.m.byMAC)
	w.m.mu.Unlock()
	if n != newcomers {
		t.Errorf("%d of 500 newcomers taken at once, want %d", n, newcomers)
	}
}

func TestManyDevicesAtOnce(t *testing.T) {
	w := newWorld(t).boots().runs()
	done := make(chan error)
	const n = 20
	for i := range n {
		go func() {
			mac := fmt.Sprintf("02:00:00:00:01:%02x", i)
			d, _, err := w.m.AddDevice(bg(), mac, fmt.Sprintf("10.10.1.%d", i+1), "")
			if err == nil {
				_, err = w.m.Create(bg(), d.ID, dataPlan(1))
			}
			for range 5 {
				if err == nil {
					_, err = w.m.ConnectDevice(bg(), d.ID, "")
				}
				if err == nil {
					w.pass(mac, 100, 100)
					_, err = w.m.DisconnectDevice(bg(), d.ID, "")
				}
			}
			done <- err
		}()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	all, next, err := w.m.Sessions(bg(), Filter{}, "", 0)
	if err != nil || len(all) != n || next != "" {
		t.Fatalf("%d sessions, next %q, %v", len(all), next, err)
	}
	for _, s := range all {
		if s.UpBytes != 500 || s.DownBytes != 500 {
			t.Errorf("%+v", s)
		}
	}
}

func (w *world) slotOf(mac uint64) int {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return w.m.byMAC[mac].slot
}

// A device behind a bridge is shown with the IPv6 addresses that it was heard from.
func TestADeviceHasItsIPv6Addresses(t *testing.T) {
	for _, bridge := range []bool{true, false} {
		t.Run(fmt.Sprint("bridge ", bridge), func(t *testing.T) {
			w := newWorld(t)
			w.opt.Bridge = bridge
			w.boots().runs()
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwA}) // over IPv6 only
			slot := 0
			w.until("it is bound", func() bool {
				w.m.mu.Lock()
				defer w.m.mu.Unlock()
				if d := w.m.byMAC[hwA]; d != nil {
					slot = d.slot
				}
				return slot != 0
			})
			shown := func(key string) []string {
				t.Helper()
				v, err := w.m.Device(bg(), key)
				w.wants(err, nil)
				return v.IPv6
			}
			if got := shown(macText(hwA)); got != nil {
				t.Errorf("before anything was heard: %v", got)
			}
			generation := uint32(w.table.Slot(slot).Generation.Load())
			a := w.table.Addresses6(slot)
			a.Clear(generation)
			a.Set(0, 0xfe80<<48, 0xa, time.Second)
			a.Set(1, 0x20010db8<<32, 0xa, 2*time.Second)
			var want []string
			if bridge {
				want = []string{"2001:db8::a", "fe80::a"}
			}
			if got := shown(macText(hwA)); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			all, _, err := w.m.Devices(bg(), "", 0)
			w.wants(err, nil)
			if len(all) != 1 || !slices.Equal(all[0].IPv6, want) {
				t.Errorf("in the list: %+v, want %v", all, want)
			}
			a.Clear(generation + 1)
			if got := shown(macText(hwA)); got != nil {
				t.Errorf("another client's: %v", got)
			}
		})
	}
}
