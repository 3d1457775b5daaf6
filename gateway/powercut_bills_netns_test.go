//go:build netns

package gateway_test

import (
	"slices"
	"time"
)

// rest waits until nothing arrives any more, and returns what has, bytes, and the bills.
func (o *outage) rest() (arrived int64, bills []bill) {
	o.t.Helper()
	eventually(o.t, 2*soon, "nothing arrives while the bills are read", func() error {
		up, down := o.settle()
		bills = nil
		for _, p := range o.payers {
			bills = append(bills, p.bill(o.d))
		}
		if o.atServer.read() != up || o.atClient.read() != down {
			return errNotYet
		}
		arrived = int64(up.bytes + down.bytes)
		return nil
	})
	return arrived, bills
}

// judge holds the bills against what arrived since the rest before, with so many cuts
// between.
func (o *outage) judge(cuts int) {
	t := o.t
	t.Helper()
	slack := time.Duration(cuts) * 5 * checkpointTime // for a busy machine
	now, bills := o.rest()
	arrived := now - o.arrived
	o.arrived = now
	for i, p := range o.payers {
		more := int64(bills[i].bytes - p.billed)
		arrived -= more
		p.billed = bills[i].bytes
		if p.stream == nil {
			continue
		}
		o.short(p, more, cuts, slack)
		if p.comes(o.life); p.timed && !p.online.IsZero() {
			o.late(p, cuts, slack)
		}
	}
	if cuts == 1 {
		o.worst.short = max(o.worst.short, arrived)
	}
	if most := int64(slack.Seconds() * 60e6 / 8); arrived < 0 || arrived > most {
		t.Errorf("%d bytes are not billed, want 0 to %d", arrived, most)
	}
	if o.state != "disconnect" {
		return
	}
	if v := o.d.device(o.fickle.mac); v.Connected {
		t.Errorf("%s was disconnected, and is %+v", o.fickle.name, v)
	}
	if came := o.fickle.stream.arrivals(o.life); len(came) > 0 {
		t.Errorf("%s was disconnected, and %d datagrams of it passed", o.fickle.name, len(came))
	}
}

// short looks at how much of a stream was not billed.
func (o *outage) short(p *payer, more int64, cuts int, slack time.Duration) {
	t := o.t
	t.Helper()
	times := p.stream.arrivals(time.Time{})
	short := int64(len(times)*p.size) - more
	most := int64(slack/p.every) * int64(p.size)
	if p == o.fickle && o.state == "disconnect" {
		most = 0 // it was written before it was acknowledged
	}
	if short < 0 || short > most {
		t.Errorf("%s: %d bytes are not billed, want 0 to %d", p.name, short, most)
	}
	before, _ := slices.BinarySearchFunc(times, o.at, time.Time.Compare)
	if n := (int(short) + p.size - 1) / p.size; cuts == 1 && n > 0 && n <= before {
		o.worst.age = max(o.worst.age, o.at.Sub(times[before-n]))
	}
}

// late looks at how much of the time of a payer who is online was not billed, and that
// no more was.
func (o *outage) late(p *payer, cuts int, slack time.Duration) {
	t := o.t
	t.Helper()
	var b bill
	first := p.bill(o.d).secs
	eventually(t, soon, "a second is over", func() error { // the bill has whole ones
		if b = p.bill(o.d); b.secs == first {
			return errNotYet
		}
		return nil
	})
	billed := time.Duration(b.secs) * time.Second
	lost := p.least + b.asked.Sub(p.online) - billed
	most := p.most + b.answered.Sub(o.life)
	if cuts == 1 {
		o.worst.late = max(o.worst.late, lost-p.lost)
	}
	if lost-p.lost > slack {
		t.Errorf("%s: %v is not billed, want %v at most", p.name, lost-p.lost, slack)
	}
	if over := billed - p.paid - (most - p.known); over > time.Second { // asked in vain, at most
		t.Errorf("%s: %v too much is billed", p.name, over)
	}
	p.lost, p.paid, p.known = lost, billed, most
}
