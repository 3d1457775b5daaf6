package clients

import (
	"testing"
	"unsafe"
)

// TestLayout pins what processes of different builds must agree on; it is the
// same on every machine.
func TestLayout(t *testing.T) {
	var h Header
	var k Worker
	var s Slot
	var g Grant
	var c Counters
	var p PortCounters
	var w sighting
	var l Losses
	var x Addresses6
	var o Capture
	var y copiesWords
	rows := []struct {
		field string
		got   uintptr
		want  uintptr
	}{
		{"Header.Magic", unsafe.Offsetof(h.Magic), 0},
		{"Header.Version", unsafe.Offsetof(h.Version), 8},
		{"Header.Slots", unsafe.Offsetof(h.Slots), 16},
		{"Header.NATBytes", unsafe.Offsetof(h.NATBytes), 24},
		{"Header.Workers", unsafe.Offsetof(h.Workers), 32},
		{"Header.Clients", unsafe.Offsetof(h.Clients), 40},
		{"Header.Seed", unsafe.Offsetof(h.Seed), 48},
		{"Header.Captured", unsafe.Offsetof(h.Captured), 56},
		{"Header.Stop", unsafe.Offsetof(h.Stop), 64},
		{"Header.Alive", unsafe.Offsetof(h.Alive), 72},
		{"Header.Down", unsafe.Offsetof(h.Down), 80},
		{"Header.Changes", unsafe.Offsetof(h.Changes), 128},
		{"Header.Events", unsafe.Offsetof(h.Events), 136},
		{"Header.TotalUp", unsafe.Offsetof(h.TotalUp), 144},
		{"Header.TotalDown", unsafe.Offsetof(h.TotalDown), 152},
		{"Header.Filtering", unsafe.Offsetof(h.Filtering), 160},
		{"Header.ClientFlows", unsafe.Offsetof(h.ClientFlows), 168},
		{"Header.ClientPorts", unsafe.Offsetof(h.ClientPorts), 176},
		{"Header.OpenAll", unsafe.Offsetof(h.OpenAll), 184},
		{"Header.open", unsafe.Offsetof(h.open), 192},
		{"Header.addressed", unsafe.Offsetof(h.addressed), 16576},
		{"Header.addressing", unsafe.Offsetof(h.addressing), 16584},
		{"Header.forwarded", unsafe.Offsetof(h.forwarded), 16856},
		{"Header.forwards", unsafe.Offsetof(h.forwards), 16864},
		{"Header.leasing", unsafe.Offsetof(h.leasing), 25072},
		{"Header.Captures", unsafe.Offsetof(h.Captures), 25088},
		{"Header.Worker", unsafe.Offsetof(h.Worker), 25344},
		{"Header", unsafe.Sizeof(h), 96000},

		{"Worker.Attached", unsafe.Offsetof(k.Attached), 0},
		{"Worker.Beat", unsafe.Offsetof(k.Beat), 8},
		{"Worker.Head", unsafe.Offsetof(k.Head), 16},
		{"Worker.Lost", unsafe.Offsetof(k.Lost), 24},
		{"Worker.Mappings", unsafe.Offsetof(k.Mappings), 32},
		{"Worker.Flows", unsafe.Offsetof(k.Flows), 40},
		{"Worker.Resolved", unsafe.Offsetof(k.Resolved), 48},
		{"Worker.HopHeard", unsafe.Offsetof(k.HopHeard), 56},
		{"Worker.counted", unsafe.Offsetof(k.counted), 64},
		{"Worker.Spent", unsafe.Offsetof(k.Spent), 72},
		{"Worker.Demand", unsafe.Offsetof(k.Demand), 88},
		{"Worker.Looped", unsafe.Offsetof(k.Looped), 104},
		{"Worker.Loops", unsafe.Offsetof(k.Loops), 112},
		{"Worker.Changes", unsafe.Offsetof(k.Changes), 120},
		{"Worker.counters", unsafe.Offsetof(k.counters), 128},
		{"Worker.use", unsafe.Offsetof(k.use), 4224},
		{"Worker.Tail", unsafe.Offsetof(k.Tail), 4352},
		{"Worker", unsafe.Sizeof(k), 4416},

		{"Counters", unsafe.Sizeof(c), 2048},
		{"Counters.Totals", unsafe.Offsetof(c.Totals), 0},
		{"Totals.BilledBytes", unsafe.Offsetof(c.Totals.BilledBytes), 0},
		{"Totals.BilledPackets", unsafe.Offsetof(c.Totals.BilledPackets), 8},
		{"Totals.ExemptBytes", unsafe.Offsetof(c.Totals.ExemptBytes), 16},
		{"Totals.ExemptPackets", unsafe.Offsetof(c.Totals.ExemptPackets), 24},
		{"Totals.OwnBytes", unsafe.Offsetof(c.Totals.OwnBytes), 32},
		{"Totals.OwnPackets", unsafe.Offsetof(c.Totals.OwnPackets), 40},
		{"Totals.AddedBytes", unsafe.Offsetof(c.Totals.AddedBytes), 48},
		{"Totals.AddedPackets", unsafe.Offsetof(c.Totals.AddedPackets), 56},
		{"Totals.QueuedBytes", unsafe.Offsetof(c.Totals.QueuedBytes), 64},
		{"Totals.QueuedPackets", unsafe.Offsetof(c.Totals.QueuedPackets), 72},
		{"Totals.HairpinBytes", unsafe.Offsetof(c.Totals.HairpinBytes), 80},
		{"Totals.LocalBytes", unsafe.Offsetof(c.Totals.LocalBytes), 96},
		{"Totals.LocalPackets", unsafe.Offsetof(c.Totals.LocalPackets), 104},
		{"Counters.Ports", unsafe.Offsetof(c.Ports), 112},
		{"PortCounters", unsafe.Sizeof(p), 56},
		{"PortCounters.RxPackets", unsafe.Offsetof(p.RxPackets), 0},
		{"PortCounters.RxBytes", unsafe.Offsetof(p.RxBytes), 8},
		{"PortCounters.TxPackets", unsafe.Offsetof(p.TxPackets), 16},
		{"PortCounters.TxBytes", unsafe.Offsetof(p.TxBytes), 24},
		{"PortCounters.Refused", unsafe.Offsetof(p.Refused), 32},
		{"PortCounters.Overflow", unsafe.Offsetof(p.Overflow), 40},
		{"PortCounters.Truncated", unsafe.Offsetof(p.Truncated), 48},
		{"Counters.Drops", unsafe.Offsetof(c.Drops), 280},
		{"Counters.DropBytes", unsafe.Offsetof(c.DropBytes), 792},
		{"Counters.Batches", unsafe.Offsetof(c.Batches), 1304},
		{"Counters.Delays", unsafe.Offsetof(c.Delays), 1440},
		{"Counters.Given", unsafe.Offsetof(c.Given), 1712},
		{"Counters.Marked", unsafe.Offsetof(c.Marked), 1984},
		{"Histogram.Buckets", unsafe.Offsetof(c.Batches.Buckets), 0},
		{"Histogram.Nanos", unsafe.Offsetof(c.Batches.Nanos), 128},

		{"Slot.State", unsafe.Offsetof(s.State), 0},
		{"Slot.Generation", unsafe.Offsetof(s.Generation), 8},
		{"Slot.MAC", unsafe.Offsetof(s.MAC), 16},
		{"Slot.IP", unsafe.Offsetof(s.IP), 24},
		{"Slot.Device", unsafe.Offsetof(s.Device), 32},
		{"Slot.Published", unsafe.Offsetof(s.Published), 40},
		{"Slot.Saved", unsafe.Offsetof(s.Saved), 48},
		{"Slot.Probe", unsafe.Offsetof(s.Probe), 56},
		{"Slot.Told", unsafe.Offsetof(s.Told), 64},
		{"Slot.Paused", unsafe.Offsetof(s.Paused), 72},
		{"Slot.PausedWhy", unsafe.Offsetof(s.PausedWhy), 80},
		{"Slot.Active", unsafe.Offsetof(s.Active), 128},
		{"Slot.LastSeen", unsafe.Offsetof(s.LastSeen), 136},
		{"Slot.Heard", unsafe.Offsetof(s.Heard), 144},
		{"Slot.LastDown", unsafe.Offsetof(s.LastDown), 152},
		{"Slot.WaitedUp", unsafe.Offsetof(s.WaitedUp), 160},
		{"Slot.WaitedDown", unsafe.Offsetof(s.WaitedDown), 168},
		{"Slot.ExemptUp", unsafe.Offsetof(s.ExemptUp), 176},
		{"Slot.ExemptDn", unsafe.Offsetof(s.ExemptDn), 184},
		{"Slot.Foreign", unsafe.Offsetof(s.Foreign), 192},
		{"Slot.Served", unsafe.Offsetof(s.Served), 200},
		{"Slot.Marked", unsafe.Offsetof(s.Marked), 208},
		{"Slot.Waiting", unsafe.Offsetof(s.Waiting), 216},
		{"Slot.Delay", unsafe.Offsetof(s.Delay), 232},
		{"Slot.Grants", unsafe.Offsetof(s.Grants), 256},
		{"Slot", unsafe.Sizeof(s), 1024},

		{"Grant.Sequence", unsafe.Offsetof(g.Sequence), 0},
		{"Grant.Session", unsafe.Offsetof(g.Session), 8},
		{"Grant.ByteLimit", unsafe.Offsetof(g.ByteLimit), 16},
		{"Grant.Duration", unsafe.Offsetof(g.Duration), 24},
		{"Grant.Expiry", unsafe.Offsetof(g.Expiry), 32},
		{"Grant.RateUp", unsafe.Offsetof(g.RateUp), 40},
		{"Grant.RateDown", unsafe.Offsetof(g.RateDown), 48},
		{"Grant.BaseUp", unsafe.Offsetof(g.BaseUp), 56},
		{"Grant.BaseDown", unsafe.Offsetof(g.BaseDown), 64},
		{"Grant.BaseTime", unsafe.Offsetof(g.BaseTime), 72},
		{"Grant.Revoked", unsafe.Offsetof(g.Revoked), 80},
		{"Grant.Weight", unsafe.Offsetof(g.Weight), 88},
		{"Grant.EndLimit", unsafe.Offsetof(g.EndLimit), 120},
		{"Grant.Taken", unsafe.Offsetof(g.Taken), 128},
		{"Grant.Started", unsafe.Offsetof(g.Started), 136},
		{"Grant.Ended", unsafe.Offsetof(g.Ended), 144},
		{"Grant.Reason", unsafe.Offsetof(g.Reason), 152},
		{"Grant.Up", unsafe.Offsetof(g.Up), 160},
		{"Grant.Down", unsafe.Offsetof(g.Down), 168},
		{"Grant.UpPackets", unsafe.Offsetof(g.UpPackets), 176},
		{"Grant.DownPackets", unsafe.Offsetof(g.DownPackets), 184},
		{"Grant", unsafe.Sizeof(g), 192},

		{"Loss.Packets", unsafe.Offsetof(l[0].Packets), 0},
		{"Loss.Last", unsafe.Offsetof(l[0].Last), 8},
		{"Losses", unsafe.Sizeof(l), 1024},

		{"Addresses6.writes", unsafe.Offsetof(x.writes), 0},
		{"Addresses6.of", unsafe.Offsetof(x.of), 8},
		{"Addresses6.at", unsafe.Offsetof(x.at), 16},
		{"Addresses6", unsafe.Sizeof(x), 512},
		{"address6.lo", unsafe.Offsetof(x.at[0].lo), 8},
		{"address6.heard", unsafe.Offsetof(x.at[0].heard), 16},
		{"address6", unsafe.Sizeof(x.at[0]), 24},

		{"sighting", unsafe.Sizeof(w), 32},

		{"Capture.ID", unsafe.Offsetof(o.ID), 0},
		{"Capture.Slot", unsafe.Offsetof(o.Slot), 8},
		{"Capture.MAC", unsafe.Offsetof(o.MAC), 16},
		{"Capture.Most", unsafe.Offsetof(o.Most), 24},
		{"Capture", unsafe.Sizeof(o), 64},
		{"copiesWords.head", unsafe.Offsetof(y.head), 0},
		{"copiesWords.lost", unsafe.Offsetof(y.lost), 8},
		{"copiesWords.tail", unsafe.Offsetof(y.tail), 64},
		{"copiesWords", unsafe.Sizeof(y), 128},
	}
	for _, row := range rows {
		if row.got != row.want {
			t.Errorf("%s: %d, want %d", row.field, row.got, row.want)
		}
	}
	one := offsets{rings: 98304, policy: 131072, acks: 135168, slots: 139264, losses: 241664, six: 344064, mail: 397312, copies: 438272, nat: 438272, end: 442368}
	if o := place(100, 1000, 1, 0); o != one {
		t.Errorf("parts at %+v, want %+v", o, one)
	}
	two := offsets{rings: 98304, policy: 163840, acks: 167936, slots: 172032, losses: 274432, six: 376832, mail: 430080, copies: 471040, nat: 471040, end: 475136}
	if o := place(100, 1000, 2, 0); o != two {
		t.Errorf("parts of two workers at %+v, want %+v", o, two)
	}
	captured := two
	captured.nat += 8 * (4096 + 65536*4)
	captured.end += 8 * (4096 + 65536*4)
	if o := place(100, 1000, 2, 65536*4); o != captured {
		t.Errorf("parts with rings of copies at %+v, want %+v", o, captured)
	}
}
