package clients

import "sync/atomic"

// Version of the layout. A process refuses a table of another version.
const Version = 12

const magic = 0x67776477_7365616d // "gwdwseam"

const (
	// GrantsPerSlot is how many grant records a slot has.
	GrantsPerSlot = 4
	// HostSlot is the box itself: exempt, never granted, never reused.
	HostSlot = 0
	// MaxSlots bounds the table.
	MaxSlots = 65536
	// MaxWorkers bounds the forwarder's workers.
	MaxWorkers = 16
	// MaxCaptures bounds how many captures are on at once.
	MaxCaptures = 4
	// MaxReasons is how many drop reasons the header has room for.
	MaxReasons = 64
	// sightings is the length of a worker's ring, a power of two.
	sightings = 1024
)

// Ports of the packet path, as indices of Counters.Ports.
const (
	LAN = iota
	WAN
	Host
	NumPorts
)

// Reasons why admission is stopped as a whole; bits of Header.Stop.
const (
	// StopPorts: the kernel holds an address on a port or forwards there.
	StopPorts = 1 << iota
)

// Why a grant ended; values of Grant.Reason.
const (
	EndData    = 1 + iota // the first packet that did not fit
	EndTime               // its duration
	EndExpiry             // its expiry
	EndRevoked            // control revoked it
)

// Header is the beginning of the table.
type Header struct {
	// Written by the keeper when it formats the table, constant afterwards.
	Magic    uint64
	Version  uint64
	Slots    uint64 // slots, the host's included
	NATBytes uint64 // bytes of the NAT region
	Workers  uint64 // of the forwarder
	Clients  uint64 // that may be bound at once
	Seed     uint64 // of Spread
	Captured uint64 // bytes of each ring of copies; 0: no client can be captured

	// Written by the keeper.
	Stop  atomic.Uint64 // bit mask of Stop…: admission of clients is stopped
	Alive atomic.Uint64 // number of the forwarder that runs, counted from 1; 0: none
	Down  atomic.Uint64 // bit mask of ports, 1 << LAN or WAN, whose link does not work
	// What the LAN's and the WAN's port carry in one packet, layer-3 bytes, from a
	// worker's next round on. The host link carries what the LAN does.
	MTU [2]atomic.Uint64
	_   [3]uint64

	// Written by control.
	Changes atomic.Uint64 // raised after a policy generation was raised
	Events  atomic.Uint64 // id of the newest event; 0: none yet
	// What all clients together may have, layer-3 bytes per second; 0: no limit. It
	// takes effect at the next Changed of any slot.
	TotalUp   atomic.Int64
	TotalDown atomic.Int64
	Filtering atomic.Uint64 // nat.Filtering, of the next packet
	// What one client may have of the translations, from a worker's next round on.
	ClientFlows atomic.Uint64 // 0: the default of package nat
	ClientPorts atomic.Uint64 // external ports; 0: likewise
	// What of the box clients reach; see SetOpen.
	OpenAll atomic.Uint64 // 1: all; 0: what open says
	open    [2]openPorts  // of TCP and UDP
	// Where the gateway is on the WAN, from a worker's next round on; see SetAddressing.
	addressed  atomic.Uint64 // how often that was said; the last is in addressing[addressed%2]
	addressing [2]addressing
	// Which ports of the WAN lead inside, likewise; see SetForwards.
	forwarded atomic.Uint64
	forwards  [2]forwarding
	leasing   atomic.Uint64 // bit 32: DHCP is control's; below: the address it watches; see SetLeasing
	_         [1]uint64
	// Whose frames are copied; see Capture. They take effect at the next Changed of
	// any slot.
	Captures [MaxCaptures]Capture

	Worker [MaxWorkers]Worker // as many as Workers says
}

// Worker is what one worker of the forwarder says of itself, on cache lines of
// its own.
type Worker struct {
	// Written by the worker.
	Attached atomic.Uint64 // number of the forwarder whose worker has read the whole table; 0: its counters are final
	Beat     atomic.Int64  // when it last went round, ns since boot
	Head     atomic.Uint64 // sightings written
	Lost     atomic.Uint64 // sightings not written for want of room
	Mappings atomic.Uint64 // NAT mappings
	Flows    atomic.Uint64 // NAT flows
	Resolved atomic.Uint64 // 1 while the WAN's next hop answers ARP
	HopHeard atomic.Int64  // when that was last heard, ns since boot; 0: never
	counted  atomic.Uint64 // how often counters were published; the last are in counters[counted%2]
	// By direction, up and down: what the other workers share the total by.
	Spent    [2]atomic.Uint64 // layer-3 bytes charged to the total, ever
	Demand   [2]atomic.Uint64 // weights of the clients with something waiting, summed
	Looped   atomic.Int64     // bridge mode: until when its sides count as joined elsewhere, ns since boot; 0: never yet
	Loops    atomic.Uint64    // how often they were found to be
	Changes  atomic.Uint64    // those of the header that its captures were read after
	counters [2]published
	use      [MaxAddresses]atomic.Uint64 // external address << 32 | mappings at it

	// Written by control.
	Tail atomic.Uint64 // sightings read
	_    [7]uint64
}

// Slot is one client, 1024 bytes. What the forwarder writes is its owner's to write
// (Table.Owner).
type Slot struct {
	// Written by control.
	State      atomic.Uint64 // SlotFree or SlotBound
	Generation atomic.Uint64 // raised when the slot is given to another client
	MAC        atomic.Uint64 // 48 bits, first octet highest
	IP         atomic.Uint64 // IPv4, big-endian value; 0: none yet
	Device     atomic.Int64  // the device's id
	Published  atomic.Uint64 // highest grant sequence published
	Saved      atomic.Uint64 // highest grant sequence whose end is on disk
	Probe      atomic.Uint64 // raised to have the forwarder ARP for the address
	Told       atomic.Uint64 // highest grant sequence whose end was told as an event
	Paused     atomic.Uint64 // key of the session that is paused in place; NonePaused; 0: as control's disk says
	PausedWhy  atomic.Uint64 // control's own; stored before Paused
	_          [5]uint64

	// Written by the forwarder.
	Active     atomic.Uint64 // grant sequence in use or last used; 0: none yet
	LastSeen   atomic.Int64  // last packet up, ns since boot; 0: never
	Heard      atomic.Int64  // last ARP from this MAC and address, ns since boot; 0: never
	LastDown   atomic.Int64  // last billed packet down that the kernel took, ns since boot; 0: never
	WaitedUp   atomic.Int64  // last frame up that waited for the rate, ns since boot; 0: never
	WaitedDown atomic.Int64  // likewise down
	ExemptUp   atomic.Uint64 // layer-3 bytes to the box
	ExemptDn   atomic.Uint64 // layer-3 bytes from the box
	Foreign    atomic.Uint64 // IPv4 source of the last packet from this MAC that was not its address; 0: none
	Served     atomic.Uint64 // generation that these fields and the slot's losses speak of
	Marked     atomic.Uint64 // wire packets marked with congestion experienced (RFC 3168), both ways
	// What waits for the rate, by direction, up and down.
	Waiting [2]atomic.Uint64 // bytes
	Delay   [2]atomic.Int64  // how long the last ones had waited as they left, smoothed, ns
	_       [1]uint64

	Grants [GrantsPerSlot]Grant
}

// States of a slot.
const (
	SlotFree  = 0
	SlotBound = 1
)

// NonePaused in Slot.Paused: no session is paused, and none goes on with the
// client's next packet, whatever control's disk says.
const NonePaused = 1<<64 - 1

// Grant is one record, 192 bytes.
type Grant struct {
	// Written by control, before Sequence.
	Sequence  atomic.Uint64 // 0: never used; stored last
	Session   atomic.Uint64 // key of the session, control's own
	ByteLimit atomic.Uint64 // up + down layer-3 bytes of this grant; NoLimit: none
	Duration  atomic.Int64  // ns from Started; NoTime: none
	Expiry    atomic.Int64  // ns since boot; NoTime: none
	RateUp    atomic.Int64  // bytes per second; 0: no limit
	RateDown  atomic.Int64  // bytes per second; 0: no limit
	BaseUp    atomic.Uint64 // the session's layer-3 bytes before this grant
	BaseDown  atomic.Uint64 // likewise down
	BaseTime  atomic.Int64  // the session's consumed ns before this grant
	Revoked   atomic.Int64  // ns since boot when control revoked it; 0: not
	Weight    atomic.Uint64 // share of what all clients together may have, beside the others' weights; 0 counts as 1
	_         [3]uint64

	// Written by the forwarder; they speak of the grant whose sequence is Taken.
	EndLimit    atomic.Uint64 // ByteLimit as the forwarder had taken it in when it ended; a top-up may have come after
	Taken       atomic.Uint64
	Started     atomic.Int64 // ns since boot; 0: not yet
	Ended       atomic.Int64 // ns since boot; 0: not yet
	Reason      atomic.Uint64
	Up          atomic.Uint64 // layer-3 bytes the kernel took, client to WAN
	Down        atomic.Uint64 // likewise WAN to client
	UpPackets   atomic.Uint64 // wire packets
	DownPackets atomic.Uint64
}

// Losses are the packets of one client that were dropped, by the forwarder's
// Reason; 1024 bytes. Written by the forwarder.
type Losses [MaxReasons]Loss

// Loss is what was dropped for one reason.
type Loss struct {
	Packets atomic.Uint64 // wire packets
	Last    atomic.Int64  // when, ns since boot; 0: never
}

// NoLimit and NoTime stand for "none" in a grant.
const (
	NoLimit = 1<<63 - 1
	NoTime  = 1<<63 - 1
)

// sighting is one entry of a worker's ring. Written by the worker before Head.
type sighting struct {
	what atomic.Uint64 // Kind << 32 | slot
	mac  atomic.Uint64
	ip   atomic.Uint64
	when atomic.Int64 // ns since boot
}
