package forwarder

import "golang.org/x/time/rate"

// maxAnswers is how many frames the gateway makes for one client in a second,
// and at once.
const maxAnswers = 50

// newAnswers is the allowance of one client.
func newAnswers() *rate.Limiter { return rate.NewLimiter(maxAnswers, maxAnswers) }

// mayAnswer says whether an ARP reply or an ICMP error may be made. Each client
// has an allowance of its own, so that one that floods takes none from the
// others; those who are no client share their port's. c may be nil.
func (f *Forwarder) mayAnswer(port uint8, c *client) bool {
	allowance := f.answers[port]
	if c != nil {
		allowance = c.answers
	}
	return allowance.AllowN(f.wall(), 1)
}
