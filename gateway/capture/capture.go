// Package capture gives away copies of one client's frames, before and after translation,
// as a pcapng stream (draft-ietf-opsawg-pcapng).
//
// # Nouns
//
// A Capture is one client, of whom the forwarder copies frames into rings in the shared
// table, and who reads them: its reader's goroutine, and nobody else in control. A
// reader that is slow has its rings fill, and what finds no room there is lost, and
// counted; neither the packet path nor control waits.
//
// A stream has two interfaces. On lan are the client's frames as they came in and as
// they left to it, on wan the same behind the translation. What was dropped is on one
// of them only.
//
// # What it does not do
//
// It knows no session, opens no file and decides nothing about packets.
package capture

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"gatewayd/forwarder/clients"
)

// Ring is the size of a ring of copies, of which each worker has one for each capture;
// bytes. It is memory only once it was used, and given back with the capture.
const Ring = 4 << 20

// MaxLength is the most that is copied of a frame, bytes.
const MaxLength = 262144

// Why a capture did not begin.
var (
	ErrTooMany = fmt.Errorf("%d captures are on already", clients.MaxCaptures)
	ErrNoSlot  = errors.New("the device is not on the network")
	ErrDeaf    = errors.New("the forwarder does not take it in")
)

// takenWithin is how long the forwarder may take until it captures.
const takenWithin = 3 * time.Second

// Client is whose frames are captured.
type Client struct {
	Device   int64 // the device's id
	Slot     int   // its place in the table
	MAC, IP  string
	LAN, WAN string // the ports' names
	Bridge   bool   // its frames are not translated between them
}

// Captures are those of one table.
type Captures struct {
	table *clients.Table
	ring  func() // rings the forwarder
	wall  func(time.Duration) time.Time
	boot  func() time.Duration
	named string // what the streams say made them

	mu    sync.Mutex
	taken [clients.MaxCaptures]bool
}

// New begins without any; those of a control before this one have no reader, and give their memory back. wall is wall
// time of a moment since boot, application what the streams say made them.
func New(table *clients.Table, ring func(), wall func(time.Duration) time.Time, boot func() time.Duration, application string) *Captures {
	c := &Captures{table: table, ring: ring, wall: wall, boot: boot, named: application}
	for i := range table.Header().Captures {
		table.Header().Captures[i].ID.Store(0)
		for worker := range table.Workers() {
			if table.Captures() {
				table.Copies(worker, i).Release()
			}
		}
	}
	table.Changed(clients.HostSlot)
	return c
}

// Capture is one that is on.
type Capture struct {
	all        *Captures
	place      int
	id         uint64
	client     Client
	most       int // bytes of a frame
	generation uint64
	mac        uint64
	rings      []ring
	lostBefore [2]uint64
	began      time.Duration
}

// ring is a worker's, and how far it was read.
type ring struct {
	*clients.Copies
	at uint64
}

// Begin has a client's frames copied, most bytes of each, and returns once the forwarder
// does so. End ends it. Errors: ErrTooMany, ErrNoSlot, ErrDeaf.
func (x *Captures) Begin(who Client, most int) (*Capture, error) {
	if !x.table.Captures() || who.Slot <= clients.HostSlot || who.Slot >= x.table.Slots() {
		return nil, ErrNoSlot
	}
	slot := x.table.Slot(who.Slot)
	c := &Capture{all: x, client: who, most: most, generation: slot.Generation.Load(), mac: slot.MAC.Load(), began: x.boot()}
	if !c.stands() {
		return nil, ErrNoSlot
	}
	if c.place = x.take(); c.place < 0 {
		return nil, ErrTooMany
	}
	for worker := range x.table.Workers() {
		r := x.table.Copies(worker, c.place)
		c.rings = append(c.rings, ring{r, r.Begin()})
		lost := r.Lost()
		c.lostBefore[0] += lost[0]
		c.lostBefore[1] += lost[1]
	}
	c.id = rand.Uint64() | 1
	order := &x.table.Header().Captures[c.place]
	order.Slot.Store(uint64(who.Slot))
	order.MAC.Store(c.mac)
	order.Most.Store(uint64(most))
	order.ID.Store(c.id)
	if !x.settle(takenWithin) {
		c.End()
		return nil, ErrDeaf
	}
	return c, nil
}

// take returns a place for a capture; -1: there is none.
func (x *Captures) take() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, taken := range x.taken {
		if !taken {
			x.taken[i] = true
			return i
		}
	}
	return -1
}

// settle tells the forwarder and waits until it has taken that in; false when it has not.
func (x *Captures) settle(within time.Duration) bool {
	h := x.table.Header()
	x.table.Changed(clients.HostSlot)
	changes := h.Changes.Load()
	x.ring()
	for end := x.boot() + within; !h.CapturesTaken(changes); time.Sleep(time.Millisecond) {
		if x.boot() > end {
			return false
		}
	}
	return true
}

// stop ends the copying; once more does nothing.
func (c *Capture) stop() {
	if order := &c.all.table.Header().Captures[c.place]; order.ID.CompareAndSwap(c.id, 0) {
		c.all.settle(takenWithin / 10)
	}
}

// End gives the place back, once. What a forwarder that has not taken that in still copies
// bears an id that nobody reads.
func (c *Capture) End() {
	c.stop()
	for _, r := range c.rings {
		r.Release()
	}
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	c.all.taken[c.place] = false
}

// stands says whether the device still has the place and the MAC that are captured.
func (c *Capture) stands() bool {
	s := c.all.table.Slot(c.client.Slot)
	return s.State.Load() == clients.SlotBound && s.Generation.Load() == c.generation &&
		s.MAC.Load() == c.mac && s.Device.Load() == c.client.Device
}

// lost is how many frames found no room, by port.
func (c *Capture) lost() (n [2]uint64) {
	for _, r := range c.rings {
		lost := r.Lost()
		n[0] += lost[0]
		n[1] += lost[1]
	}
	return [2]uint64{n[0] - c.lostBefore[0], n[1] - c.lostBefore[1]}
}
