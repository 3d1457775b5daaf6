package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
)

// The table and the translations have room for the same number of forwards.
var _ [nat.MaxForwards]struct{} = [clients.MaxForwards]struct{}{}

// A forward leads a port of the WAN to a client for as long as its session runs, as
// if the client had opened it: billed, held to its rate, in its own worker; or to the
// box. Which there are stands in the table and changes while packets pass.

// reforward takes in what control said since the last round.
func (f *Forwarder) reforward() {
	if f.header.Forwarded() != f.forwarded {
		f.nat.SetForwards(f.takeForwards())
	}
}

// takeForwards reads which ports are forwarded.
func (f *Forwarder) takeForwards() (list []nat.Forward) {
	said, number := f.header.Forwards()
	f.forwarded = number
	for _, w := range said {
		proto, to := nat.TCP, w.To
		if w.UDP {
			proto = nat.UDP
		}
		if to == 0 {
			to = f.lan
		}
		list = append(list, nat.Forward{Proto: proto, External: w.Address, Low: w.First, High: w.Last, Addr: to, Port: w.Port})
	}
	return list
}

// servedAt is who has an address that a forward leads to: the box, or a client of this
// worker whose session runs.
func (f *Forwarder) servedAt(ip uint32) (who nat.Client, ok bool) {
	if ip == f.lan {
		return nat.Client{Slot: clients.HostSlot, Generation: 1}, f.links[clients.Host] != nil
	}
	slot, ok := f.byIP.find(uint64(ip))
	if !ok {
		return who, false
	}
	c := &f.clients[slot]
	return c.id, c.running && c.mac != 0 && !f.stopped
}
