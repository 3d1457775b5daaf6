package nat

import "testing"

// Drop has a client leave all its addresses, and waits until it has.
func (t *Table) Drop(c Client) {
	if c.Slot > uint32(t.opt.MaxClients) {
		t.Leave(c, 0)
		return
	}
	from := map[uint32]bool{}
	for i := t.clients[c.Slot].first; i != 0; i = t.links[i].clientNext {
		from[t.flows[i].addr] = true
	}
	for addr := range from {
		t.Leave(c, addr)
	}
	for t.departures.count > 0 {
		t.depart(1)
	}
}

func TestLeave(t *testing.T) {
	open := func(t *testing.T, flows int) *world {
		w := newWorld(t, nil)
		for i := range uint16(flows) {
			w.must(udp(alice, 1, server, 1+i), clientA, none)
		}
		return w
	}
	left := func(w *world, want int) {
		w.t.Helper()
		if _, flows := w.Counts(); flows != want {
			w.t.Errorf("%d flows, want %d", flows, want)
		}
	}
	t.Run("a part of the flows ends with each Expire", func(t *testing.T) {
		w := open(t, 100)
		w.Leave(clientA, alice)
		left(w, 100)
		for _, want := range []int{68, 36, 4, 0} {
			if !w.Leaving() {
				t.Errorf("nobody leaves, before %d", want)
			}
			w.Expire(w.now, 64)
			left(w, want)
		}
		if w.Expire(w.now, 64); w.Leaving() {
			t.Error("still leaving")
		}
	})
	t.Run("flows from another address, of another client and of another generation stay", func(t *testing.T) {
		w := open(t, 3)
		w.must(udp(bob, 1, server, 53), clientB, none)
		w.Leave(clientA, alice)
		w.must(udp(alice+7, 1, server, 53), clientA, none) // where it is now
		w.Leave(Client{clientB.Slot, clientB.Generation + 1}, bob)
		w.Leave(clientB, bob+1)
		for w.Leaving() {
			w.Expire(w.now, 2)
		}
		left(w, 2)
	})
	t.Run("who gets the address before has it for itself at once", func(t *testing.T) {
		w := open(t, 100)
		w.Leave(clientA, alice)
		w.must(udp(alice, 1, server, 1), clientB, none)
		left(w, 1)
		for w.Leaving() {
			w.Expire(w.now, 64)
		}
		left(w, 1)
	})
	t.Run("more than may leave at once leave in one go", func(t *testing.T) {
		w := open(t, 10)
		for range maxLeaving {
			w.Leave(clientA, alice+1) // from where it never was
		}
		left(w, 10)
		w.Leave(clientA, alice)
		left(w, 0)
	})
	t.Run("who has no flow leaves nothing to do", func(t *testing.T) {
		w := open(t, 0)
		w.Leave(clientA, alice)
		w.Leave(Client{Slot: 1 << 30}, alice)
		if w.Leaving() {
			t.Error("somebody leaves")
		}
	})
}

// BenchmarkLeave is one Expire, as each round has one, while a client of 2000
// flows leaves, among 100,000 others.
func BenchmarkLeave(b *testing.B) {
	table, _, _ := filled(b, 100_000)
	c := Client{4000, 1}
	for b.Loop() {
		if !table.Leaving() {
			b.StopTimer()
			for i := range uint32(2000) {
				table.Out(udp(alice+5000, uint16(2000+i/10), i*7919, 53), c, none, second)
			}
			table.Leave(c, alice+5000)
			b.StartTimer()
		}
		table.Expire(second, 64)
	}
}
