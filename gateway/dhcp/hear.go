package dhcp

import (
	"bytes"
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Hear takes in a frame that came in by the WAN, from its Ethernet header on; partial
// says that its UDP checksum is left to a device. The error says why it is of no
// concern, for a log.
func (c *Client) Hear(now time.Duration, frame []byte, partial bool) error {
	claim, m, by, err := parse(frame, partial)
	switch {
	case err != nil:
		return err
	case claim != nil:
		c.claimed(now, claim)
		return nil
	case m.OpCode != dhcpv4.OpcodeBootReply || m.TransactionID != c.xid || !bytes.Equal(m.ClientHWAddr, c.opt.MAC):
		return fmt.Errorf("DHCP for somebody else: %v", m.ClientHWAddr)
	}
	switch m.MessageType() {
	case dhcpv4.MessageTypeOffer:
		if c.state == Selecting {
			c.offered(now, m)
		}
	case dhcpv4.MessageTypeAck:
		c.acknowledged(now, m, by)
	case dhcpv4.MessageTypeNak:
		c.refusedBy(now, m)
	}
	return nil
}

// readable reads a lease that the gateway can do with.
func (c *Client) readable(m *dhcpv4.DHCPv4, asked time.Duration) (l Lease, ok bool) {
	l, err := read(m, asked)
	if err == nil {
		err = c.opt.Usable(&l)
	}
	if err != nil {
		c.heard, c.why = true, fmt.Sprintf("what the DHCP server %v offers is of no use: %v", l.Server, err)
	}
	return l, err == nil
}

func (c *Client) offered(now time.Duration, m *dhcpv4.DHCPv4) {
	l, ok := c.readable(m, now)
	if !ok {
		return
	}
	c.wants = l
	c.enter(now, Requesting)
	c.Tick(now)
}

func (c *Client) acknowledged(now time.Duration, m *dhcpv4.DHCPv4, by net.HardwareAddr) {
	was := c.wants
	switch c.state {
	case Requesting:
		if address(m.ServerIdentifier()) != was.Server {
			return
		}
	case Renewing, Rebinding:
		was = c.lease
	case Rebooting:
	default:
		return
	}
	if address(m.YourIPAddr) != was.Address.Addr() {
		return // another's
	}
	l, ok := c.readable(m, c.asked)
	if !ok { // it goes on until its end, or until a server offers what is of use
		if !c.held {
			c.rest(now)
		}
		return
	}
	l.By = by
	if c.held && c.lease.Address.Addr() == l.Address.Addr() {
		c.use(now, l)
		return
	}
	c.wants = l
	c.enter(now, Probing)
	c.Tick(now)
}

func (c *Client) refusedBy(now time.Duration, m *dhcpv4.DHCPv4) {
	server, what := address(m.ServerIdentifier()), c.wants
	if !server.IsValid() { // RFC 2131, table 3: it has to say
		return
	}
	switch c.state {
	case Renewing:
		what = c.lease
		fallthrough
	case Requesting:
		if server != what.Server {
			return
		}
	case Rebinding:
		what = c.lease
	case Rebooting:
	default:
		return
	}
	why := fmt.Sprintf("the DHCP server %v refuses %v", server, what.Address.Addr())
	if said := m.Message(); said != "" {
		why += fmt.Sprintf(": %.100q", said)
	}
	c.drop(why)
	if c.refused++; c.refused > 1 {
		c.rest(now)
		return
	}
	c.discover(now)
	c.why = why
}

// claimed hears that somebody has an address, or asks who has it.
func (c *Client) claimed(now time.Duration, said *claim) {
	ip := c.Watched()
	if !ip.IsValid() || bytes.Equal(said.mac, c.opt.MAC) {
		return
	}
	switch {
	case c.state == Probing && (said.sender == ip || said.asks && said.sender.IsUnspecified() && said.target == ip):
		c.decline(now, &c.wants, said.mac)
	case c.held && c.state != Probing && said.sender == ip:
		if c.defended == 0 || now-c.defended >= defendEvery {
			c.defended = now
			c.announce()
			return
		}
		c.decline(now, &c.lease, said.mac)
	}
}
