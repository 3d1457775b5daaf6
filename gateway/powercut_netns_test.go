//go:build netns

package gateway_test

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// outage is a gateway under load whose power is cut, again and again: clients who
// pay by time and by data, one who is let in and cut off all the time, shops, and a
// stranger who never pays.
type outage struct {
	*lab
	mains  *mains
	d      *daemon
	random *rand.Rand
	life   time.Time // when the power came back last

	payers []*payer
	fickle *payer // connects and disconnects
	shops  []*shop
	tcp    *download // nil: nothing is sent or loaded
	state  string    // of the fickle one, as acknowledged; empty: it may be either
	calls  int

	cuts    int
	at      time.Time // of the last one
	arrived int64     // bytes at the far ends, at the last rest
	worst   struct {  // of one cut
		short int64         // bytes of all together that arrived and were not billed
		age   time.Duration // of the oldest datagram among them, at the cut
		late  time.Duration // time that was not billed
		back  time.Duration // from the start to the first packet
	}
}

// Each card begins with another moment, so that those of `make test` differ.
func TestAPowerCutOfTheWholeGateway(t *testing.T) {
	for _, row := range []struct {
		system string
		first  int // moment
	}{{"ext4", 0}, {"xfs", 2}} {
		t.Run("on "+row.system, func(t *testing.T) {
			t.Parallel()
			cutTheGateway(t, row.system, row.first)
		})
	}
}

func cutTheGateway(t *testing.T, system string, first int) {
	rounds, random := tries(t, 25)
	o := newOutage(t, system, random)
	trespass := (&storm{lab: o.lab}).strangerSends(o.neighbour(strangerMAC, strangerIP))
	for n := range rounds {
		m := moments[(first+n)%len(moments)]
		o.round(m.name, m.cut)
	}
	if n := trespass(); n > 0 {
		t.Errorf("%d packets of a client without a session arrived", n)
	}
	acked := 0
	for _, s := range o.shops {
		acked += s.acked
	}
	t.Logf("%d cuts, %d sales, changes and deletions and %d connects and disconnects acknowledged", o.cuts, acked, o.calls)
	if acked == 0 || o.calls == 0 {
		t.Error("nothing was sold, or nobody was connected")
	}
	what := "power cut on " + system + ": "
	figure(t, what+"most bytes not billed, of all together", float64(o.worst.short), "")
	figureOf(t, what+"the oldest datagram that was not billed, before the cut", o.worst.age)
	figureOf(t, what+"most time not billed", o.worst.late)
	figureOf(t, what+"from the start to the first packet", o.worst.back)
}

func newOutage(t *testing.T, system string, random *rand.Rand) *outage {
	t.Helper()
	l := newLab(t)
	o := &outage{lab: l, mains: l.newMains(system), random: random}
	const twoMegabytes = `{"type":"data","data_mb":2,"use_global_speed":true}`
	o.payers = []*payer{
		{name: "who downloads", mac: clientMAC, ip: clientIP, from: l.client, plan: downloads},
		{name: "who pays by data", mac: numberedMAC, ip: numberedIP, every: time.Millisecond / 2, size: 300, plan: twoMegabytes},
		{name: "who pays by time", mac: "02:00:00:00:00:10", ip: "10.10.0.6", every: 2 * time.Millisecond, size: 100, plan: anHour, timed: true},
		{name: "the fickle one", mac: "02:00:00:00:00:11", ip: "10.10.0.7", every: time.Millisecond, size: 100, plan: anHour},
	}
	o.fickle = o.payers[3]
	o.life = time.Now()
	o.d = l.start()
	for _, p := range o.payers {
		if p.from == nil {
			p.from = l.neighbour(p.mac, p.ip)
		}
		p.first = o.d.sellTo(p.mac, p.ip, p.plan).ID
		o.d.must("POST", "/devices/"+p.mac+"/connect", "", nil)
	}
	o.state = "connect"
	o.arrived, _ = o.rest()
	for i := range 12 {
		o.shops = append(o.shops, newShop(o.d, i, random))
	}
	return o
}

// stocks sees that data do not run out.
func (o *outage) stocks() {
	p, left := o.payers[1], 0.0
	for _, v := range list[session](o.d, "/devices/"+p.mac+"/sessions") {
		left += v.RemainingData
	}
	for ; left < 40; left += 2 {
		o.d.must("POST", "/devices/"+p.mac+"/sessions", p.plan, nil)
	}
}

// round cuts the power under load, and looks at what it cost when all has come to rest.
func (o *outage) round(name string, cut func(*outage)) {
	t := o.t
	t.Helper()
	o.stocks()
	cuts, began := o.cuts, time.Now()
	o.tcp = o.download()
	for _, p := range o.payers[1:] {
		p.stream = o.streamOf(p.from, p.ip, p.every, p.size)
	}
	o.flow()
	sold, swayed := o.sell(), o.sways()
	cut(o)
	sold()
	swayed()

	if o.tcp != nil {
		o.flow()
		o.worst.back = max(o.worst.back, o.payers[1].stream.arrivals(o.life)[0].Sub(o.life))
		o.ebb()
	}
	o.d.sound()
	for _, s := range o.shops {
		s.has(o.d)
	}
	o.judge(o.cuts - cuts)
	t.Logf("%d cuts %s, %v", o.cuts-cuts, name, time.Since(began).Round(time.Millisecond))
}

// ebb ends what the payers send and load.
func (o *outage) ebb() {
	o.t.Helper()
	o.tcp.end()
	o.tcp = nil
	for _, p := range o.payers[1:] {
		p.stream.end()
	}
}

// flow waits until all pass who shall.
func (o *outage) flow() {
	o.t.Helper()
	began := time.Now()
	for _, p := range o.payers[1:] {
		if p == o.fickle && o.state != "connect" {
			continue
		}
		eventually(o.t, 2*soon, p.name+" passes", func() error {
			if len(p.stream.arrivals(began)) < 5 {
				return errNotYet
			}
			return nil
		})
	}
	eventually(o.t, 2*soon, "the download goes on", o.tcp.passes())
}

// cut takes the power away, and brings the card back, not the gateway.
func (o *outage) cut() {
	o.t.Helper()
	at := o.mains.cut(o.d)
	for _, p := range o.payers[1:] {
		p.goes(o.life, at)
	}
	o.cuts++
	o.at = at
}

// back starts the gateway, unattended.
func (o *outage) back() {
	o.t.Helper()
	o.life = time.Now()
	o.d = o.start()
}

// sways connects and disconnects the fickle one, until the result is called.
func (o *outage) sways() (stop func()) {
	var swaying sync.WaitGroup
	done := make(chan struct{})
	d := o.d
	swaying.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(10+rand.IntN(100)) * time.Millisecond):
			}
			verb := "connect"
			if o.state == verb {
				verb = "disconnect"
			}
			code, err := d.ask("POST", "/devices/"+o.fickle.mac+"/"+verb, "", nil)
			switch known := o.state != ""; {
			case unheard(err):
				return
			case err != nil && (known || code != http.StatusConflict):
				o.state = ""
				return
			}
			o.state = verb
			o.calls++
		}
	})
	return func() { close(done); swaying.Wait() }
}
