package dhcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// State is where in a lease's life a Client is.
type State string

// The states (RFC 2131, 4.4).
const (
	Selecting  State = "selecting"  // for offers
	Requesting State = "requesting" // what was offered
	Rebooting  State = "rebooting"  // whether what was had still holds
	Probing    State = "probing"    // whether somebody else has the address
	Bound      State = "bound"
	Renewing   State = "renewing"
	Rebinding  State = "rebinding"
	Waiting    State = "waiting" // a moment after a refusal
)

// How often and for how long is asked.
const (
	firstPatience = 4 * time.Second // doubled each time (RFC 2131, 4.1)
	mostPatience  = 64 * time.Second
	requests      = 3                // of one offer
	reboots       = 2                // until a lease from before counts without a word
	leastPatience = 60 * time.Second // between two of a renewal (RFC 2131, 4.4.5)
	probes        = 3                // (RFC 5227, 1.1)
	probeEvery    = 300 * time.Millisecond
	pause         = 10 * time.Second // after a decline (RFC 2131, 3.1)
	defendEvery   = 10 * time.Second // RFC 5227, 2.4
)

// Options are what a Client needs.
type Options struct {
	MAC    net.HardwareAddr   // the WAN port's
	Send   func(frame []byte) // sends a frame out of it, from its Ethernet header on
	Usable func(*Lease) error // nil if the gateway can do with a lease
	Rand   *rand.Rand
}

// Client is one conversation with the DHCP servers on the WAN. One goroutine calls it;
// now is since boot and goes up.
type Client struct {
	opt   Options
	state State
	since time.Duration // when the state began
	due   time.Duration // when Tick has something to do
	tries int           // messages in this state
	heard bool          // a server, since the last of them
	xid   dhcpv4.TransactionID
	begun time.Duration // when this exchange began
	secs  uint16        // of its last DISCOVER, or what it is else
	asked time.Duration // when the first REQUEST was sent that an answer may be to: from then on a lease runs (RFC 2131, 4.4.1)
	wants Lease         // what is asked for, probed for, or was had
	lease Lease         // in force
	held  bool          // there is one

	refused  int           // times since a lease was renewed
	defended time.Duration // when the address was last defended; 0: not yet
	why      string        // of the last trouble
}

// New returns a client that does nothing until Begin or Resume.
func New(opt Options) *Client { return &Client{opt: opt, due: Never} }

// Begin asks for an address, and first whether a former lease still holds, if there is
// one of the same port that has not ended.
func (c *Client) Begin(now time.Duration, former *Lease) {
	if former != nil && former.whole() && now < former.End && bytes.Equal(former.MAC, c.opt.MAC) && c.opt.Usable(former) == nil {
		c.wants = *former
		c.enter(now, Rebooting)
		c.renewXID(now)
		c.Tick(now)
		return
	}
	c.discover(now)
}

// Resume goes on with a lease that is in force; with one that is not whole all begins anew.
func (c *Client) Resume(now time.Duration, lease *Lease) {
	if !lease.whole() {
		c.discover(now)
		return
	}
	c.use(now, *lease)
	c.Tick(now)
}

// Lease returns the lease that is in force; false if none is.
func (c *Client) Lease() (Lease, bool) { return c.lease, c.held }

// State returns what is going on, since when, and what was last wrong; empty: nothing is.
func (c *Client) State() (s State, since time.Duration, why string) { return c.state, c.since, c.why }

// Watched is the address of which others' claims by ARP are to be heard; invalid: none.
func (c *Client) Watched() netip.Addr {
	switch {
	case c.state == Probing:
		return c.wants.Address.Addr()
	case c.held:
		return c.lease.Address.Addr()
	}
	return netip.Addr{}
}

// Next is when Tick has something to do.
func (c *Client) Next() time.Duration {
	if c.held {
		return min(c.due, c.lease.End)
	}
	return c.due
}

// enter changes the state; what it does first is due now.
func (c *Client) enter(now time.Duration, s State) {
	c.state, c.since, c.due, c.tries, c.heard = s, now, now, 0, false
}

// discover begins anew.
func (c *Client) discover(now time.Duration) {
	c.renewXID(now)
	c.enter(now, Selecting)
	c.Tick(now)
}

// rest begins anew after a moment: who was refused twice does not go round in circles.
func (c *Client) rest(now time.Duration) {
	c.enter(now, Waiting)
	c.due = now + pause
}

// drop gives the lease up.
func (c *Client) drop(why string) { c.lease, c.held, c.why = Lease{}, false, why }

// use puts a lease in force.
func (c *Client) use(now time.Duration, l Lease) {
	if c.held { // who renews means well; who gives and refuses in turn does not
		c.refused = 0
	}
	c.lease, c.held, c.why = l, true, ""
	c.enter(now, Bound)
	c.due = l.Renew
}

func (c *Client) renewXID(now time.Duration) {
	binary.BigEndian.PutUint32(c.xid[:], c.opt.Rand.Uint32())
	c.begun = now
}

// patience is how long an answer is waited for, a second more or less.
func (c *Client) patience() time.Duration {
	d := min(firstPatience<<min(c.tries-1, 8), mostPatience)
	return d + time.Duration(c.opt.Rand.Int64N(int64(2*time.Second))) - time.Second
}

// Tick does what is due.
func (c *Client) Tick(now time.Duration) {
	if c.held && now >= c.lease.End {
		c.drop(fmt.Sprintf("the lease of %v has ended, and no DHCP server has renewed it", c.lease.Address.Addr()))
		c.discover(now)
		return
	}
	for now >= c.due {
		c.tries++
		switch c.state {
		case Selecting:
			c.silence()
			c.send(now, dhcpv4.MessageTypeDiscover, unspecified, allHosts, everybody, nil)
			c.due = now + c.patience()
		case Requesting:
			if c.tries > requests {
				c.why = fmt.Sprintf("the DHCP server %v has offered %v and does not give it", c.wants.Server, c.wants.Address.Addr())
				c.discover(now)
				return
			}
			c.request(now, true)
			c.due = now + c.patience()
		case Rebooting:
			if c.tries > reboots {
				c.unanswered(now)
				continue
			}
			c.request(now, false)
			c.due = now + c.patience()
		case Probing:
			if now >= c.wants.End {
				c.discover(now)
				return
			}
			if c.tries > probes {
				c.use(now, c.wants)
				c.announce()
				continue
			}
			c.opt.Send(question(c.opt.MAC, unspecified, c.wants.Address.Addr()))
			c.due = now + probeEvery
		case Bound:
			c.renewXID(now)
			c.enter(now, Renewing)
		case Renewing:
			if now >= c.lease.Rebind {
				c.enter(now, Rebinding)
				continue
			}
			c.renew(now, c.lease.Server, c.lease.By)
			c.due = min(now+max((c.lease.Rebind-now)/2, leastPatience), c.lease.Rebind)
		case Rebinding:
			c.silence()
			c.renew(now, allHosts, everybody)
			c.due = min(now+max((c.lease.End-now)/2, leastPatience), c.lease.End)
		case Waiting:
			c.discover(now)
			return
		}
	}
}

// silence says that nobody has answered the last message, if so.
func (c *Client) silence() {
	if c.tries > 1 && !c.heard {
		c.why = "no DHCP server answers"
	}
	c.heard = false
}

// unanswered goes on with a lease of before, of which no server says anything.
func (c *Client) unanswered(now time.Duration) {
	c.silence()
	why := c.why
	if c.held { // the cable was away
		c.use(now, c.lease)
	} else {
		c.enter(now, Probing)
	}
	c.why = why
}

// Relinked has it asked at once whether all is as it was: the cable is back, and may be
// another's.
func (c *Client) Relinked(now time.Duration) {
	switch {
	case c.held:
		c.wants = c.lease
	case c.state == Probing || c.state == Rebooting: // it is not known that the other network gives it, too
	default:
		c.discover(now)
		return
	}
	c.renewXID(now)
	c.enter(now, Rebooting)
	c.Tick(now)
}

// announce says to whom the address is ours.
func (c *Client) announce() {
	ip := c.lease.Address.Addr()
	c.opt.Send(question(c.opt.MAC, ip, ip))
}

// decline tells a server that an address it gave is somebody's.
func (c *Client) decline(now time.Duration, l *Lease, by net.HardwareAddr) {
	why := fmt.Sprintf("%v, which the DHCP server %v has given, is in use by %v", l.Address.Addr(), l.Server, by)
	c.renewXID(now)
	c.send(now, dhcpv4.MessageTypeDecline, unspecified, allHosts, everybody, dhcpv4.OptionsFromList(
		dhcpv4.OptRequestedIPAddress(l.Address.Addr().AsSlice()), dhcpv4.OptServerIdentifier(l.Server.AsSlice())))
	c.drop(why)
	c.rest(now)
}

// request asks everybody for an address that is not in force, or may not be: the one
// of an offer, whose server is named, or a former one.
func (c *Client) request(now time.Duration, offered bool) {
	opt := dhcpv4.OptionsFromList(dhcpv4.OptRequestedIPAddress(c.wants.Address.Addr().AsSlice()))
	if offered {
		opt.Update(dhcpv4.OptServerIdentifier(c.wants.Server.AsSlice()))
	}
	if c.tries == 1 {
		c.asked = now
	}
	c.send(now, dhcpv4.MessageTypeRequest, unspecified, allHosts, everybody, opt)
}

// renew asks for more time. Each question is its own transaction: a minute or a month
// is between two, and an answer to the last but one gives so much less.
func (c *Client) renew(now time.Duration, to netip.Addr, by net.HardwareAddr) {
	begun := c.begun
	c.renewXID(now)
	c.begun, c.asked = begun, now
	c.send(now, dhcpv4.MessageTypeRequest, c.lease.Address.Addr(), to, by, nil)
}

// send says something. from is the address that is in force, if that is what it is
// about. A REQUEST has the seconds of the DISCOVER it follows, so that relays treat them
// alike (RFC 2131, 3.1).
func (c *Client) send(now time.Duration, kind dhcpv4.MessageType, from, to netip.Addr, by net.HardwareAddr, opt dhcpv4.Options) {
	if c.state != Requesting {
		c.secs = uint16(min((now-c.begun)/time.Second, 1<<16-1))
	}
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: c.opt.MAC, TransactionID: c.xid,
		NumSeconds:   c.secs,
		ClientIPAddr: from.AsSlice(), YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.OptionsFromList(dhcpv4.OptMessageType(kind), dhcpv4.OptClientIdentifier(append([]byte{byte(iana.HWTypeEthernet)}, c.opt.MAC...))),
	}
	if kind != dhcpv4.MessageTypeDecline {
		m.UpdateOption(dhcpv4.OptMaxMessageSize(maxMessage))
		m.UpdateOption(dhcpv4.OptParameterRequestList(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
			dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue, dhcpv4.OptionServerIdentifier))
	}
	for code, value := range opt {
		m.Options[code] = value
	}
	c.opt.Send(datagram(m, from, to, by))
}

// maxMessage is the longest answer that is read, bytes of DHCP.
const maxMessage = 1400
