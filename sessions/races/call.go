package races

import (
	"fmt"
	"time"
)

// Verb is what is done to a device.
type Verb string

// What writers do, packets and time.
const (
	Create     Verb = "create"
	Connect    Verb = "connect"
	Disconnect Verb = "disconnect"
	Pause      Verb = "pause"
	Resume     Verb = "resume"
	Sell       Verb = "set data"     // the total of a session of data
	Extend     Verb = "set time"     // of a short session: it is a long one
	Wind       Verb = "set used"     // of a long session: all used up, or nothing
	Slow       Verb = "set throttle" // of any session: it has one, or none
	Delete     Verb = "delete"
	Pass       Verb = "pass"    // one packet of Parcel bytes
	RunOut     Verb = "run out" // the time of the running session is used up
	Expire     Verb = "expire"  // a session that was started
	Look       Verb = "look"    // at everything, when all is still
)

// Parcel is the size of every packet, and of what sessions of data sell a
// multiple; so a packet fits whole or not at all.
const Parcel = 1000 // bytes of layer 3

// What sessions of time sell, and how long sessions are good.
const (
	Short = time.Second // is used up within a history
	Long  = time.Hour   // is not
	Day   = 24 * time.Hour
)

// Call is what is asked for.
type Call struct {
	Verb    Verb
	Device  int
	Session int64         // of which the call speaks
	Time    time.Duration // create: Short or Long; 0: a session of data alone
	Life    time.Duration // create: from its start to its expiry; 0: it has none
	Limit   int64         // create, set data: bytes; 0: create a session of time alone
	Whole   bool          // set used: all of it
	Slow    bool          // create, set throttle: it has one
}

// Answer is what came of a call.
type Answer struct {
	Said    string // empty: done; or one of the words below
	Session int64  // create: the new session; connect: the one that runs, 0: not told; pass: see there
	All     string // look: a Describe of each session
}

// The Session of a Pass: who was billed, or one of these.
const (
	Dropped  = 0
	Somebody = -1 // it passed
)

// What a call may answer but "done".
const (
	Already = "already connected"
	None    = "no session"
	Not     = "not connected"
	Paused  = "paused"
	Goes    = "not paused"
	Unknown = "unknown session"
	Doubt   = "in doubt" // the gateway did not answer in time: it is done, or not
)

func (c Call) String() string {
	s := fmt.Sprintf("%s %d", c.Verb, c.Session)
	switch c.Verb {
	case Create:
		s = fmt.Sprintf("create time=%v life=%v %d bytes slow=%v", c.Time, c.Life, c.Limit, c.Slow)
	case Sell:
		s += fmt.Sprintf(" to %d", c.Limit)
	case Wind:
		s += fmt.Sprintf(" whole=%v", c.Whole)
	case Slow:
		s += fmt.Sprintf(" slow=%v", c.Slow)
	}
	return s
}

// Describe says what can be seen of a session when all is still; state is as the
// API has it.
func Describe(id int64, state string, timed bool, used int64) string {
	if timed && (state == "consumed" || state == "expired") {
		state = "over" // both at once, if it was never paused
	}
	return fmt.Sprintf("%d %s %d; ", id, state, used)
}
