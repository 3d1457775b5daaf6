package dhcp

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// TestWhatIsInAMessage: what RFC 2131, table 5, and 4.3.6 want there, and nothing else.
func TestWhatIsInAMessage(t *testing.T) {
	const (
		every = "53 55 57 61" // kind, what is asked for, longest answer, who asks
		named = "50 53 54 55 57 61"
	)
	begun := func(w *world) { w.client.Begin(w.now, nil) }
	for _, row := range []struct {
		name    string
		do      func(w *world)
		kind    dhcpv4.MessageType
		options string
		ciaddr  string
		to      string
		mac     string
		secs    uint16
	}{
		{"DISCOVER", begun, dhcpv4.MessageTypeDiscover, every, "0.0.0.0", "255.255.255.255", everybody.String(), 0},
		{"a later DISCOVER", func(w *world) { begun(w); w.next() }, dhcpv4.MessageTypeDiscover, every, "0.0.0.0", "255.255.255.255", everybody.String(), 4},
		{"REQUEST of an offer", func(w *world) { begun(w); w.says(one, offer) }, dhcpv4.MessageTypeRequest, named, "0.0.0.0", "255.255.255.255", everybody.String(), 0},
		{"a later REQUEST, with the seconds of the DISCOVER", func(w *world) { begun(w); w.next().says(one, offer).to(15 * time.Second) },
			dhcpv4.MessageTypeRequest, named, "0.0.0.0", "255.255.255.255", everybody.String(), 4},
		{"REQUEST of a lease of before", func(w *world) { w.client.Begin(w.now, former()) }, dhcpv4.MessageTypeRequest, "50 53 55 57 61", "0.0.0.0", "255.255.255.255", everybody.String(), 0},
		{"REQUEST when the cable is back", func(w *world) { w.client.Resume(w.now, former()); w.client.Relinked(w.now) },
			dhcpv4.MessageTypeRequest, "50 53 55 57 61", "0.0.0.0", "255.255.255.255", everybody.String(), 0},
		{"REQUEST to renew", func(w *world) { w.client.Resume(w.now, former()); w.to(30 * time.Minute) }, dhcpv4.MessageTypeRequest, every, "203.0.113.20", "203.0.113.2", one.mac.String(), 0},
		{"a later one", func(w *world) { w.client.Resume(w.now, former()); w.to(42 * time.Minute) }, dhcpv4.MessageTypeRequest, every, "203.0.113.20", "203.0.113.2", one.mac.String(), 11 * 60},
		{"REQUEST to rebind", func(w *world) { w.client.Resume(w.now, former()); w.to(52 * time.Minute) }, dhcpv4.MessageTypeRequest, every, "203.0.113.20", "255.255.255.255", everybody.String(), 22 * 60},
		{"DECLINE", func(w *world) {
			begun(w)
			w.says(one, offer).to(5*time.Second).says(one, ack).hears(layers.ARPReply, stranger, offered.Addr(), none)
		}, dhcpv4.MessageTypeDecline, "50 53 54 61", "0.0.0.0", "255.255.255.255", everybody.String(), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.do(w)
			s, m := w.last(), w.asked
			var codes []int
			for code := range m.Options {
				codes = append(codes, int(code))
			}
			slices.Sort(codes)
			if got := fmt.Sprint(codes); got != "["+row.options+"]" || m.MessageType() != row.kind {
				t.Errorf("%v with the options %s, want %v, %s", m.MessageType(), got, row.kind, row.options)
			}
			if m.ClientIPAddr.String() != row.ciaddr || s.ip.SrcIP.String() != row.ciaddr || s.ip.DstIP.String() != row.to || s.eth.DstMAC.String() != row.mac {
				t.Errorf("ciaddr %v, from %v to %v, %v", m.ClientIPAddr, s.ip.SrcIP, s.ip.DstIP, s.eth.DstMAC)
			}
			if m.NumSeconds != row.secs || m.Flags != 0 || m.OpCode != dhcpv4.OpcodeBootRequest || m.HWType != iana.HWTypeEthernet || m.HopCount != 0 || !bytes.Equal(m.ClientHWAddr, own) {
				t.Errorf("secs %d, flags %d, op %v, %v %v, hops %d", m.NumSeconds, m.Flags, m.OpCode, m.HWType, m.ClientHWAddr, m.HopCount)
			}
			if !m.YourIPAddr.IsUnspecified() || !m.ServerIPAddr.IsUnspecified() || !m.GatewayIPAddr.IsUnspecified() {
				t.Errorf("yiaddr %v, siaddr %v, giaddr %v", m.YourIPAddr, m.ServerIPAddr, m.GatewayIPAddr)
			}
			if id := m.Options.Get(dhcpv4.OptionClientIdentifier); !bytes.Equal(id, append([]byte{1}, own...)) {
				t.Errorf("client identifier %x", id)
			}
			if m.Options.Has(dhcpv4.OptionRequestedIPAddress) && m.RequestedIPAddress().String() != "203.0.113.20" {
				t.Errorf("requested %v", m.RequestedIPAddress())
			}
			if m.Options.Has(dhcpv4.OptionServerIdentifier) && m.ServerIdentifier().String() != "203.0.113.2" {
				t.Errorf("server %v", m.ServerIdentifier())
			}
			if size, err := m.MaxMessageSize(); err == nil && size < 576 {
				t.Errorf("longest answer %d", size)
			}
		})
	}
}

// Each exchange is a transaction of its own; an offer's REQUEST is in that of its DISCOVER.
func TestTransactions(t *testing.T) {
	w := newWorld(t)
	w.client.Begin(w.now, nil)
	first := w.asked.TransactionID
	w.next()
	if w.asked.TransactionID != first {
		t.Error("a second DISCOVER is another transaction")
	}
	w.says(one, offer)
	if w.asked.TransactionID != first {
		t.Error("the REQUEST of an offer is another transaction")
	}
	w.says(one, nak)
	if w.asked.TransactionID == first {
		t.Error("after a refusal it is the same transaction")
	}
}
