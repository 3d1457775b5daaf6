package dhcp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzHear: no frame panics in any state, and something is always due later, however
// long it is until it is looked at.
func FuzzHear(f *testing.F) {
	xid := dhcpv4.TransactionID{1, 2, 3, 4}
	w := &world{T: &testing.T{}, asked: &dhcpv4.DHCPv4{ClientHWAddr: own, TransactionID: xid}}
	for _, kind := range []dhcpv4.MessageType{offer, ack, nak} {
		for _, more := range [][]dhcpv4.Modifier{nil, {lasting(0xffffffff)}, {lasting(10), timing(10, 10)}, {dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier)},
			{dhcpv4.WithOption(dhcpv4.OptMessage("no"))}} {
			f.Add(one.frame(w.answer(one, kind, more...)))
		}
	}
	f.Add(arpFrame(layers.ARPReply, stranger, stranger, offered.Addr(), none))
	f.Add(arpFrame(layers.ARPRequest, stranger, stranger, none, offered.Addr()))
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, s := range []State{Selecting, Requesting, Rebooting, Probing, Bound, Renewing, Rebinding, Waiting} {
			for _, partial := range []bool{false, true} {
				sent := 0
				c := New(Options{MAC: own, Usable: func(*Lease) error { return nil }, Rand: rand.New(rand.NewPCG(1, 2)), Send: func(frame []byte) {
					if sent++; len(frame) < 42 || binary.BigEndian.Uint16(frame[12:]) == 0 {
						t.Errorf("it sends %x", frame)
					}
				}})
				c.wants, c.xid, c.asked = *former(), xid, start
				if s == Bound || s == Renewing || s == Rebinding {
					c.use(start, *former())
				}
				c.enter(start, s)
				c.due = start + time.Minute
				_ = c.Hear(start, frame, partial)
				for _, now := range []time.Duration{start, start + time.Second, start + time.Hour, 100 * 365 * 24 * time.Hour} {
					if c.Tick(now); c.Next() <= now {
						t.Errorf("%s, then %s: at %v it is due at %v", s, c.state, now, c.Next())
					}
				}
				if sent > 12 {
					t.Errorf("%s, then %s: it sends %d frames", s, c.state, sent)
				}
			}
		}
	})
}
