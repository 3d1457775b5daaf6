package demo

import (
	"fmt"
	"time"
)

// A megabit is 1,000,000 bits.
const bytesPerMbit = 1_000_000 / 8

// widest is the largest wire packet on the demo's cables, layer 3.
const widest = 1500 // bytes

// overhead is the part of a rate that a TCP flow may miss for its control
// loop: it has to find the rate by losses.
const overhead = 0.10

// within returns how many layer-3 bytes a TCP flow at its plan's rate carries
// in a while: no more than the rate and one burst, no less than it can find.
func within(mbits int, during time.Duration) (least, most float64) {
	rate := float64(mbits * bytesPerMbit) // bytes per second
	burst := max(96<<10, rate/20)         // what a plan's bucket holds
	even := rate * during.Seconds()
	return even * (1 - overhead), even*1.01 + burst
}

// mbits is a rate in Mbit/s.
func mbits(bytes float64, during time.Duration) float64 {
	return bytes / bytesPerMbit / during.Seconds()
}

// atLimit reports whether a data plan was used up and not exceeded: the first
// packet that did not fit ended it.
func atLimit(used, limit uint64) bool { return used <= limit && used+widest > limit }

// thousands writes a number in groups of three digits.
func thousands(n uint64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
