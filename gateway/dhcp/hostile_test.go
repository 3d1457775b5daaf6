package dhcp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// most is how many frames a minute leave at most, whatever is answered.
const most = 60

// calm fails if more than most left within a minute.
func (w *world) calm() {
	w.Helper()
	for i := most; i < len(w.sent); i++ {
		if w.sent[i].at-w.sent[i-most].at < time.Minute {
			var what []string
			for _, s := range w.sent[i-most : i+1] {
				what = append(what, fmt.Sprintf("%v %v", s.at, s))
			}
			w.Fatalf("%d frames in a minute: %v", most+1, what)
		}
	}
}

// TestHostileServersDoNotSetThePace: for ten minutes they answer each message at once.
func TestHostileServersDoNotSetThePace(t *testing.T) {
	type answers map[State]dhcpv4.MessageType
	for _, row := range []struct {
		name  string
		gives answers
		more  []dhcpv4.Modifier
	}{
		{"it refuses what it offers", answers{Selecting: offer, Requesting: nak}, nil},
		{"it refuses what it gave", answers{Selecting: offer, Requesting: ack, Renewing: nak}, []dhcpv4.Modifier{lasting(10), timing(1, 2)}},
		{"it renews every second", answers{Selecting: offer, Requesting: ack, Renewing: ack, Rebinding: ack}, []dhcpv4.Modifier{lasting(10), timing(1, 2)}},
		{"it never renews", answers{Selecting: offer, Requesting: ack}, []dhcpv4.Modifier{lasting(10)}},
		{"T1 is T2 is the end", answers{Selecting: offer, Requesting: ack, Renewing: ack}, []dhcpv4.Modifier{lasting(10), timing(10, 10)}},
		{"T1 is 0", answers{Selecting: offer, Requesting: ack, Renewing: ack}, []dhcpv4.Modifier{lasting(3600), timing(0, 0)}},
		{"it gives for no time", answers{Selecting: offer, Requesting: ack}, []dhcpv4.Modifier{lasting(0)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.client.Begin(w.now, nil)
			for w.now < start+10*time.Minute {
				for range 50 { // and nobody may go round in circles at a moment
					if kind, ok := row.gives[w.client.state]; ok {
						w.says(one, kind, row.more...)
					}
				}
				w.next()
			}
			w.calm()
		})
	}
}

// Whatever servers and neighbours say, and whenever: little is sent, nothing is in force
// after its end, something is always due later.
func TestWhateverIsAnswered(t *testing.T) {
	runs := 300
	if testing.Short() {
		runs = 30
	}
	known := []State{Selecting, Requesting, Rebooting, Probing, Bound, Renewing, Rebinding, Waiting}
	seen := map[State]int{}
	for seed := range uint64(runs) {
		w := newWorld(t)
		r := rand.New(rand.NewPCG(seed, 7))
		w.elsewhere = true
		short := r.IntN(2) == 0
		pick := func(n int) bool { return r.IntN(n) == 0 }
		switch l := former(); r.IntN(3) {
		case 0:
			w.client.Begin(w.now, nil)
		case 1:
			w.client.Begin(w.now, l)
		case 2:
			w.client.Resume(w.now, l)
		}
		links := 0
		for range 400 {
			s := []server{one, one, one, two}[r.IntN(4)]
			more := []dhcpv4.Modifier{lasting(r.Uint32N(7200))}
			if short {
				more = []dhcpv4.Modifier{lasting(r.Uint32N(20))}
			}
			if pick(4) {
				more = append(more, timing(r.Uint32N(20), r.Uint32N(20)))
			}
			if pick(10) {
				more = append(more, dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(r.IntN(255)), make([]byte, r.IntN(9))))
			}
			if pick(10) {
				more = append(more, dhcpv4.WithYourIP(net.IPv4(203, 0, 113, byte(r.IntN(256)))))
			}
			switch what := r.IntN(100); {
			case w.asked == nil || what < 10:
			case what < 50:
				w.says(s, []dhcpv4.MessageType{offer, ack, ack, nak}[r.IntN(4)], more...)
			case what < 80: // what helps it on
				switch w.client.state {
				case Selecting:
					w.says(s, offer, more...)
				default:
					w.says(s, ack, more...)
				}
			case what < 90:
				w.hears(uint16(1+r.IntN(2)), []net.HardwareAddr{stranger, own}[r.IntN(2)], offered.Addr(), offered.Addr())
			case what < 91 && links < 5: // that nobody far away can do
				links++
				w.client.Relinked(w.now)
				w.at()
			}
			switch r.IntN(4) {
			case 0:
				w.next()
			case 1:
				w.to(w.now - start + time.Duration(r.Int64N(int64(time.Second))))
			case 2:
				w.now += time.Duration(r.Int64N(int64(time.Minute))) // it was asleep
				w.at()
			}
			if !slices.Contains(known, w.client.state) {
				t.Fatalf("state %q", w.client.state)
			}
			seen[w.client.state]++
			if w.now > start+24*time.Hour {
				break
			}
		}
		w.calm()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, s := range known {
		if seen[s] < runs/10 {
			t.Errorf("only %d times %s: this test sees too little", seen[s], s)
		}
	}
}
