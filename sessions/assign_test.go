package sessions

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"gatewayd/forwarder/clients"
	"gatewayd/store/client"
)

// savesInDoubt makes a call whose first change reaches the disk, and the line breaks
// before the answer does. It returns the call's error.
func (w *world) savesInDoubt(call func() error) error {
	return w.cutOff(call, func(out, mid net.Conn) {
		for answers := bufio.NewReader(out); ; {
			frame, err := client.ReadFrame(answers)
			if err != nil {
				w.t.Fatal(err)
			}
			if a, err := client.ParseAnswer(frame); err != nil || a.Op == client.OpBatch {
				return
			}
			if _, err := mid.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
				w.t.Fatal(err)
			}
		}
	})
}

func TestADeviceIsChangedAllOrNothing(t *testing.T) {
	t.Parallel()
	conflict := func(w *world, call func() error) error { return call() }
	away := func(w *world, call func() error) error {
		w.away()
		defer w.back()
		return call()
	}
	hangs := func(w *world, call func() error) error {
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		w.client.Attach(near)
		defer w.back()
		defer far.Close()
		return call()
	}
	inDoubt := func(w *world, call func() error) error {
		defer w.back()
		return w.savesInDoubt(call)
	}
	update := func(mac, ip, name string) func(*world, Device) error {
		return func(w *world, d Device) error { return w.m.ClientDevice(d).Update(bg(), mac, ip, name) }
	}
	adds := func(mac, ip, name string) func(*world, Device) error {
		return func(w *world, d Device) error {
			_, _, err := w.m.AddDevice(bg(), mac, ip, name)
			return err
		}
	}
	const macSeen, macNew = "02:00:00:00:00:0d", "02:00:00:00:00:0e"
	for _, r := range []struct {
		name  string
		fails func(w *world, call func() error) error
		call  func(w *world, d Device) error
		want  error
	}{
		{"a new MAC with an address that another one answers for", conflict, update(macNew, "10.10.0.3", "new"), ErrConflict},
		{"a MAC that was only seen with such an address", conflict, update(macSeen, "10.10.0.3", "new"), ErrConflict},
		{"a device's own MAC with an address", conflict, update(macB, "10.10.0.9", "new"), ErrConflict},
		{"added again with an address that another one answers for", conflict, adds(macA, "10.10.0.3", "new"), ErrConflict},
		{"a new one with an address that another one answers for", conflict, adds(macNew, "10.10.0.3", "new"), ErrConflict},
		{"another address without the store", away, update("", "10.10.0.9", "new"), ErrUnavailable},
		{"another MAC without the store", away, update(macNew, "", "new"), ErrUnavailable},
		{"added again with another address without the store", away, adds(macA, "10.10.0.9", "new"), ErrUnavailable},
		{"added without the store", away, adds(macNew, "10.10.0.9", "new"), ErrUnavailable},
		{"added while the store hangs", hangs, adds(macNew, "10.10.0.9", "new"), ErrUnavailable},
		{"another address, the save in doubt", inDoubt, update("", "10.10.0.9", "new"), ErrUnavailable},
		{"all of it, the save in doubt", inDoubt, update(macSeen, "10.10.0.9", "new"), ErrUnavailable},
		{"a silent one's address, the save in doubt", inDoubt, update("", "10.10.0.4", "new"), ErrUnavailable},
		{"added again, the save in doubt", inDoubt, adds(macA, "10.10.0.9", "new"), ErrUnavailable},
		{"added again with a silent one's address, the save in doubt", inDoubt, adds(macA, "10.10.0.4", "new"), ErrUnavailable},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).boots().runs()
			w.fake.mu.Lock()
			w.fake.answers[hwB] = true
			w.fake.mu.Unlock()
			d := w.add(macA, "10.10.0.2")
			w.add(macB, "10.10.0.3")
			silent := w.add(macC, "10.10.0.4")
			w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwC + 1, IP: 0x0a0a0005})
			w.until("the last one is known", func() bool { return w.addresses()[macSeen] == "10.10.0.5" })
			w.until("all is written", w.clean)
			so := map[string]string{macA: "10.10.0.2", macB: "10.10.0.3", macC: "10.10.0.4", macSeen: "10.10.0.5"}

			err := r.fails(w, func() error { return r.call(w, d) })
			w.wants(err, r.want)
			same := func() {
				t.Helper()
				w.shows(so)
				if v := w.device(macA); v.ID != d.ID || v.Hostname != "" {
					t.Errorf("it is %+v", v)
				}
				if n := len(w.addresses()); n != len(so) {
					t.Errorf("%d devices, want %d: %v", n, len(so), w.addresses())
				}
				if at := w.fake.addressOf(hwA); at != ip2 && w.fake.addressOf(hwC) != 0x0a0a0004 {
					t.Errorf("the forwarder has them at %s and %s", ipText(at), ipText(w.fake.addressOf(hwC)))
				}
			}
			same()
			w.until("what was in doubt is undone", func() bool {
				a, owner := w.stored(d.ID, ip2)
				c, holder := w.stored(silent.ID, 0x0a0a0004)
				return a == "10.10.0.2" && owner == d.ID && c == "10.10.0.4" && holder == silent.ID && w.clean()
			})
			same()
			w.restarts()
			delete(so, macSeen)
			if w.addresses()[macA] != "10.10.0.2" || len(w.addresses()) != len(so) {
				t.Errorf("after a restart: %v", w.addresses())
			}
			w.shows(so)
			_, err = w.m.Device(bg(), "10.10.0.9")
			w.wants(err, ErrNoDevice)
		})
	}
}

// What succeeds is all of it, for whoever loses something by it, too.
func TestADeviceIsGivenAllOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t).boots().runs()
	d := w.add(macA, "10.10.0.2")
	w.add(macB, "10.10.0.3")
	s := w.create(d.ID, dataPlan(1))
	w.connect(d.ID)
	w.see(clients.Sighting{Kind: clients.UnknownMAC, MAC: hwC, IP: 0x0a0a0005})
	w.until("the other one is known", func() bool { return w.addresses()[macC] != "" })
	if err := w.m.ClientDevice(d).Update(bg(), macC, "10.10.0.3", "phone"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.shows(map[string]string{macC: "10.10.0.3", macB: ""})
		if v := w.device(macC); v.ID != d.ID || v.Hostname != "phone" || len(w.addresses()) != 2 {
			t.Errorf("%+v of %v", v, w.addresses())
		}
		for _, gone := range []string{macA, "10.10.0.2", "10.10.0.5"} {
			_, err := w.m.Device(bg(), gone)
			w.wants(err, ErrNoDevice)
		}
		if w.fake.addressOf(hwC) == ip3 && w.pass(macC, 100, 0) != 100 {
			t.Error("its session does not go on")
		}
		w.restarts()
	}
	if v := w.session(s.ID); v.DeviceID != d.ID {
		t.Errorf("%+v", v)
	}

	// With a packet path that takes nothing in it is saved all the same, and that is said.
	w.connect(d.ID)
	w.fake.mu.Lock()
	w.fake.stalled = true
	w.fake.mu.Unlock()
	err := w.m.ClientDevice(d).Update(bg(), macA, "10.10.0.9", "")
	w.wants(err, ErrForwarder)
	w.wants(err, errMade)
	w.fake.mu.Lock()
	w.fake.stalled = false
	w.fake.mu.Unlock()
	w.shows(map[string]string{macA: "10.10.0.9", macB: ""})
	w.until("the forwarder knows", func() bool { return w.fake.addressOf(hwA) == 0x0a0a0009 })
	w.restarts()
	w.shows(map[string]string{macA: "10.10.0.9", macB: ""})
}
