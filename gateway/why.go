package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/api"
	"gatewayd/gateway/config"
	"gatewayd/limiter"
	"gatewayd/sessions"
)

const (
	speedTime = 300 * time.Millisecond // over which the speed of the moment is measured
	lately    = 10 * time.Second       // how long a drop is spoken of
	held      = 2 * time.Second        // how long a client counts as held to its rate after a frame waited for it
	quiet     = time.Minute            // without a packet: silent
)

// scene is all that decides about one device's packets, as of one moment.
type scene struct {
	sessions.Standing
	asked    string // D
	cfg      *config.Config
	lan, wan api.Port
	forwards bool           // the forwarder goes round
	stopped  bool           // admission, as a whole
	resolved bool           // the next router answers ARP, or none is known
	own      []netip.Prefix // in force on the WAN
	router   netip.Addr     // likewise the next router; invalid: none
	trouble  advice         // with a WAN address that comes by DHCP
	flows    int
	global   bool            // its speed is the global one
	speed    [2]limiter.Rate // of the moment, by sessions.WaitedUp and WaitedDown
}

// stage is a step of the walk: the forwarder's steps that it speaks of, and who
// looks at it.
type stage struct {
	name string
	path []string
	look func(*scene) finding
}

// finding is what a stage found.
type finding struct {
	state string
	seen  string
	at    time.Time // zero: now
	do    string
}

// walk is a packet's way, in the forwarder's order: up, then what is different on
// the way back.
var walk = []stage{
	{"link", []string{"decode", "resolve"}, (*scene).link},
	{"client", []string{"identify"}, (*scene).client},
	{"address", []string{"identify"}, (*scene).address},
	{"local", []string{"local"}, (*scene).local},
	{"admit", []string{"admit"}, (*scene).admit},
	{"route", []string{"route"}, (*scene).route},
	{"limit", []string{"pace", "quota"}, (*scene).limit},
	{"nat", []string{"translate"}, (*scene).nat},
	{"send", []string{"send"}, (*scene).send},
	{"return", []string{"restore"}, (*scene).back},
}

// bridgeWalk is walk of a bridge, which translates nothing.
var bridgeWalk = []stage{
	{"link", []string{"decode", "sift"}, (*scene).link},
	{"client", []string{"identify"}, (*scene).client},
	{"address", []string{"identify"}, (*scene).address},
	{"local", []string{"toBox"}, (*scene).local},
	{"admit", []string{"admit"}, (*scene).admit},
	{"route", []string{"fit"}, (*scene).route},
	{"limit", []string{"pace", "quota"}, (*scene).limit},
	{"send", []string{"send"}, (*scene).send},
	{"return", []string{"find"}, (*scene).back},
}

// way is the walk of the mode.
func (sc *scene) way() []stage {
	if sc.cfg.Bridges() {
		return bridgeWalk
	}
	return walk
}

// why walks what decides about the packets of the device that key names.
func (c *control) why(ctx context.Context, key string) (api.Why, error) {
	s, err := c.manager.Standing(ctx, key)
	if err != nil {
		return api.Why{}, err
	}
	state := c.told()
	h := c.table.Header()
	_, flows := h.Translations()
	sc := &scene{
		Standing: s, asked: key, cfg: c.cfg.Load(), lan: state.Ports["lan"], wan: state.Ports["wan"],
		forwards: c.forwards(h), stopped: h.Stop.Load() != 0, resolved: h.Resolved() || c.cfg.Load().Bridges() && !c.cfg.Load().WAN.Gateway.IsValid(), flows: int(flows),
	}
	sc.own, sc.router = whereabouts(h)
	sc.trouble = c.leaseTrouble()
	if s.Passing != nil {
		sc.global = s.Passing.Session.UseGlobalSpeed
		c.measure(ctx, sc)
	}
	return sc.tell(), nil
}

// measure fills in the speed of the moment.
func (c *control) measure(ctx context.Context, sc *scene) {
	r := c.table.Slot(sc.Slot).Record(sc.Passing.Sequence)
	before, began := r.Use(sc.Passing.Sequence), c.clock.Now()
	select {
	case <-ctx.Done():
		return
	case <-time.After(speedTime):
	}
	now, took := r.Use(sc.Passing.Sequence), c.clock.Now()-began
	per := func(a, b uint64) limiter.Rate {
		return limiter.Rate(float64(max(b, a)-a) / took.Seconds())
	}
	sc.speed = [2]limiter.Rate{sessions.WaitedUp: per(before.Up, now.Up), sessions.WaitedDown: per(before.Down, now.Down)}
}

// tell walks the way and comes to a verdict.
func (sc *scene) tell() api.Why {
	w := api.Why{Now: sc.Now, Device: sc.Device, Steps: []api.WhyStep{}}
	var stops, holds *api.WhyStep
	for _, st := range sc.way() {
		f := st.look(sc)
		step := api.WhyStep{Step: st.name, Path: st.path, State: f.state, Seen: f.seen, Do: f.do, Drops: sc.dropped(st.name)}
		if !f.at.IsZero() {
			step.At = &f.at
		}
		w.Steps = append(w.Steps, step)
	}
	for i := range w.Steps {
		switch st := &w.Steps[i]; {
		case st.State == api.WhyStops && stops == nil:
			stops = st
		case st.State == api.WhyHolds && holds == nil:
			holds = st
		}
	}
	switch {
	case stops != nil:
		w.Verdict, w.Do = sc.name()+" is NOT online: "+stops.Seen, stops.Do
	case holds != nil:
		w.Online, w.Do = true, holds.Do
		w.Verdict = sc.name() + " is online, but held back: " + holds.Seen
	default:
		w.Online = true
		w.Verdict = sc.name() + " is online"
		if sc.silent() {
			w.Verdict += ", but silent: " + sc.lastSent()
			w.Do = "nothing holds it back here: look at the client itself"
		}
	}
	return w
}

// silent: it may pass, and sends nothing.
func (sc *scene) silent() bool { return sc.Now.Sub(sc.Sent) > quiet }

func (sc *scene) lastSent() string {
	if sc.Sent.IsZero() {
		return "no packet of it has come yet"
	}
	return "its last packet came " + sc.ago(sc.Sent)
}

// name is the device in words.
func (sc *scene) name() string {
	switch {
	case sc.Device == nil && sc.MAC != "":
		return "MAC " + sc.MAC
	case sc.Device == nil && sc.IP != "":
		return "address " + sc.IP
	case sc.Device == nil:
		return "device " + sc.asked
	}
	return fmt.Sprintf("device %d (%s)", sc.Device.ID, strings.Trim(sc.MAC+", "+sc.Device.IP, ", "))
}

// key is the device as a command names it.
func (sc *scene) key() string {
	if sc.Device != nil && sc.Device.ID != 0 {
		return fmt.Sprint(sc.Device.ID)
	}
	return sc.asked
}

func (sc *scene) ago(at time.Time) string { return humanize.RelTime(at, sc.Now, "ago", "from now") }

// dropped is what was dropped of the device at a stage.
func (sc *scene) dropped(name string) []api.WhyDrop {
	drops := []api.WhyDrop{}
	for r, reason := range forwarder.Reasons() {
		if r < len(sc.Losses) && endings[r].stage == name && sc.Losses[r].Packets > 0 {
			drops = append(drops, api.WhyDrop{Reason: reason, Words: endings[r].words, Packets: sc.Losses[r].Packets, Last: sc.Losses[r].Last})
		}
	}
	return drops
}

// lost is what was dropped for a reason if that was lately; else none.
func (sc *scene) lost(r forwarder.Reason) (sessions.Lost, bool) {
	if int(r) >= len(sc.Losses) {
		return sessions.Lost{}, false
	}
	l := sc.Losses[r]
	return l, l.Packets > 0 && sc.Now.Sub(l.Last) < lately
}

// used is what passed in the grant in use.
func (sc *scene) used() clients.Use {
	if sc.Passing == nil {
		return clients.Use{}
	}
	return sc.Passing.Use
}
