package gateway

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/dustin/go-humanize"

	"gatewayd/forwarder"
	"gatewayd/gateway/api"
	"gatewayd/limiter"
	"gatewayd/sessions"
)

// What a stage may say.

func fine(format string, a ...any) finding {
	return finding{state: api.WhyOK, seen: fmt.Sprintf(format, a...)}
}

func stops(do, format string, a ...any) finding {
	return finding{state: api.WhyStops, seen: fmt.Sprintf(format, a...), do: do}
}

func holds(do, format string, a ...any) finding {
	return finding{state: api.WhyHolds, seen: fmt.Sprintf(format, a...), do: do}
}

func unasked(format string, a ...any) finding {
	return finding{state: api.WhyUnasked, seen: fmt.Sprintf(format, a...)}
}

func (f finding) on(at time.Time) finding {
	f.at = at
	return f
}

// link: can a frame come in at all?
func (sc *scene) link() finding {
	port := cmp.Or(sc.lan.Name, sc.cfg.LAN.Port())
	switch {
	case !sc.forwards:
		return stops("gatewayd status", "the forwarder does not run or hangs, so no packet of anybody passes; it is being started again")
	case !sc.lan.Up:
		return stops("check the cable and the port: ip link show "+port, "the LAN port %s has no link", port)
	}
	if l, ok := sc.lost(forwarder.OverShare); ok {
		return holds("see what the client sends: it alone fills the LAN port",
			"it sends more than its share of the crowded LAN port %s; the last of that was dropped %s", port, sc.ago(l.Last)).on(l.Last)
	}
	return fine("LAN port %s is up", port)
}

// client: is its MAC known?
func (sc *scene) client() finding {
	join := "on the client: is it on this network?"
	if !sc.cfg.Bridges() {
		join = fmt.Sprintf("on the client: is it on this network, with an address of %v and the default route %v?",
			sc.cfg.LAN.Address.Masked(), sc.cfg.LAN.Address.Addr())
	}
	switch {
	case sc.Device == nil && sc.Full:
		return stops("raise limits.clients in the config and restart gatewayd", "it is not known, and the client table is full: newcomers are not served")
	case sc.Device == nil && sc.MAC != "":
		return stops(join, "no packet of this MAC has come: it was never seen")
	case sc.Device == nil && sc.IP != "":
		return stops(join+" who has which address: gatewayd devices list", "no packet from this address has come: nobody holds it now")
	case sc.Device == nil:
		return stops("see who is known: gatewayd devices list", "no device has this id")
	case sc.Slot == 0 && sc.Full:
		return stops("raise limits.clients in the config and restart gatewayd",
			"it is known, but the client table is full and has no place for it; it was last seen %s", sc.ago(sc.Device.LastSeen)).on(sc.Device.LastSeen)
	case sc.Slot == 0:
		return stops(join, "it is known, but not here: it was last seen %s", sc.ago(sc.Device.LastSeen)).on(sc.Device.LastSeen)
	case sc.Sent.IsZero() && !sc.Heard.IsZero():
		return fine("its MAC is known; ARP of it came %s, and no packet yet", sc.ago(sc.Heard)).on(sc.Heard)
	}
	return fine("its MAC is known; %s", sc.lastSent()).on(sc.Sent)
}

// address: is what it sends from its own?
func (sc *scene) address() finding {
	refused := fmt.Sprintf("it asked for %s, which %s holds: that one answers ARP, so it was refused", sc.Refused, cmp.Or(sc.Holder, "another device"))
	other := fmt.Sprintf("give the client another address, or take %s from who holds it: gatewayd devices show %s", sc.Refused, cmp.Or(sc.Holder, sc.Refused))
	foreign, when := sc.foreign()
	switch {
	case sc.Slot == 0:
		return unasked("no address is bound to it")
	case sc.Refused != "" && (sc.Address == "" || foreign && sc.Foreign == sc.Refused):
		return stops(other, "%s", refused).on(sc.RefusedAt)
	case foreign && !sc.isLAN(sc.Foreign):
		return stops(fmt.Sprintf("give the client an address of %v and the default route %v", sc.cfg.LAN.Address.Masked(), sc.cfg.LAN.Address.Addr()),
			"it sends from %s, which is no client's address in %v", sc.Foreign, sc.cfg.LAN.Address.Masked()).on(when)
	case foreign && sc.cfg.Bridges() && sc.Address != "":
		return stops("on the client: use "+sc.Address+", or have it ask for an address anew (DHCP)",
			"it sends from %s, which is not its own: %s is until its ARP or a DHCP server says otherwise", sc.Foreign, sc.Address).on(when)
	case foreign:
		return stops("wait a second: the address is bound to it once its holder is silent; see gatewayd devices show "+sc.Foreign,
			"it sends from %s, which is not its own: %s is", sc.Foreign, cmp.Or(sc.Address, "none")).on(when)
	case sc.Address == "" && sc.Contested != "":
		return stops("wait a second", "it asks for %s, whose holder is being asked whether it is still there", sc.Contested)
	case sc.Address == "":
		return stops("have it send a packet, or bind one: gatewayd devices add --mac "+sc.MAC+" --ip IP", "no address is bound to it")
	}
	// What it lost before its address was bound to it is of no interest any more.
	if l, ok := sc.lost(forwarder.Spoofed); ok && sc.Foreign != sc.Address {
		return holds("another device may use its MAC: look for a copy of "+sc.MAC,
			"%s is bound to it, but packets with its MAC come from %s too, the last %s; they are dropped", sc.Address, sc.Foreign, sc.ago(l.Last)).on(l.Last)
	}
	return fine("%s is bound to it", sc.Address)
}

// foreign: its newest packet came from an address that is not its own.
func (sc *scene) foreign() (bool, time.Time) {
	var last time.Time
	for _, r := range []forwarder.Reason{forwarder.Spoofed, forwarder.BadSource} {
		if l, _ := sc.lost(r); l.Last.After(last) {
			last = l.Last
		}
	}
	return !last.IsZero() && last.After(sc.Sent) && sc.Foreign != sc.Address, last
}

// local: what is for the box passes with or without a session.
func (sc *scene) local() finding {
	if sc.Slot == 0 {
		return unasked("")
	}
	if l, ok := sc.lost(forwarder.LANDestination); ok {
		if sc.cfg.Bridges() {
			return holds("look for a switch on the LAN's side that floods frames", "it speaks with its neighbours through this port, too; such frames end here, the last %s", sc.ago(l.Last)).on(l.Last)
		}
		return holds("its netmask has to be that of "+sc.cfg.LAN.Address.Masked().String(),
			"it sends packets for its neighbours to the gateway, which does not pass them on; the last %s", sc.ago(l.Last)).on(l.Last)
	}
	return fine("what is for the box itself passes, session or not: %s to it, %s from it", humanize.Bytes(sc.ToBox), humanize.Bytes(sc.FromBox))
}

// admit: does a session let it pass?
func (sc *scene) admit() finding {
	sell := fmt.Sprintf("gatewayd sessions create --device %s --type time --time 1h --global", sc.key())
	switch {
	case sc.stopped:
		return stops("gatewayd status", "admission of all clients is stopped: the kernel of this box interferes on a port")
	case sc.Device == nil:
		return unasked("")
	case sc.Passing != nil && (!sc.Acked || sc.Passing.Started.IsZero()):
		return stops("gatewayd status", "session %d may pass, but the forwarder has not acknowledged it", sc.Passing.Session.ID)
	case sc.Passing != nil:
		s := &sc.Passing.Session
		return fine("session %d lets it pass, taken into use %s; %s left", s.ID, sc.ago(sc.Passing.Started), left(s)).on(sc.Passing.Started)
	case sc.Device.Session != nil && sc.Device.Session.State == sessions.Paused:
		return sc.pausedBy(sc.Device.Session)
	case sc.Waits != "":
		return stops("", "it waits for %s", sc.Waits)
	case sc.Unknown != nil:
		return stops("gatewayd status", "what it bought is not known: %v", sc.Unknown)
	case sc.Next != nil && sc.Next.StartedAt == nil:
		return stops("gatewayd connect "+sc.key(), "it has session %d (%s) and was never connected with it", sc.Next.ID, left(sc.Next))
	case sc.Next != nil && sc.Next.Throttled:
		return stops("gatewayd connect "+sc.key(), "it is disconnected; session %d is used up, and goes on at its throttle until it expires", sc.Next.ID).on(sc.Ended)
	case sc.Next != nil:
		return stops("gatewayd connect "+sc.key(), "it is disconnected; session %d has %s left", sc.Next.ID, left(sc.Next)).on(sc.Ended)
	case len(sc.Amiss) > 0:
		return stops("gatewayd status", "nothing that it bought is known to be left, and %s", sc.Amiss[0])
	case sc.Last == nil:
		return stops(sell, "it has bought no session")
	case sc.Last.State == sessions.Expired:
		return stops(sell, "session %d has expired with %s left, and it has no other", sc.Last.ID, left(sc.Last)).on(*sc.Last.ExpiresAt)
	}
	return stops(sell, "session %d is used up: %s, and it has no other", sc.Last.ID, usedUp(sc.Last)).on(sc.Ended)
}

// pausedBy: what ends the pause of its session? That the WAN is away is said
// where the way on is looked at.
func (sc *scene) pausedBy(s *sessions.Session) finding {
	do, until := "gatewayd resume "+sc.key(), ""
	switch s.PauseReason {
	case sessions.PausedIdle:
		do, until = "", ": it goes on with the client's next packet"
	case sessions.PausedNoCarrier, sessions.PausedSilentGateway:
		if !sc.wan.Up || !sc.resolved {
			return unasked("its session %d is paused while the WAN is away, with %s left: its clock stands still", s.ID, left(s))
		}
		do, until = "gatewayd status", ": it goes on by itself when the WAN is back"
	}
	return stops(do, "its session %d is paused (%s), with %s left%s", s.ID, s.PauseReason, left(s), until).on(sc.Ended)
}

// route: is there a way on?
func (sc *scene) route() finding {
	port := cmp.Or(sc.wan.Name, sc.cfg.WAN.Port())
	switch {
	case !sc.wan.Up:
		return stops("check the cable and the port: ip link show "+port, "the WAN port %s has no link", port)
	case sc.trouble.seen != "" && !sc.router.IsValid():
		return stops(sc.trouble.do, "%s", sc.trouble.seen)
	case !sc.resolved && sc.cfg.WAN.ByDHCP():
		return stops("check the cable and the network behind it", "the next router %v, which came by DHCP, does not answer ARP on %s", sc.router, port)
	case !sc.resolved:
		return stops("check the cable and wan.gateway in the config", "the next router %v does not answer ARP on %s", sc.router, port)
	}
	if l, ok := sc.lost(forwarder.Unresolved); ok {
		return holds("", "it spoke to a neighbour of the WAN port that does not answer ARP; the last %s", sc.ago(l.Last)).on(l.Last)
	}
	if !sc.router.IsValid() {
		return fine("WAN port %s is up", port)
	}
	return fine("WAN port %s is up and the next router %v answers ARP", port, sc.router)
}

// limit: what holds its speed?
func (sc *scene) limit() finding {
	if sc.Passing == nil {
		return unasked("no session says how fast")
	}
	p := sc.Passing
	whose, faster := "its session's own", fmt.Sprintf("for more, give the session a faster plan: gatewayd sessions set %d --down 20Mbit --up 20Mbit", p.Session.ID)
	if sc.global {
		whose, faster = "the global speed", "for more, raise bandwidth.global in the config, or give the session a speed of its own: "+
			fmt.Sprintf("gatewayd sessions set %d --down 20Mbit --up 20Mbit", p.Session.ID)
	}
	if p.Session.Throttled {
		whose = fmt.Sprintf("the throttle of its session %d, which is used up", p.Session.ID)
		faster = fmt.Sprintf("top the session up (gatewayd sessions set %d --help), or sell it another one: gatewayd sessions create --device %s --help", p.Session.ID, sc.key())
	}
	limits := fmt.Sprintf("%s down and %s up, %s", speed(p.Down), speed(p.Up), whose)
	now := fmt.Sprintf("right now %s down, %s up", mbits(sc.speed[sessions.WaitedDown]), mbits(sc.speed[sessions.WaitedUp]))
	var way string
	var last time.Time
	for i, name := range []string{sessions.WaitedUp: "up", sessions.WaitedDown: "down"} {
		if at := sc.Waited[i]; !at.IsZero() && sc.Now.Sub(at) < held {
			way, last = name, at
		}
	}
	switch {
	case way == "" && p.Session.Throttled:
		return holds(faster, "it may have %s; %s", limits, now)
	case way == "":
		return fine("it may have %s; %s", limits, now)
	}
	over := ""
	full, isFull := sc.lost(forwarder.OverRate)
	late, isLate := sc.lost(forwarder.QueueDelay)
	if n := full.Packets + late.Packets; isFull || isLate {
		last := full.Last
		if late.Last.After(last) {
			last = late.Last
		}
		over = fmt.Sprintf("; %d packets over it dropped in all, the last %s", n, sc.ago(last))
	}
	return holds(faster, "its plan's speed holds it on the way %s: %s; %s%s", way, limits, now, over).on(last)
}

// nat: may it open new conversations?
func (sc *scene) nat() finding {
	limits := &sc.cfg.Limits
	if l, ok := sc.lost(forwarder.ClientCap); ok {
		return holds("end what opens so many on the client, or raise these limits in the config",
			"it has as many conversations as limits.flows_per_client (%d) or limits.ports_per_client (%d) allows: new ones are refused, "+
				"%d packets so far, the last %s", limits.FlowsPerClient, limits.PortsPerClient, l.Packets, sc.ago(l.Last)).on(l.Last)
	}
	for r, what := range map[forwarder.Reason]string{
		forwarder.FlowsFull: fmt.Sprintf("the translation table is full (limits.nat_flows, %d)", limits.NATFlows),
		forwarder.NoPort:    fmt.Sprintf("all ports of %s are in use", someOf(sc.cfg)),
	} {
		if l, ok := sc.lost(r); ok {
			return holds("gatewayd status", "%s: new conversations of it are refused, the last %s", what, sc.ago(l.Last)).on(l.Last)
		}
	}
	if sc.Slot == 0 {
		return unasked("")
	}
	return fine("%d of %d conversations are in use by all clients; this one may have %d", sc.flows, limits.NATFlows, limits.FlowsPerClient)
}

// send: does the WAN port take what is sent?
func (sc *scene) send() finding {
	for _, r := range []forwarder.Reason{forwarder.TxRefused, forwarder.NoLink} {
		if l, ok := sc.lost(r); ok {
			return holds("ip -s link show "+cmp.Or(sc.wan.Name, sc.cfg.WAN.Port()), "%s: %d packets so far, the last %s",
				endings[r].words, l.Packets, sc.ago(l.Last)).on(l.Last)
		}
	}
	if sc.Passing == nil {
		return unasked("")
	}
	return fine("%d packets of it have gone out since the session went on", sc.used().UpPackets)
}

// back: does anything come back?
func (sc *scene) back() finding {
	u := sc.used()
	switch {
	case sc.Passing == nil:
		return unasked("")
	case u.UpPackets > 0 && u.DownPackets == 0 && sc.Now.Sub(sc.Passing.Started) > held:
		if sc.cfg.Bridges() {
			return holds("does what is behind the WAN port answer it?", "%d packets have gone out and none has come back", u.UpPackets)
		}
		return holds(fmt.Sprintf("does the next router %v know the way back to %s, and does the internet behind it work?", sc.router, words(sc.own)),
			"%d packets have gone out and none has come back", u.UpPackets)
	case sc.Came.IsZero():
		return fine("nothing has come back yet")
	}
	return fine("%d packets have come back, the last %s", u.DownPackets, sc.ago(sc.Came)).on(sc.Came)
}

// isLAN says whether an address can be a client's.
func (sc *scene) isLAN(ip string) bool {
	a, err := netip.ParseAddr(ip)
	if sc.cfg.Bridges() {
		return err == nil
	}
	return err == nil && sc.cfg.LAN.Address.Masked().Contains(a) && a != sc.cfg.LAN.Address.Addr()
}

// left is what is left of a session in words.
func left(s *sessions.Session) string {
	t, b := (time.Duration(s.RemainingTime) * time.Second).String(), fmt.Sprintf("%.6g MB", s.RemainingData)
	switch s.Type {
	case sessions.TypeTime:
		return t
	case sessions.TypeData:
		return b
	}
	return t + " or " + b
}

// usedUp is what of a session is used up in words.
func usedUp(s *sessions.Session) string {
	if s.Type == sessions.TypeData || s.Type == sessions.TypeTimeOrData && s.RemainingTime > 0 {
		return fmt.Sprintf("its %.6g MB have passed", s.DataMB)
	}
	return fmt.Sprintf("its %v are over", time.Duration(s.TimeSecs)*time.Second)
}

// speed is a limit in words.
func speed(r limiter.Rate) string {
	if r == 0 {
		return "without a limit"
	}
	return mbits(r)
}

func mbits(r limiter.Rate) string { return fmt.Sprintf("%.3g Mbit/s", float64(r)*8/1e6) }
