package forwarder

import "time"

// maxAnswers is how many frames the gateway makes for one client in a second.
const maxAnswers = 50

// allowance counts what was made for one client in the running second.
type allowance struct {
	since time.Duration
	n     int
}

// take says whether one more may be made.
func (a *allowance) take(now time.Duration) bool {
	if now-a.since >= time.Second || a.since == 0 {
		*a = allowance{since: now}
	}
	a.n++
	return a.n <= maxAnswers
}

// mayAnswer says whether an ARP reply or an ICMP error may be made. Each client
// has an allowance of its own, so that one that floods takes none from the
// others; those who are no client share their port's. c may be nil.
func (f *Forwarder) mayAnswer(port uint8, c *client) bool {
	if c != nil {
		return c.answers.take(f.now)
	}
	return f.answers[port].AllowN(f.wall(), 1)
}
