package sessions

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
)

func TestRegularsAreAllKnownAndFewStrangersPassForOne(t *testing.T) {
	const devices = 100_000
	r := newRegulars()
	random := rand.New(rand.NewPCG(1, 2))
	mac := func() uint64 { return random.Uint64() >> 16 }
	var macs []uint64
	for range devices {
		macs = append(macs, mac())
		r.add(macs[len(macs)-1])
	}
	for _, hw := range macs {
		if !r.has(hw) {
			t.Fatalf("%012x is forgotten", hw)
		}
	}
	strangers := 0
	for range devices {
		if r.has(mac()) {
			strangers++
		}
	}
	t.Logf("%d of %d strangers pass for regulars", strangers, devices)
	if strangers > devices/200 {
		t.Errorf("%d of %d strangers pass for regulars, want about 0.1 %%", strangers, devices)
	}
}

// A flood of made-up MACs uses up each second's newcomers and all slots but
// those kept. Who is on disk comes in all the same, also after a restart, when
// nothing but the disk knows it.
func TestRegularsComeInDuringAFlood(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("after a restart: %v", restart), func(t *testing.T) {
			w := newWorld(t)
			w.slots = 512
			w.boots().runs()
			d := w.add(macA, "10.10.0.2")
			w.create(d.ID, dataPlan(1))
			w.connect(d.ID)
			w.end()
			if restart {
				w.boots()
			}
			w.runs()
			hw, _ := parseMAC(macA)
			w.until("the disk's MACs are known", func() bool {
				w.m.mu.Lock()
				defer w.m.mu.Unlock()
				return w.m.regulars.has(hw)
			})
			next := uint64(0)
			flood := func() {
				w.m.mu.Lock()
				defer w.m.mu.Unlock()
				for range 2 * newcomers {
					next++
					w.m.meetUnknown(bg(), clients.Sighting{Kind: clients.UnknownMAC, MAC: 0x020000010000 + next, IP: 0x0a0a0100 + uint32(next)%60000})
				}
			}
			flood()
			if !restart {
				w.disconnect(d.ID)
				w.until("the client has lost its slot", func() bool {
					w.advance(time.Second)
					flood()
					w.m.mu.Lock()
					defer w.m.mu.Unlock()
					return w.m.byMAC[hw] == nil || w.m.byMAC[hw].slot == 0
				})
				w.until("the forwarder has let it go", func() bool { return w.fake.addressOf(hw) == 0 })
				flood()
			}
			w.m.mu.Lock()
			w.m.meetUnknown(bg(), clients.Sighting{Kind: clients.UnknownMAC, MAC: hw, IP: ip2})
			in := w.m.byMAC[hw] != nil && w.m.byMAC[hw].slot != 0
			w.m.mu.Unlock()
			if !in {
				t.Fatal("it did not come in at once")
			}
			if restart {
				w.until("it is connected again", func() bool { return w.pass(macA, 100, 0) == 100 })
			}
		})
	}
}

func TestAFloodWithoutTheStoreIsForgotten(t *testing.T) {
	w := newWorld(t).boots().runs()
	w.away()
	next, made := uint64(0), 0
	w.until("five houses full have come and gone", func() bool {
		w.m.mu.Lock()
		for range newcomers {
			next++
			w.m.meetUnknown(bg(), clients.Sighting{Kind: clients.UnknownMAC, MAC: 0x020000010000 + next, IP: 0x0a0a0100 + uint32(next)%60000})
			if w.m.byMAC[0x020000010000+next] != nil {
				made++
			}
		}
		w.m.mu.Unlock()
		w.advance(time.Second)
		w.m.keepSlotsFree()
		return made > 5*w.slots
	})
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if n := len(w.m.lookups); n > 2*w.slots {
		t.Errorf("%d devices wait to be looked up, in a table of %d", n, w.slots)
	}
	if n := len(w.m.byMAC); n > w.slots {
		t.Errorf("%d devices in memory, in a table of %d", n, w.slots)
	}
}
