package clients

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTable(t testing.TB, slots, natBytes int) (*Table, []byte) {
	t.Helper()
	mem := make([]byte, Size(Shape{Slots: slots, NATBytes: natBytes}))
	table, err := Format(mem, Shape{Slots: slots, NATBytes: natBytes})
	if err != nil {
		t.Fatal(err)
	}
	return table, mem
}

func TestFormatRefuses(t *testing.T) {
	whole := make([]byte, Size(Shape{Slots: 16, NATBytes: 1000})+8)
	rows := []struct {
		name       string
		mem        []byte
		slots, nat int
	}{
		{"a table for the host alone", whole, 1, 0},
		{"more slots than there can be", whole, MaxSlots + 1, 0},
		{"a negative NAT region", whole, 16, -1},
		{"too little memory", whole[:Size(Shape{Slots: 16, NATBytes: 1000})-1], 16, 1000},
		{"no memory", nil, 16, 1000},
		{"memory that is not aligned", whole[4:], 16, 1000},
	}
	for _, row := range rows {
		if _, err := Format(row.mem, Shape{Slots: row.slots, NATBytes: row.nat}); err == nil {
			t.Errorf("%s: formatted", row.name)
		}
	}
}

func TestAttachRefusesWhatIsNoTable(t *testing.T) {
	word := func(at int, v uint64) func([]byte) []byte {
		return func(m []byte) []byte { binary.NativeEndian.PutUint64(m[at:], v); return m }
	}
	rows := []struct {
		name   string
		change func([]byte) []byte
	}{
		{"no memory", func([]byte) []byte { return nil }},
		{"less than a header", func(m []byte) []byte { return m[:headerBytes-1] }},
		{"zeros", func(m []byte) []byte { clear(m); return m }},
		{"another version", word(8, Version+1)},
		{"no slots", word(16, 0)},
		{"one slot", word(16, 1)},
		{"too many slots", word(16, MaxSlots+1)},
		{"as many slots as a word can say", word(16, math.MaxUint64)},
		{"more slots than the memory holds", word(16, 17)},
		{"more NAT than the memory holds", word(24, 5000)},
		{"a NAT region of the whole memory", func(m []byte) []byte { return word(24, uint64(len(m)))(m) }},
		{"as much NAT as a word can say", word(24, math.MaxUint64)},
		{"as much NAT as an int can say", word(24, math.MaxInt64)},
		{"no workers", word(32, 0)},
		{"more workers than there can be", word(32, MaxWorkers+1)},
		{"no clients", word(40, 0)},
		{"more clients than slots", word(40, 16)},
		{"memory cut short", func(m []byte) []byte { return m[:len(m)-1] }},
		{"memory that is not aligned", func(m []byte) []byte { return m[4:] }},
	}
	for _, row := range rows {
		_, mem := newTable(t, 16, 1000)
		if _, err := Attach(row.change(mem)); !errors.Is(err, ErrLayout) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func FuzzAttach(f *testing.F) {
	f.Add(uint64(magic), uint64(Version), uint64(16), uint64(1000))
	f.Add(uint64(magic), uint64(Version), uint64(65536), uint64(1<<63))
	f.Fuzz(func(t *testing.T, m, version, slots, nat uint64) {
		mem := make([]byte, Size(Shape{Slots: 16, NATBytes: 1000}))
		for i, v := range []uint64{m, version, slots, nat} {
			binary.NativeEndian.PutUint64(mem[8*i:], v)
		}
		table, err := Attach(mem)
		if err != nil {
			return
		}
		last := table.Slots() - 1
		table.Slot(last).Grants[3].DownPackets.Store(1)
		table.Ack(last, table.Changed(last))
		table.Sight(0, Sighting{})
		if n := len(table.NAT()); uint64(n) < nat {
			t.Errorf("%d bytes of NAT, want %d", n, nat)
		}
	})
}

func TestTheHostHasASlot(t *testing.T) {
	table, _ := newTable(t, 16, 0)
	if s := table.Slot(HostSlot); s.State.Load() != SlotBound || s.Generation.Load() != 1 {
		t.Error("no host")
	}
}

func TestTwoProcessesSeeOneTable(t *testing.T) {
	table, f, err := Create(Shape{Slots: 16, NATBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer table.Close()
	other, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	gen := table.Changed(3)
	if other.Policy(3) != gen || other.Header().Changes.Load() != 1 || other.Policy(4) != 0 {
		t.Error("a policy change is not seen")
	}
	other.Ack(3, gen)
	if table.Acked(3) != gen {
		t.Error("an acknowledgement is not seen")
	}
	other.NAT()[999] = 7
	if table.NAT()[999] != 7 {
		t.Error("the NAT region is not shared")
	}
	seq, err := table.Slot(3).Publish(Terms{ByteLimit: 5})
	if err != nil || other.Slot(3).Record(seq).ByteLimit.Load() != 5 {
		t.Error("a grant is not seen")
	}
	small, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if _, err := Open(small); !errors.Is(err, ErrLayout) {
		t.Errorf("an empty file: %v", err)
	}
}

func TestRecordsWaitUntilTheyAreSaved(t *testing.T) {
	var s Slot
	for seq := uint64(1); seq <= GrantsPerSlot; seq++ {
		if got, err := s.Publish(Terms{Session: seq}); err != nil || got != seq {
			t.Fatalf("grant %d: %d, %v", seq, got, err)
		}
	}
	if _, err := s.Publish(Terms{}); !errors.Is(err, ErrNoRecord) {
		t.Fatalf("a fifth grant: %v", err)
	}
	old := s.Record(1)
	old.Revoke(time.Second)
	old.Taken.Store(1)
	old.Started.Store(1)
	old.Up.Store(77)
	s.Saved.Store(1)
	seq, err := s.Publish(Terms{Session: 5, ByteLimit: math.MaxUint64})
	if err != nil || seq != 5 || s.Record(5) != old {
		t.Fatalf("%d, %v", seq, err)
	}
	if old.Revoked.Load() != 0 || old.Session.Load() != 5 || old.ByteLimit.Load() != NoLimit {
		t.Error("the record keeps something of its former grant")
	}
	if u := old.Use(5); u != (Use{}) {
		t.Errorf("before it is taken in it has seen %+v", u)
	}
}

func TestRevokedOnce(t *testing.T) {
	var g Grant
	g.Revoke(0)
	if g.Revoked.Load() == 0 {
		t.Error("a revocation at boot is none")
	}
	g.Revoke(5)
	if g.Revoked.Load() != 1 {
		t.Error("revoked twice")
	}
}

func TestDeadline(t *testing.T) {
	const h = time.Hour
	rows := []struct {
		name                      string
		duration, expiry, started time.Duration
		want                      time.Duration
		why                       uint64
	}{
		{"none", NoTime, NoTime, h, NoTime, EndTime},
		{"by its duration", h, NoTime, h, 2 * h, EndTime},
		{"by its expiry", NoTime, 3 * h, h, 3 * h, EndExpiry},
		{"duration first", h, 3 * h, h, 2 * h, EndTime},
		{"expiry first", 5 * h, 3 * h, h, 3 * h, EndExpiry},
		{"both at once is its duration", h, 2 * h, h, 2 * h, EndTime},
		{"no duration at all", 0, NoTime, h, h, EndTime},
		{"a negative duration", -h, NoTime, 3 * h, 2 * h, EndTime},
		{"a duration beyond all clocks", NoTime - 1, NoTime, h, NoTime, EndTime},
		{"expired long ago", h, 1, h, 1, EndExpiry},
	}
	for _, row := range rows {
		var g Grant
		g.Amend(Terms{Duration: row.duration, Expiry: row.expiry})
		if at, why := g.Deadline(row.started); at != row.want || why != row.why {
			t.Errorf("%s: %v by %d, want %v by %d", row.name, at, why, row.want, row.why)
		}
	}
}

func TestElapsed(t *testing.T) {
	rows := []struct {
		name    string
		use     Use
		revoked time.Duration
		now     time.Duration
		want    time.Duration
	}{
		{"not started", Use{}, 0, 100, 0},
		{"running", Use{Started: 10}, 0, 30, 20},
		{"ended", Use{Started: 10, Ended: 25}, 0, 100, 15},
		{"beyond its deadline, the forwarder being away", Use{Started: 10}, 0, 1000, 50},
		{"revoked, the forwarder not having seen it", Use{Started: 10}, 20, 1000, 10},
		{"revoked before it started", Use{Started: 10}, 5, 1000, 0},
		{"a clock behind its start", Use{Started: 10}, 0, 5, 0},
	}
	for _, row := range rows {
		var g Grant
		g.Amend(Terms{Duration: 50, Expiry: NoTime})
		if row.revoked != 0 {
			g.Revoke(row.revoked)
		}
		if got := g.Elapsed(row.use, row.now); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestTheSightingsRingWraps(t *testing.T) {
	table, _ := newTable(t, 16, 0)
	buf := make([]Sighting, 100)
	written, read := 0, 0
	for read < 5*sightings {
		for range 700 {
			if !table.Sight(0, Sighting{Kind: NewAddress, Slot: 3, MAC: uint64(written), IP: 0xffffffff, When: time.Duration(written)}) {
				break
			}
			written++
		}
		for n := table.Sightings(buf); n > 0; n = table.Sightings(buf) {
			for _, s := range buf[:n] {
				if want := (Sighting{NewAddress, 3, uint64(read), 0xffffffff, time.Duration(read)}); s != want {
					t.Fatalf("%+v, want %+v", s, want)
				}
				read++
			}
		}
		if read != written {
			t.Fatalf("%d read, %d written", read, written)
		}
	}
}

func TestAFullSightingsRingLosesTheNewest(t *testing.T) {
	table, _ := newTable(t, 16, 0)
	for i := range sightings {
		if !table.Sight(0, Sighting{MAC: uint64(i)}) {
			t.Fatalf("sighting %d does not fit", i)
		}
	}
	if table.Sight(0, Sighting{}) || table.Worker(0).Lost.Load() != 1 {
		t.Error("one more fits")
	}
	var one [1]Sighting
	if table.Sightings(one[:]); one[0].MAC != 0 || !table.Sight(0, Sighting{}) {
		t.Error("reading one makes no room for one")
	}
	table.Worker(0).Head.Store(1 << 40) // a broken writer
	if n := table.Sightings(make([]Sighting, 10)); n != 0 {
		t.Errorf("%d sightings of a broken writer", n)
	}
}

func TestSightingsBetweenTwo(t *testing.T) {
	table, _ := newTable(t, 16, 0)
	const all = 20000
	go func() {
		for i := 0; i < all; {
			if table.Sight(0, Sighting{MAC: uint64(i), When: time.Duration(i)}) {
				i++
			}
		}
	}()
	var buf [64]Sighting
	for next := 0; next < all; {
		for _, s := range buf[:table.Sightings(buf[:])] {
			if s.MAC != uint64(next) || s.When != time.Duration(next) {
				t.Fatalf("%+v, want number %d", s, next)
			}
			next++
		}
	}
}

// TestAGrantIsReadWhole has one side publish and the other read what it sees
// published.
func TestAGrantIsReadWhole(t *testing.T) {
	var s Slot
	const all = 20000
	go func() {
		for seq := uint64(1); seq <= all; {
			if _, err := s.Publish(Terms{Session: seq, ByteLimit: seq, Duration: time.Duration(seq), BaseUp: seq}); err == nil {
				seq++
			}
		}
	}()
	for seq := uint64(1); seq <= all; {
		if s.Published.Load() < seq {
			continue
		}
		g := s.Record(seq)
		if g.Sequence.Load() != seq || g.Session.Load() != seq || g.ByteLimit.Load() != seq || g.Duration.Load() != int64(seq) || g.BaseUp.Load() != seq {
			t.Fatalf("grant %d is torn", seq)
		}
		s.Saved.Store(seq)
		seq++
	}
}

func TestBell(t *testing.T) {
	bell, err := NewBell()
	if err != nil {
		t.Fatal(err)
	}
	bell.Ring() // before anybody listens, and twice
	bell.Ring()
	if err := bell.Wait(); err != nil {
		t.Fatal(err)
	}
	heard := make(chan error)
	go func() { heard <- bell.Wait() }()
	bell.Ring()
	if err := <-heard; err != nil {
		t.Fatal(err)
	}
	go func() { heard <- bell.Wait() }()
	if err := bell.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-heard; !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	bell.Ring() // into the void
}

func TestAnInheritedBell(t *testing.T) {
	bell, err := NewBell()
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	conn, err := bell.File().SyscallConn() // Fd would make it block
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	_ = conn.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) })
	if err != nil {
		t.Fatal(err)
	}
	other := OpenBell(os.NewFile(uintptr(fd), "inherited"))
	heard := make(chan error)
	go func() { heard <- other.Wait() }()
	bell.Ring()
	if err := <-heard; err != nil {
		t.Fatal(err)
	}
	go func() { heard <- other.Wait() }()
	other.Close()
	if err := <-heard; !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestTheClockIsTheKernels(t *testing.T) {
	c := NewClock()
	kernel := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	const slack = 100 * time.Microsecond // of calibration, on a busy machine
	for range 100 {
		before := kernel()
		got := c.Now()
		if after := kernel(); got < before-slack || got > after+slack {
			t.Fatalf("%v, the kernel says %v to %v", got, before, after)
		}
	}
}

func TestTheSeamAllocatesNothing(t *testing.T) {
	table, _ := newTable(t, 16, 0)
	var buf [4]Sighting
	n := testing.AllocsPerRun(100, func() {
		table.Sight(0, Sighting{Kind: NoGrant})
		table.Sightings(buf[:])
		table.Ack(3, table.Changed(3))
		g := table.Slot(3).Record(1)
		g.Deadline(5)
		g.Elapsed(g.Use(1), 7)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkClock(b *testing.B) {
	c := NewClock()
	for b.Loop() {
		c.Now()
	}
}
