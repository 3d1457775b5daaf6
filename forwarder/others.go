package forwarder

import "gatewayd/forwarder/clients"

// others is what a worker knows of all clients: the addresses of other workers', for
// what the box sends to them and asks about them, and who has got a MAC that is not
// its worker's.
type others struct {
	changes uint64
	known   []other // by slot
	byIP    index
	byMAC   index // strays
	all     index // MACs of other workers' clients, in bridge mode
	strays  int
}

// other is a client, of this worker or another.
type other struct {
	policy uint64 // generation taken in
	mac    uint64 // 0: free
	ip     uint32 // 0: none yet
	stray  bool
}

// follow takes in what control changed of clients. Nobody waits for it.
func (f *Forwarder) follow() {
	o := &f.others
	changes := f.header.Changes.Load()
	if changes == o.changes {
		return
	}
	for i := 1; i < len(o.known); i++ {
		if gen := f.table.Policy(i); gen != o.known[i].policy {
			o.known[i].policy = gen
			f.takeOther(i)
		}
	}
	o.changes = changes
}

func (f *Forwarder) takeOther(i int) {
	o, s, k := &f.others, f.table.Slot(i), &f.others.known[i]
	owner := f.table.Owner(i)
	if k.stray {
		o.byMAC.drop(k.mac, uint32(i))
		o.strays--
	}
	o.byIP.drop(uint64(k.ip), uint32(i))
	f.strangers = strangers{}
	if f.cfg.Bridge {
		o.all.drop(k.mac, uint32(i))
	}
	k.mac, k.ip, k.stray = 0, 0, false
	if s.State.Load() != clients.SlotBound {
		return
	}
	k.mac, k.ip = s.MAC.Load(), uint32(s.IP.Load())
	if owner != f.worker {
		o.byIP.put(uint64(k.ip), uint32(i))
		if f.cfg.Bridge {
			o.all.put(k.mac, uint32(i))
		}
	}
	if k.mac != 0 && f.crew.spread.Of(k.mac) != owner {
		k.stray = true
		o.byMAC.put(k.mac, uint32(i))
		o.strays++
	}
}

// elsewhere is the client of another worker that has an address.
func (f *Forwarder) elsewhere(ip uint32) (slot uint32, ok bool) {
	if f.crew == nil {
		return 0, false
	}
	f.follow() // it may have been bound a moment ago
	return f.others.byIP.find(uint64(ip))
}
