package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// ration is how often the gateway makes a frame, an ARP reply or an ICMP error.
type ration struct {
	every time.Duration // in the long run
	burst int           // at once
}

// Each client has a ration of its own, so that one that floods takes none from
// the others; those who are no client share their port's.
var (
	clientRation = ration{time.Second / 50, 50}
	portRations  = [clients.NumPorts]ration{
		clients.LAN: {time.Second / 2000, 500}, clients.WAN: {time.Second / 500, 100}, clients.Host: {time.Second / 2000, 500},
	}
)

func (r ration) allows(a *limiter.Allowance, now time.Duration) bool {
	return a.Take(r.every, r.burst, now)
}

// mayAnswerTo is mayAnswer to who sent a frame.
func (f *Forwarder) mayAnswerTo(fr *frame) bool {
	if fr.from == clients.LAN {
		return f.mayAnswer(fr.from, fr.client)
	}
	return f.mayAnswer(fr.from, nil)
}

// mayAnswer says whether an ARP reply or an ICMP error may be made. c may be nil.
func (f *Forwarder) mayAnswer(port uint8, c *client) bool {
	if c != nil {
		return clientRation.allows(&c.answers, f.now)
	}
	return portRations[port].allows(&f.answers[port], f.now)
}
