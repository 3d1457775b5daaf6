package nat

import (
	"errors"
	"fmt"
	"time"

	"gatewayd/forwarder/arena"
)

// Protocol numbers that can be translated.
const (
	ICMP uint8 = 1
	TCP  uint8 = 6
	UDP  uint8 = 17
)

// maxFlows bounds a table: an index keeps 32 bits of hash, and the bits above
// the position must still tell flows apart.
const maxFlows = 1 << 24

// Filtering is whom a mapping lets in beside the remotes that its client has sent
// to (RFC 4787 section 5, RFC 5382 REQ-3). It may change at any time; flows stay.
type Filtering uint8

const (
	ByAddress        Filtering = iota // the addresses that it has sent to, from any port (address-dependent)
	AnyRemote                         // everybody (endpoint-independent)
	ByAddressAndPort                  // nobody (address- and port-dependent)
	numFilterings
)

// Options say how a Table behaves. Zero means the default wherever one is named.
type Options struct {
	Externals []uint32 // the WAN addresses that the clients share, all different, at most MaxExternals; see SetExternals

	Forwards []Forward                        // no port twice, at most MaxForwards; see SetForwards
	Holder   func(addr uint32) (Client, bool) // who has an internal address just now and is served; asked as somebody comes by a forward

	Filtering Filtering // default ByAddress

	Owner  uint8 // the worker this table belongs to, 0 … Owners−1
	Owners int   // workers that share the external ports; default 1

	PortLow, PortHigh uint16 // external ports, both inclusive; default 1024 … 65535

	MaxFlows       int // default 262144, at most 2^24; the memory must be Layout(MaxFlows) bytes
	FlowsPerClient int // default 4096; slot 0 is exempt
	PortsPerClient int // mappings of all protocols; default 1024; slot 0 is exempt
	MaxClients     int // the highest slot; default 4096

	Arena *arena.Arena // where the private side lies; the table is of no use once it is closed. nil: the heap

	Seed [32]byte // secret behind hashes and port choice; all zero draws one

	// Timers, rounded up to seconds.
	UDP            time.Duration // default 300 s (RFC 4787 REQ-5)
	TCPEstablished time.Duration // default 7440 s (RFC 5382 REQ-5)
	TCPTransitory  time.Duration // opening, closing and reset; default 240 s (RFC 5382 REQ-5)
	ICMP           time.Duration // default 60 s (RFC 5508 REQ-1)
	PortRest       time.Duration // default 120 s (RFC 6888 REQ-8)
}

// Slice is the range of external ports, both inclusive, that belongs to an
// owner; zero low and high when it is not one of Owners. Every external port of
// the range has exactly one owner.
func (o Options) Slice(owner int) (low, high uint16) {
	o.defaults()
	if owner < 0 || owner >= o.Owners {
		return 0, 0
	}
	n := int(o.PortHigh) - int(o.PortLow) + 1
	low = o.PortLow + uint16(n*owner/o.Owners)
	high = o.PortLow + uint16(n*(owner+1)/o.Owners-1)
	return low, high
}

func (o *Options) defaults() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Owners, 1)
	def(&o.MaxFlows, 262144)
	def(&o.FlowsPerClient, 4096)
	def(&o.PortsPerClient, 1024)
	def(&o.MaxClients, 4096)
	if o.PortLow == 0 {
		o.PortLow = 1024
	}
	if o.PortHigh == 0 {
		o.PortHigh = 65535
	}
	timer := func(v *time.Duration, seconds time.Duration) {
		if *v == 0 {
			*v = seconds * time.Second
		}
	}
	timer(&o.UDP, 300)
	timer(&o.TCPEstablished, 7440)
	timer(&o.TCPTransitory, 240)
	timer(&o.ICMP, 60)
	timer(&o.PortRest, 120)
}

// check refuses what cannot work; o has its defaults.
func (o *Options) check() error {
	switch {
	case o.Filtering >= numFilterings:
		return fmt.Errorf("filtering %d is none", o.Filtering)
	case o.Owners < 1 || o.Owners > 256 || int(o.Owner) >= o.Owners:
		return fmt.Errorf("owner %d of %d", o.Owner, o.Owners)
	case o.PortLow > o.PortHigh || int(o.PortHigh)-int(o.PortLow)+1 < o.Owners:
		return fmt.Errorf("ports %d to %d for %d owners", o.PortLow, o.PortHigh, o.Owners)
	case o.MaxFlows < 1 || o.MaxFlows > maxFlows:
		return fmt.Errorf("%d flows, not 1 to %d", o.MaxFlows, maxFlows)
	case o.FlowsPerClient < 0 || o.PortsPerClient < 0 || o.MaxClients < 0 || o.MaxClients > maxFlows:
		return errors.New("a cap is negative, or too many clients")
	}
	if err := checkExternals(o.Externals); err != nil {
		return err
	}
	if err := checkForwards(o.Forwards); err != nil {
		return err
	}
	if o.Holder == nil && len(o.Forwards) > 0 {
		return errors.New("forwards, and nobody to ask who is behind them")
	}
	for _, d := range []time.Duration{o.UDP, o.TCPEstablished, o.TCPTransitory, o.ICMP, o.PortRest} {
		if d < 0 || d > 30*24*time.Hour {
			return fmt.Errorf("timer %v, not 0 to 30 days", d)
		}
	}
	return nil
}

// seconds rounds up.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }
