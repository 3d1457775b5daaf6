package clients

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Table is one process's view of the shared memory. Its methods may be called
// from several goroutines as far as the fields' single writers allow.
type Table struct {
	mem    []byte
	hdr    *Header
	ring   []sighting
	policy []atomic.Uint64 // by slot; written by control
	acks   []atomic.Uint64 // by slot; written by the forwarder
	slots  []Slot
	losses []Losses
	nat    []byte
}

const page = 4096 // bytes; the header fits

func align(n int) int { return (n + page - 1) &^ (page - 1) }

// offsets of the parts, in bytes.
type offsets struct{ ring, policy, acks, slots, losses, nat, end int }

func place(slots, natBytes int) offsets {
	var o offsets
	o.ring = align(int(unsafe.Sizeof(Header{})))
	o.policy = o.ring + align(sightings*int(unsafe.Sizeof(sighting{})))
	o.acks = o.policy + align(slots*8)
	o.slots = o.acks + align(slots*8)
	o.losses = o.slots + align(slots*int(unsafe.Sizeof(Slot{})))
	o.nat = o.losses + align(slots*int(unsafe.Sizeof(Losses{})))
	o.end = o.nat + align(natBytes)
	return o
}

// Size returns the bytes that a table of so many slots and so large a NAT
// region needs.
func Size(slots, natBytes int) int { return place(slots, natBytes).end }

// Format makes a new table in zeroed memory of at least Size bytes, aligned
// to 8. slots includes the host's.
func Format(mem []byte, slots, natBytes int) (*Table, error) {
	if slots < 2 || slots > MaxSlots {
		return nil, fmt.Errorf("format client table: %d slots: want 2 to %d", slots, MaxSlots)
	}
	if natBytes < 0 || len(mem) < Size(slots, natBytes) {
		return nil, fmt.Errorf("format client table: %d bytes of memory for %d slots and %d bytes of NAT: want %d",
			len(mem), slots, natBytes, Size(slots, natBytes))
	}
	hdr := (*Header)(unsafe.Pointer(&mem[0]))
	if uintptr(unsafe.Pointer(hdr))%8 != 0 {
		return nil, fmt.Errorf("format client table: memory at %p: want a multiple of 8", hdr)
	}
	hdr.Version = Version
	hdr.Slots = uint64(slots)
	hdr.NATBytes = uint64(natBytes)
	atomic.StoreUint64(&hdr.Magic, magic)
	t, err := Attach(mem)
	if err != nil {
		return nil, err
	}
	t.slots[HostSlot].Generation.Store(1)
	t.slots[HostSlot].State.Store(SlotBound)
	return t, nil
}

// ErrLayout says that memory does not hold a table of this version.
var ErrLayout = errors.New("not a client table of this version")

// Attach views memory that Format prepared, in this or another process.
func Attach(mem []byte) (*Table, error) {
	if len(mem) < page || uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
		return nil, fmt.Errorf("attach client table: %d bytes: %w", len(mem), ErrLayout)
	}
	hdr := (*Header)(unsafe.Pointer(&mem[0]))
	if m, v := atomic.LoadUint64(&hdr.Magic), hdr.Version; m != magic || v != Version {
		return nil, fmt.Errorf("attach client table: magic %#x version %d: %w", m, v, ErrLayout)
	}
	slots, natBytes := hdr.Slots, hdr.NATBytes // read once: what was checked is what is used
	if slots < 2 || slots > MaxSlots || natBytes > uint64(len(mem)) {
		return nil, fmt.Errorf("attach client table: %d slots, %d bytes of NAT: %w", slots, natBytes, ErrLayout)
	}
	n := int(slots)
	o := place(n, int(natBytes))
	if o.end < o.nat || len(mem) < o.end {
		return nil, fmt.Errorf("attach client table: %d bytes, want %d: %w", len(mem), o.end, ErrLayout)
	}
	return &Table{
		mem:    mem,
		hdr:    hdr,
		ring:   unsafe.Slice((*sighting)(unsafe.Pointer(&mem[o.ring])), sightings),
		policy: unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[o.policy])), n),
		acks:   unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[o.acks])), n),
		slots:  unsafe.Slice((*Slot)(unsafe.Pointer(&mem[o.slots])), n),
		losses: unsafe.Slice((*Losses)(unsafe.Pointer(&mem[o.losses])), n),
		nat:    mem[o.nat:o.end:o.end],
	}, nil
}

// Create makes the shared memory and formats a table in it. The file is to be
// handed to other processes, which call Open.
func Create(slots, natBytes int) (*Table, *os.File, error) {
	fd, err := unix.MemfdCreate("gatewayd-clients", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("create client table: memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "client table")
	if err := f.Truncate(int64(Size(slots, natBytes))); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("create client table: %w", err)
	}
	mem, err := mapFile(f)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("create client table: %w", err)
	}
	t, err := Format(mem, slots, natBytes)
	if err != nil {
		_ = unix.Munmap(mem)
		f.Close()
		return nil, nil, err
	}
	return t, f, nil
}

// Open maps a table that another process created.
func Open(f *os.File) (*Table, error) {
	mem, err := mapFile(f)
	if err != nil {
		return nil, fmt.Errorf("open client table: %w", err)
	}
	t, err := Attach(mem)
	if err != nil {
		_ = unix.Munmap(mem)
		return nil, err
	}
	return t, nil
}

func mapFile(f *os.File) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() < page || st.Size() != int64(int(st.Size())) {
		return nil, fmt.Errorf("%d bytes: %w", st.Size(), ErrLayout)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", st.Size(), err)
	}
	return mem, nil
}

// Close unmaps a table made by Create or Open. No part of it may be used
// afterwards.
func (t *Table) Close() error { return unix.Munmap(t.mem) }

// Header returns the header.
func (t *Table) Header() *Header { return t.hdr }

// Slots returns the number of slots, the host's included.
func (t *Table) Slots() int { return len(t.slots) }

// Slot returns slot i.
func (t *Table) Slot(i int) *Slot { return &t.slots[i] }

// Losses returns what was dropped of the client in slot i.
func (t *Table) Losses(i int) *Losses { return &t.losses[i] }

// NAT returns the region in which the forwarder keeps its translations.
func (t *Table) NAT() []byte { return t.nat }

// Changed raises the policy generation of slot i after control changed it,
// and returns the generation to wait for. Control's side; the caller holds
// whatever keeps control's writers of this slot apart, and rings the
// forwarder's bell.
func (t *Table) Changed(i int) uint64 {
	gen := t.policy[i].Add(1)
	t.hdr.Changes.Add(1)
	return gen
}

// Policy returns the policy generation of slot i; 0 means it was never used.
func (t *Table) Policy(i int) uint64 { return t.policy[i].Load() }

// Ack stores the policy generation that the forwarder has taken in.
func (t *Table) Ack(i int, gen uint64) { t.acks[i].Store(gen) }

// Acked returns the policy generation that the forwarder last took in.
func (t *Table) Acked(i int) uint64 { return t.acks[i].Load() }
