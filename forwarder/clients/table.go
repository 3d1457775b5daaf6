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
	mem      []byte
	hdr      *Header
	clients  int
	spread   Spread
	rings    []*[sightings]sighting // by worker
	listened atomic.Uint32          // calls of Sightings
	policy   []atomic.Uint64        // by slot; written by control
	acks     []atomic.Uint64        // by slot; written by the forwarder
	slots    []Slot
	losses   []Losses
	six      []Addresses6
	copies   []Copies  // by worker and capture
	mail     [2]Copies // in and out
	nat      []byte
}

// Shape is what a table is made for.
type Shape struct {
	Slots    int    // the host's included
	NATBytes int    // of the NAT region
	Workers  int    // of the forwarder, 1 to MaxWorkers; 0: one
	Clients  int    // that may be bound at once; 0: as many as there are slots for
	Seed     uint64 // of Spread; a secret
	Captured int    // bytes of each ring of copies, a power of two; 0: no client can be captured
}

func (s Shape) complete() Shape {
	if s.Workers == 0 {
		s.Workers = 1
	}
	if s.Clients == 0 {
		s.Clients = s.Slots - 1
	}
	return s
}

const page = 4096 // bytes

func align(n int) int { return (n + page - 1) &^ (page - 1) }

// offsets of the parts, in bytes.
type offsets struct{ rings, policy, acks, slots, losses, six, mail, copies, nat, end int }

const headerBytes = int(unsafe.Sizeof(Header{}))

func place(slots, natBytes, workers, captured int) offsets {
	var o offsets
	o.rings = align(headerBytes)
	o.policy = o.rings + workers*align(sightings*int(unsafe.Sizeof(sighting{})))
	o.acks = o.policy + align(slots*8)
	o.slots = o.acks + align(slots*8)
	o.losses = o.slots + align(slots*int(unsafe.Sizeof(Slot{})))
	o.six = o.losses + align(slots*int(unsafe.Sizeof(Losses{})))
	o.mail = o.six + align(slots*int(unsafe.Sizeof(Addresses6{})))
	o.copies = o.mail + 2*copiesSize(mailRing)
	o.nat = o.copies + workers*MaxCaptures*copiesSize(captured)
	o.end = o.nat + align(natBytes)
	return o
}

// Size returns the bytes that a table of this shape needs.
func Size(s Shape) int {
	s = s.complete()
	return place(s.Slots, s.NATBytes, s.Workers, s.Captured).end
}

// Format makes a new table in zeroed memory of at least Size bytes, aligned to 8.
func Format(mem []byte, s Shape) (*Table, error) {
	s = s.complete()
	switch {
	case s.Slots < 2 || s.Slots > MaxSlots:
		return nil, fmt.Errorf("format client table: %d slots: want 2 to %d", s.Slots, MaxSlots)
	case s.Workers < 1 || s.Workers > MaxWorkers:
		return nil, fmt.Errorf("format client table: %d workers: want 1 to %d", s.Workers, MaxWorkers)
	case s.Clients < 1 || s.Clients >= s.Slots:
		return nil, fmt.Errorf("format client table: %d clients: want 1 to %d, one less than slots", s.Clients, s.Slots-1)
	case !validRing(uint64(s.Captured)):
		return nil, fmt.Errorf("format client table: rings of %d bytes for captures: want 0 or a power of two from %d to %d", s.Captured, minRing, maxRing)
	case s.NATBytes < 0 || len(mem) < Size(s):
		return nil, fmt.Errorf("format client table: %d bytes of memory for %d slots and %d bytes of NAT: want %d",
			len(mem), s.Slots, s.NATBytes, Size(s))
	}
	hdr := (*Header)(unsafe.Pointer(&mem[0]))
	if uintptr(unsafe.Pointer(hdr))%8 != 0 {
		return nil, fmt.Errorf("format client table: memory at %p: want a multiple of 8", hdr)
	}
	hdr.Version = Version
	hdr.Slots, hdr.NATBytes = uint64(s.Slots), uint64(s.NATBytes)
	hdr.Workers, hdr.Clients, hdr.Seed = uint64(s.Workers), uint64(s.Clients), s.Seed
	hdr.Captured = uint64(s.Captured)
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
	if len(mem) < headerBytes || uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
		return nil, fmt.Errorf("attach client table: %d bytes: %w", len(mem), ErrLayout)
	}
	hdr := (*Header)(unsafe.Pointer(&mem[0]))
	if m, v := atomic.LoadUint64(&hdr.Magic), hdr.Version; m != magic || v != Version {
		return nil, fmt.Errorf("attach client table: magic %#x version %d: %w", m, v, ErrLayout)
	}
	// Read once: what was checked is what is used.
	slots, natBytes, workers, clients, captured := hdr.Slots, hdr.NATBytes, hdr.Workers, hdr.Clients, hdr.Captured
	if !validRing(captured) || slots < 2 || slots > MaxSlots || natBytes > uint64(len(mem)) || workers < 1 || workers > MaxWorkers || clients < 1 || clients >= slots {
		return nil, fmt.Errorf("attach client table: %d slots, %d clients, %d workers, %d bytes of NAT, %d of a capture: %w",
			slots, clients, workers, natBytes, captured, ErrLayout)
	}
	n := int(slots)
	o := place(n, int(natBytes), int(workers), int(captured))
	if o.end < o.nat || len(mem) < o.end {
		return nil, fmt.Errorf("attach client table: %d bytes, want %d: %w", len(mem), o.end, ErrLayout)
	}
	t := &Table{
		mem:     mem,
		hdr:     hdr,
		clients: int(clients),
		spread:  NewSpread(hdr.Seed, int(workers)),
		policy:  unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[o.policy])), n),
		acks:    unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[o.acks])), n),
		slots:   unsafe.Slice((*Slot)(unsafe.Pointer(&mem[o.slots])), n),
		losses:  unsafe.Slice((*Losses)(unsafe.Pointer(&mem[o.losses])), n),
		six:     unsafe.Slice((*Addresses6)(unsafe.Pointer(&mem[o.six])), n),
		nat:     mem[o.nat:o.end:o.end],
	}
	for at := o.rings; at < o.policy; at += (o.policy - o.rings) / int(workers) {
		t.rings = append(t.rings, (*[sightings]sighting)(unsafe.Pointer(&mem[at])))
	}
	for i := range t.mail {
		at, end := o.mail+i*copiesSize(mailRing), o.mail+(i+1)*copiesSize(mailRing)
		t.mail[i] = newCopies(mem[at:end:end])
	}
	for at := o.copies; at < o.nat; at += copiesSize(int(captured)) {
		t.copies = append(t.copies, newCopies(mem[at:at+copiesSize(int(captured)):at+copiesSize(int(captured))]))
	}
	return t, nil
}

// Create makes the shared memory and formats a table in it. The file is to be
// handed to other processes, which call Open.
func Create(s Shape) (*Table, *os.File, error) {
	fd, err := unix.MemfdCreate("gatewayd-clients", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("create client table: memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "client table")
	if err := f.Truncate(int64(Size(s))); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("create client table: %w", err)
	}
	mem, err := mapFile(f)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("create client table: %w", err)
	}
	t, err := Format(mem, s)
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
	if st.Size() < int64(headerBytes) || st.Size() != int64(int(st.Size())) {
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

// Clients returns how many clients may be bound at once. There may be more slots.
func (t *Table) Clients() int { return t.clients }

// Workers returns how many workers the forwarder has.
func (t *Table) Workers() int { return len(t.rings) }

// Worker returns worker i's part of the header.
func (t *Table) Worker(i int) *Worker { return &t.hdr.Worker[i] }

// Spread says which worker is a client's.
func (t *Table) Spread() Spread { return t.spread }

// Owner returns the worker whose slot i is, for ever: a client's slot is one of
// its worker's.
func (t *Table) Owner(i int) int { return i % len(t.rings) }

// Slot returns slot i.
func (t *Table) Slot(i int) *Slot { return &t.slots[i] }

// Losses returns what was dropped of the client in slot i.
func (t *Table) Losses(i int) *Losses { return &t.losses[i] }

// Addresses6 returns the IPv6 addresses of the client in slot i. They are a bridge's only;
// elsewhere memory is spent on them by looking.
func (t *Table) Addresses6(i int) *Addresses6 { return &t.six[i] }

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
