package forwarder

import (
	"math/rand/v2"
	"sync/atomic"

	"gatewayd/forwarder/arena"
	"gatewayd/limiter"
)

// bridge is what a worker of a bridge keeps beside what every forwarder does.
type bridge struct {
	shared  *commons
	six     []client6 // by slot
	groups  groupRates
	control [2]limiter.Allowance // by direction: what MACs that nobody knows may say and hear without a session
	own     *ownFlows            // nil: the box's own traffic does not go out here
	probes  probes
	others  limiter.Allowance // probes of other bridges
}

// commons is what the workers of a bridge share about the network that is on both sides.
type commons struct {
	nonce [16]byte     // of this forwarder's probes
	loop  atomic.Int64 // until when the sides count as joined elsewhere, since boot; 0: they do not
	six   addresses6

	outside recent // whom it has heard on the WAN
	asking  recent // who on the LAN asks a DHCP server
}

func newCommons() *commons {
	s := &commons{six: addresses6{held: map[address6]holder6{}}}
	s.outside.seed, s.asking.seed = rand.Uint64(), rand.Uint64()
	for i := range s.nonce {
		s.nonce[i] = byte(rand.Uint32())
	}
	return s
}

// makeBridge makes it.
func (f *Forwarder) makeBridge() error {
	b := &bridge{}
	if b.shared = newCommons(); f.crew != nil {
		b.shared = f.crew.commons
	}
	if f.cfg.HostRoute {
		b.own = new(ownFlows)
	}
	f.bridge = b
	return arena.Make(&f.tables, &b.six, f.table.Slots())
}
