package nat

// maxLeaving is how many clients may be leaving at once; more leave in one go.
const maxLeaving = 1024

// leaving is a client whose flows from an address are to end.
type leaving struct {
	client Client
	addr   uint32
}

// departures are those who leave, the longest at first.
type departures struct {
	ring  []leaving
	first int
	count int
}

// Leave ends all flows of a client from an address, a part of them with each
// Expire, since thousands at once would hold up the packets of all others. Until
// then In still finds them, and the caller sees that the client is not there;
// who gets the address before ends with its first packet what is in its way.
func (t *Table) Leave(c Client, addr uint32) {
	if c.Slot > uint32(t.opt.MaxClients) || t.clients[c.Slot].first == 0 {
		return
	}
	d := &t.departures
	if d.count == maxLeaving {
		t.dropAddress(c.Slot, c.Generation, addr)
		return
	}
	d.ring[(d.first+d.count)%maxLeaving] = leaving{c, addr}
	d.count++
}

// Leaving says whether somebody is, or an address went away that has flows yet.
func (t *Table) Leaving() bool { return t.departures.count > 0 || t.sweep > 0 }

// depart ends at most budget flows of those who leave.
func (t *Table) depart(budget int) {
	for d := &t.departures; d.count > 0 && budget > 0; {
		l := &d.ring[d.first]
		i := t.clients[l.client.Slot].first
		for i != 0 && budget > 0 {
			next, f := t.links[i].clientNext, &t.flows[i]
			if f.generation == l.client.Generation && f.addr == l.addr {
				t.remove(i)
				budget--
			}
			i = next
		}
		if i == 0 {
			d.first, d.count = (d.first+1)%maxLeaving, d.count-1
		}
	}
}
