package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/packet"
)

// Fairness at a crowded LAN port. While fewer than crowd frames wait, everyone
// is served in the order of arrival. Once more do, who sends more than its
// share of the next turn loses the rest of it here, before any work is done for
// it: to tell whose a frame is costs a look at its MAC. So the port's ring,
// where the kernel would drop anybody's frames, does not fill. Who is alone
// takes nothing from anybody and is not held to a share.
const (
	crowd      = 1024             // frames that wait: half of the ring
	turnLength = 256              // frames of a turn
	turnShare  = 64               // of them, a client's; also all strangers' together
	alone      = 10 * time.Second // since another one sent in a turn
)

const nobody = ^uint32(0) // sent yet

// queuing is a link that can say how many frames wait.
type queuing interface {
	Waiting(n int) bool
}

// turn is the present look at a crowded port.
type turn struct {
	left   int // frames until the next look; 0: nobody is held to a share
	number uint32
	counts []turnCount   // by slot; 0: strangers
	last   uint32        // whose the last frame was
	mixed  time.Duration // when the one before was another's, since boot
}

type turnCount struct{ turn, frames uint32 }

// crowded says whether the next frames of a port are held to shares.
func (f *Forwarder) crowded(port int, l link.Link) bool {
	if port != clients.LAN {
		return false
	}
	if f.turn.left > 0 {
		return true
	}
	if q, ok := l.(queuing); !ok || !q.Waiting(crowd) {
		return false
	}
	f.turn.left = turnLength
	f.turn.number++
	return true
}

// overShare counts a frame of a turn and says whether its sender has had its
// share, in which case it ends here.
func (f *Forwarder) overShare(raw []byte) bool {
	f.turn.left--
	if len(raw) < packet.VirtioLen+packet.EthernetLen {
		return false // decode's to drop
	}
	slot, _ := f.byMAC.find(packet.MAC(raw[packet.VirtioLen+6:]))
	t := &f.turn
	if last := t.last; last != slot {
		if t.last = slot; last != nobody {
			t.mixed = f.now
		}
	}
	c := &t.counts[slot]
	if c.turn != t.number {
		*c = turnCount{turn: t.number}
	}
	if c.frames++; c.frames <= turnShare || f.now-t.mixed > alone {
		return false
	}
	bytes := len(raw) - packet.VirtioLen - packet.EthernetLen
	f.counters.received(clients.LAN, 1, bytes)
	f.drop(&f.clients[slot], OverShare, 1, bytes)
	return true
}
