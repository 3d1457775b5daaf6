package nat

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// The handed-in memory: a header, one word per TCP and per UDP port of each place,
// then the flows. All words are native-endian; the memory never leaves the machine.
const (
	layoutMagic   = 0x4e415431 // "NAT1"
	layoutVersion = 2
	headerSize    = 128
	restSize      = MaxExternals * 2 * 65536 * 4
	flowSize      = 64
)

// ErrLayout says that the memory holds something else than this version's table
// of this size.
var ErrLayout = errors.New("the memory is not a NAT table of this version and size")

// header starts the memory. The owner of the table writes all of it.
type header struct {
	magic     uint32 // written last when formatting
	version   uint32
	flowSize  uint32 // bytes
	flows     uint32 // entries that can hold a flow
	used      uint32 // entries above this one have never held a flow
	_         [11]uint32
	externals [MaxExternals]uint32 // by place: the WAN address that its flows are translated to; 0: none yet
}

// flow is an entry. Number 0 is never used, so that 0 can mean none.
//
// The table's owner is the only writer. commit, from addr to generation, and place
// are fixed while the flow lives; the rest changes with its packets, each field on
// its own.
type flow struct {
	commit     uint32 // checksum of the fixed part, never zero; zero: no flow here
	seen       uint32 // last outbound packet, in seconds of CLOCK_MONOTONIC
	addr       uint32 // internal
	remote     uint32
	port       uint16 // internal port or query id
	remotePort uint16 // zero for ICMP
	ext        uint16 // external port or query id
	proto      uint8
	owner      uint8
	slot       uint32
	generation uint32

	state state
	marks uint8    // TCP: bits syn, acked, fin, known, one of each per direction
	shift [2]uint8 // TCP: window scale per direction; 0xff before it is known
	half  [2]half  // TCP: what each side has sent; see tcp.go
	guest guest
	place uint8 // of the external address, which the commit word is about, too
	_     [2]uint8
}

// guest says by which filter a remote was let in that the client has not sent to
// since: 1 + Filtering. Zero: the client has.
type guest uint8

// state says which timer a flow runs on.
type state uint8

const (
	udpFlow state = iota
	icmpQuery
	opening     // TCP, not yet established
	established // TCP
	closing     // TCP, FINs of both sides seen
	reset       // TCP, RST seen
	numStates
)

// sum is the commit word that fits the fixed part of a flow at an external address.
func (f *flow) sum(external uint32) uint32 {
	x := mum(uint64(f.addr)<<32|uint64(f.remote)^0x9e3779b97f4a7c15, uint64(f.slot)<<32|uint64(f.generation)^0xd1342543de82ef95)
	y := uint64(f.port)<<48 | uint64(f.remotePort)<<32 | uint64(f.ext)<<16 | uint64(f.proto)<<8 | uint64(f.owner)
	x = mum(x^0xa0761d6478bd642f^uint64(external), y^0xe7037ed1a0b428db)
	return uint32(x^x>>32) | 1
}

// publish makes the entry count; the fixed part is complete.
func (f *flow) publish(external uint32) { atomic.StoreUint32(&f.commit, f.sum(external)) }

// withdraw makes the entry free.
func (f *flow) withdraw() { atomic.StoreUint32(&f.commit, 0) }

// Layout is the bytes of memory that Attach needs for so many flows.
func Layout(flows int) (bytes int) {
	return headerSize + restSize + flowSize*(flows+1)
}

// overlay puts the layout over the memory.
func (t *Table) overlay(mem []byte, flows int) error {
	if len(mem) < Layout(flows) {
		return fmt.Errorf("%d bytes of memory for %d flows, not %d", len(mem), flows, Layout(flows))
	}
	base := unsafe.Pointer(unsafe.SliceData(mem))
	if uintptr(base)%8 != 0 {
		return errors.New("the memory does not start on a multiple of 8")
	}
	t.header = (*header)(base)
	t.rest = (*[MaxExternals][2][65536]uint32)(unsafe.Add(base, headerSize))
	t.flows = unsafe.Slice((*flow)(unsafe.Add(base, headerSize+restSize)), flows+1)
	return nil
}

// format makes zeroed memory a table of no flows; on a table it only checks.
func (t *Table) format() error {
	h := t.header
	if atomic.LoadUint32(&h.magic) == 0 {
		h.version, h.flowSize, h.flows = layoutVersion, flowSize, uint32(t.opt.MaxFlows)
		h.used = 0
		atomic.StoreUint32(&h.magic, layoutMagic)
		return nil
	}
	if h.magic != layoutMagic || h.version != layoutVersion || h.flowSize != flowSize || h.flows != uint32(t.opt.MaxFlows) {
		return fmt.Errorf("magic %#x, version %d, %d flows of %d bytes: %w", h.magic, h.version, h.flows, h.flowSize, ErrLayout)
	}
	return nil
}
