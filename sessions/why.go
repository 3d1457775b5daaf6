package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// Standing is what decides about a device's packets, as memory and the table
// that the forwarder reads have it at one moment. Moments are wall time, zero
// for never.
type Standing struct {
	Now    time.Time // the moment
	MAC    string    // the device's, or the one asked for; empty: neither is known
	IP     string    // the address asked for; empty: it was no address
	Device *Device   // nil: nobody is known by what was asked for
	Full   bool      // the table had no room for a newcomer lately

	Slot      int       // its place in the table; 0: none
	Address   string    // bound to its MAC; empty: none
	BoundAt   time.Time // as far as this process knows
	Contested string    // an address whose holder is being asked whether it is there; empty: none
	Refused   string    // an address that it asked for and another one holds; empty: none
	RefusedAt time.Time // when
	Holder    string    // MAC of who holds that

	Sent    time.Time    // its last packet
	Heard   time.Time    // its last ARP with its own address
	Foreign string       // the last source address that was not its own; empty: none
	Came    time.Time    // the last packet that went down to it
	Waited  [2]time.Time // by WaitedUp and WaitedDown
	ToBox   uint64       // layer-3 bytes from it to the gateway's own address
	FromBox uint64       // and from there to it
	Losses  []Lost       // by the forwarder's reason

	Acked   bool      // the forwarder has taken in what was decided about it
	Passing *Passing  // the grant in use; nil: none
	Ended   time.Time // of the grant that was in use last
	Waits   string    // for what its next session waits; empty: nothing
	Unknown error     // why it is not known what it bought; nil: it is
	Next    *Session  // what a connect would use; nil: nothing is available
	Amiss   []string  // what is wrong with providers, of whom it may have more
	Last    *Session  // of those used up or expired, the one that was started last; nil: none
}

// Directions of Standing.Waited.
const (
	WaitedUp   = iota // when a frame from it last had to wait for its rate
	WaitedDown        // a frame to it
)

// Lost is what was dropped of a device for one reason.
type Lost struct {
	Packets uint64    // how many
	Last    time.Time // the last of them
}

// Passing is a grant in use.
type Passing struct {
	Session  Session      // whose rest it is
	Sequence uint64       // of the slot's grants
	Down, Up limiter.Rate // bytes a second; 0: no limit
	Use      clients.Use  // what the forwarder has counted of it
	Started  time.Time    // when its first packet could pass
}

// Standing says what decides about the packets of the device that key names:
// an id, a MAC or an address. Who is not known has a standing, too: what was
// asked for has never been seen. While the store is away it says what memory
// knows, after 0.7 s at most. ErrNoDevice when key is none of the three, ErrBadDevice when it is a
// MAC or an address that no client can have, ErrUnavailable, ErrStopped.
func (m *Manager) Standing(ctx context.Context, key string) (Standing, error) {
	ctx, cancel, err := m.reading(ctx)
	if err != nil {
		return Standing{}, fmt.Errorf("standing of %q: %w", key, err)
	}
	defer cancel()
	v, err := m.asked(key)
	if err != nil {
		return v, fmt.Errorf("standing of %q: %w", key, err)
	}
	var d *device
	unknown := m.open(ctx)
	if unknown == nil {
		d, unknown = m.hold(ctx, func() (*device, error) { return m.find(ctx, key) })
		if d != nil {
			defer m.finish(d)
		}
	}
	if errors.Is(unknown, ErrUnavailable) { // as memory has it
		if d, err = m.find(ctx, key); err != nil {
			d = nil
		}
	}
	if unknown != nil && d == nil && !errors.Is(unknown, ErrNoDevice) {
		return v, fmt.Errorf("standing of %q: %w", key, unknown)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v.Now = m.clock.read().Wall
	v.Full = m.full != 0 && m.opt.Boot()-m.full < fullTime
	if d == nil {
		return v, nil
	}
	shown := m.viewDevice(d)
	v.Device, v.MAC = &shown, macText(d.mac)
	m.standsBound(&v, d)
	m.standsSold(&v, d, unknown)
	return v, nil
}

// asked reads what a standing is asked of.
func (m *Manager) asked(key string) (v Standing, err error) {
	if _, err := strconv.ParseInt(key, 10, 64); err == nil {
		return v, nil
	}
	if strings.ContainsAny(key, ":-") {
		mac, err := parseMAC(key)
		v.MAC = macText(mac)
		return v, err
	}
	a, err := netip.ParseAddr(key)
	if err != nil {
		return v, fmt.Errorf("want an id, a MAC or an IPv4 address: %w", ErrNoDevice)
	}
	_, err = m.parseIP(key)
	v.IP = a.String()
	return v, err
}

// when is a moment since boot in wall time; zero stays never.
func (m *Manager) when(at time.Duration) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return m.clock.wall(at)
}

// Wall is the wall time of a moment since boot, by the clock that sessions and events go by:
// it goes on from the newest time on disk where the box's own is not to be believed.
func (m *Manager) Wall(at time.Duration) time.Time { return m.clock.wall(at) }

// WallTrusted says whether Wall is the box's own clock: nothing on disk contradicts it.
func (m *Manager) WallTrusted() bool {
	m.clock.mu.Lock()
	defer m.clock.mu.Unlock()
	return m.clock.trusted
}

// standsBound fills in what the table says of a device. m.mu is held.
func (m *Manager) standsBound(v *Standing, d *device) {
	if d.refused != 0 && d.refused != d.ip {
		v.Refused, v.RefusedAt = ipText(d.refused), m.when(d.refusedUntil-refusalTime)
		if holder := m.byIP[d.refused]; holder != nil {
			v.Holder = macText(holder.mac)
		}
	}
	for ip := range m.contests {
		if ip == d.ip || m.byIP[ip] == d {
			v.Contested = ipText(ip)
		}
	}
	if d.slot == 0 {
		return
	}
	slot := m.table.Slot(d.slot)
	v.Slot, v.Address, v.BoundAt = d.slot, ipText(d.ip), m.when(d.boundAt)
	v.Acked = m.table.Acked(d.slot) >= m.table.Policy(d.slot)
	if uint32(slot.Served.Load()) != uint32(slot.Generation.Load()) {
		return // the forwarder's half is of the client before
	}
	v.Sent, v.Heard = m.when(time.Duration(slot.LastSeen.Load())), m.when(time.Duration(slot.Heard.Load()))
	v.Came = m.when(time.Duration(slot.LastDown.Load()))
	v.Waited[WaitedUp] = m.when(time.Duration(slot.WaitedUp.Load()))
	v.Waited[WaitedDown] = m.when(time.Duration(slot.WaitedDown.Load()))
	v.ToBox, v.FromBox = slot.ExemptUp.Load(), slot.ExemptDn.Load()
	v.Foreign = ipText(uint32(slot.Foreign.Load()))
	losses := m.table.Losses(d.slot)
	v.Losses = make([]Lost, len(losses))
	for i := range losses {
		v.Losses[i] = Lost{losses[i].Packets.Load(), m.when(time.Duration(losses[i].Last.Load()))}
	}
}

// standsSold fills in what a device may use and uses. unknown says why what it
// bought could not be read. m.mu is held.
func (m *Manager) standsSold(v *Standing, d *device, unknown error) {
	if d.slot != 0 {
		slot := m.table.Slot(d.slot)
		if g := d.current(); g != nil && d.connected {
			r := slot.Record(g.seq)
			u := r.Use(g.seq)
			v.Passing = &Passing{Session: m.viewSession(g.session), Sequence: g.seq, Use: u, Started: m.when(u.Started),
				Down: limiter.Rate(r.RateDown.Load()), Up: limiter.Rate(r.RateUp.Load())}
		}
		last := slot.Active.Load()
		v.Ended = m.when(slot.Record(last).Use(last).Ended)
	}
	v.Amiss = m.providersDegraded()
	switch {
	case !d.loaded || d.unread:
		v.Unknown = unknown
		if v.Unknown == nil {
			v.Unknown = fmt.Errorf("its sessions have not been read yet: %w", ErrUnavailable)
		}
		return
	case d.connected && d.current() == nil && m.waits(d):
		v.Waits = "the store: its next session goes on once the disk has the end of those before"
	case d.resume != nil && d.sighted && !m.books.opened.Load():
		v.Waits = "the store: it was connected before a restart and goes on as soon as the store answers"
	case d.resume != nil:
		v.Waits = "its next packet: it was connected before a restart and goes on by itself"
	}
	now := m.clock.read().Wall
	if next := d.follows(now, nobody); next != nil {
		s := m.viewSession(next)
		v.Next = &s
	}
	var last *session
	for _, s := range d.sessions {
		if !s.available(now) && (last == nil || s.startedAt.After(last.startedAt)) {
			last = s
		}
	}
	if last != nil {
		s := m.viewSession(last)
		v.Last = &s
	}
}
