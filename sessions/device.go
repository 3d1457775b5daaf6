package sessions

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Device is a copy of what is known of a client device. All of it is the
// caller's.
type Device struct {
	ID        int64     `json:"id"`  // never another device's; 0: nobody's
	MAC       string    `json:"mac"` // as 02:00:00:00:00:0c
	IP        string    `json:"ip"`  // IPv4, bound or the last; empty: none, or another device has it by now
	IPv6      []string  `json:"ipv6,omitempty" doc:"of a bridge's client: the addresses that it was heard from, the last first, 16 at most; absent when there are none"`
	Hostname  string    `json:"hostname"`   // as somebody named it
	Connected bool      `json:"connected"`  // it passes, or is paused in place
	FirstSeen time.Time `json:"first_seen"` // or added
	LastSeen  time.Time `json:"last_seen"`  // its last packet
	Session   *Session  `json:"session"`    // the running or paused one
}

// device is a device in memory. Whoever changes its sessions or grants holds
// its turn, over disk and forwarder; Manager.mu guards the fields.
type device struct {
	turn turn

	id        int64 // 0: not known yet
	mac       uint64
	ip        uint32 // bound; 0: none
	lastIP    uint32 // its last binding, while it has none
	ownIP     uint32 // no other device has this address on disk
	hostname  string
	firstSeen time.Time
	lastSeen  time.Time
	touched   time.Duration // since boot; last time somebody asked for it

	slot     int           // 0: none
	boundAt  time.Duration // since boot
	admitted time.Duration // since boot; its packets pass since somebody asked for it
	sighted  bool          // a packet of it has come since this process started
	awaited  bool          // it is among those to be looked up

	known  bool // id and the rest are the disk's, or it is new
	onDisk bool // its record is on disk
	loaded bool // sessions holds all of them
	dirty  bool // its record on disk is behind
	gone   bool // dropped from memory; look it up again
	asked  bool // AddDevice is making it, and tells of it when that is done
	untold bool // its client:created is due

	sessions  []*session
	offers    []offer   // of the providers that answered, in their order
	ahead     lookahead // for what comes after the running session
	grants    []grant   // published and not settled, in sequence
	unread    bool      // the slot has grants whose sessions are not loaded yet
	settled   uint64    // highest grant sequence whose end is in memory
	ended     int64     // session whose grant ended last by itself
	revokedAt uint64    // policy generation that carries the last revocation
	connected bool
	ran       *session // in use, or the last that was since the device was connected
	review    bool     // which session is next has to be looked at
	resume    *session // runs again with the next packet
	paused    *session // paused in place
	woken     bool     // a packet of it came since it was paused or got its slot

	refused      uint32        // an address it could not have
	refusedUntil time.Duration // since boot
}

// grant is a published grant.
type grant struct {
	seq       uint64
	session   *session
	revoked   bool
	throttled bool   // its session is used up by then
	told      bool   // the ledger tells that it took over at its throttle
	void      bool   // the connect that published it and started the session failed
	why       string // it was revoked, for the ledger
}

// current returns the grant in use: the first that was not revoked.
func (d *device) current() *grant {
	for i := range d.grants {
		if !d.grants[i].revoked {
			return &d.grants[i]
		}
	}
	return nil
}

// runs says whether a session is the device's running one; d may be nil.
func (d *device) runs(s *session) bool {
	if d == nil || !d.connected {
		return false
	}
	g := d.current()
	return g != nil && g.session == s
}

// next returns the published grant that follows the current one.
func (d *device) next() *grant {
	cur := d.current()
	for i := range d.grants {
		if g := &d.grants[i]; g != cur && !g.revoked {
			return g
		}
	}
	return nil
}

// best returns the first available session in order of use that skip does not
// name: what the providers offer, in their order, then the local ones; nil
// when there is none. now is wall time.
func (d *device) best(now time.Time, skip func(*session) bool) *session {
	for _, o := range d.offers {
		for _, s := range o.sessions {
			if !skip(s) && s.available(now) {
				return s
			}
		}
	}
	var best *session
	for _, s := range d.sessions {
		if s.origin == nil && !skip(s) && s.available(now) && (best == nil || s.before(best)) {
			best = s
		}
	}
	return best
}

func (d *device) dirtySessions() bool {
	for _, s := range d.sessions {
		if s.dirty {
			return true
		}
	}
	return false
}

// packMAC returns six octets as a number, first octet highest.
func packMAC(mac net.HardwareAddr) uint64 {
	var b [8]byte
	copy(b[2:], mac)
	return binary.BigEndian.Uint64(b[:])
}

func macText(mac uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], mac)
	return net.HardwareAddr(b[2:]).String()
}

// isClientMAC: a unicast address that somebody can have.
func isClientMAC(mac uint64) bool { return mac != 0 && mac>>40&1 == 0 && mac>>48 == 0 }

func parseMAC(text string) (uint64, error) {
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 {
		return 0, fmt.Errorf("%w: MAC %q: want six octets like 02:00:00:00:00:0c", ErrBadDevice, text)
	}
	mac := packMAC(hw)
	if !isClientMAC(mac) {
		return 0, fmt.Errorf("%w: MAC %s is no client's: zero or a group address", ErrBadDevice, hw)
	}
	return mac, nil
}

func packIP(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func unpackIP(ip uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ip)
	return netip.AddrFrom4(b)
}

func ipText(ip uint32) string {
	if ip == 0 {
		return ""
	}
	return unpackIP(ip).String()
}

// parseIP reads a client's address; empty is 0, none.
func (m *Manager) parseIP(text string) (uint32, error) {
	if text == "" {
		return 0, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return 0, fmt.Errorf("%w: IP %q: want an IPv4 address", ErrBadDevice, text)
	}
	if ip := packIP(a); m.isClientIP(ip) {
		return ip, nil
	}
	if m.opt.Bridge {
		return 0, fmt.Errorf("%w: IP %v is no host's address, or the gateway's own (%v)", ErrBadDevice, a, m.opt.Gateway)
	}
	return 0, fmt.Errorf("%w: IP %v is not a client's in %v (gateway %v)", ErrBadDevice, a, m.opt.LAN, m.opt.Gateway)
}

// isClientIP: inside the LAN prefix, and neither the gateway's, the network's
// nor the broadcast address. Behind a bridge: any one host's.
func (m *Manager) isClientIP(ip uint32) bool {
	a := unpackIP(ip)
	if m.opt.Bridge {
		return a != m.opt.Gateway && ip>>24 != 0 && ip>>28 < 14 && !a.IsLoopback() && !a.IsLinkLocalUnicast()
	}
	if !m.opt.LAN.Contains(a) || a == m.opt.Gateway {
		return false
	}
	if bits := m.opt.LAN.Bits(); bits < 31 {
		host := ip & (1<<(32-bits) - 1)
		return host != 0 && host != 1<<(32-bits)-1
	}
	return true
}
