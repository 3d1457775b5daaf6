package sessions

import (
	"fmt"
	"time"

	"gatewayd/forwarder/clients"
)

// wan is what is known of the way out. Moments are since boot.
type wan struct {
	away   pauseReason   // why the clocks of sessions with time stand still; 0: they do not
	back   bool          // it is known to work; neither: not known yet
	looked time.Duration // when it was last looked at
	deaf   time.Duration // when the forwarder was last seen not to go round: it hears nobody then
	lost   time.Duration // when the port was last seen without carrier
	since  time.Duration // since when away is what it is
}

// sight is what can be seen of the way out at a moment.
type sight struct {
	now     time.Duration
	carrier bool          // of the WAN port
	hears   bool          // the forwarder goes round
	heard   time.Duration // when the next router was last heard; 0: never
}

// stuck is after how long without a round the forwarder, or who looks at it,
// says nothing about the next router.
const stuck = 2 * time.Second

// look takes in what is seen. byCarrier says that a port without carrier counts
// as away, patience how long the next router may be silent; 0: for ever. The
// way out is back only once the next router was heard since.
func (w *wan) look(s sight, byCarrier bool, patience time.Duration) {
	was := w.away
	if !s.hears || s.now-w.looked > stuck {
		w.deaf = s.now
	}
	w.looked = s.now
	switch {
	case byCarrier && !s.carrier:
		w.away, w.back, w.lost = pauseNoCarrier, false, s.now
	case patience == 0 || s.heard > w.lost && s.now-s.heard < patience:
		w.away, w.back = 0, true
	case s.now-max(s.heard, w.deaf, w.lost) >= patience:
		w.away, w.back = pauseSilent, false
	}
	if w.away != was {
		w.since = s.now
	}
}

// lookAtWAN sees whether the way out works. m.mu is held.
func (m *Manager) lookAtWAN() {
	now, h := m.opt.Boot(), m.table.Header()
	was, patience := m.wan.away, m.opt.PauseOnSilence
	if a, _ := h.Addressing(); a.Gateway == 0 && len(a.Addresses) > 0 {
		patience = 0 // a DHCP server has named no router: there is nobody to hear
	}
	m.wan.look(sight{
		now: now, carrier: h.Down.Load()>>clients.WAN&1 == 0, heard: h.HopHeard(),
		hears: h.GoesRound(now, stuck),
	}, m.opt.PauseOnCarrierLoss, patience)
	switch away := m.wan.away; {
	case away == was:
	case away != 0:
		m.log.Warn("clocks of sessions with time stand still", "why", away.sentence())
	default:
		m.log.Info("the WAN is back: clocks of sessions with time go on")
	}
}

// awayFor says why a session cannot run now; 0: it can. m.mu is held.
func (m *Manager) awayFor(s *session) pauseReason {
	if s.kind.hasTime() {
		return m.wan.away
	}
	return 0
}

// standing says in a line that clocks stand still; empty when they do not.
// m.mu is held.
func (m *Manager) standing() string {
	if m.wan.away == 0 {
		return ""
	}
	n := 0
	for _, d := range m.slots {
		if d != nil && d.paused != nil && d.paused.paused.byWAN() {
			n++
		}
	}
	return fmt.Sprintf("%s: the clocks of %d sessions with time stand still until it is back", m.wan.away.sentence(), n)
}
