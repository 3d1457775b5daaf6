package races

import (
	"fmt"
	"strings"
	"time"
)

// Reasons in a ledger why a session's use ended; the first is the message of its
// event, too.
const (
	TimeIsUp = "the time is used up"
	HasEnded = "the session has ended" // by a limit that was raised at that moment
)

// Ended is why the next session took over.
func Ended(id int64) string { return fmt.Sprintf("session %d has ended", id) }

// Line is a line of a session's ledger.
type Line struct {
	At        time.Duration // by the test's clock
	Kind, Why string
}

// early is how far a line may be before its moment: its time is in whole
// milliseconds.
const early = 5 * time.Millisecond

// Ends adds what time did to a session that was sold so: not before its ledger
// says, or those of the device's other sessions, and not later than the event of it
// came. ranOut and expired are when that
// was; 0: it has not come.
func (h *History) Ends(c Call, ledger, others []Line, ranOut, expired time.Duration) {
	if c.Time != Short {
		return
	}
	var started, ran, slowed time.Duration
	for _, x := range ledger {
		if started == 0 && (x.Kind == "start" || x.Kind == "chain") {
			started = x.At
		}
		if x.Why == TimeIsUp || x.Why == HasEnded {
			ran = x.At
		}
		if x.Kind == "throttle" && slowed == 0 && strings.HasPrefix(x.Why, TimeIsUp) {
			slowed = x.At
		}
	}
	if started == 0 {
		return
	}
	for _, x := range others {
		if c.Life == 0 && x.Why == Ended(c.Session) && ran == 0 {
			ran = x.At
		}
	}
	if slowed != 0 { // it ended so once, and ends otherwise at its throttle
		ran = slowed
	}
	over := started + Short
	if ran == 0 && ranOut != 0 { // it ended as it was paused
		ran = over
	}
	heard := func(at time.Duration) time.Duration {
		if at == 0 {
			return h.now()
		}
		return at
	}
	if ran != 0 {
		h.Add(Call{Verb: RunOut, Device: c.Device, Session: c.Session}, Answer{}, ran-early, heard(ranOut))
	}
	if at := heard(expired); c.Life != 0 && over-early < at { // a session that nobody uses expires without an event
		h.Add(Call{Verb: Expire, Device: c.Device, Session: c.Session}, Answer{}, over-early, at)
	}
}
