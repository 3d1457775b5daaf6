package clients

import (
	"bytes"
	"encoding/binary"
	"os"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"golang.org/x/sys/unix"
)

// ringOf makes a table with rings of copies.
func ringOf(t testing.TB, bytes int) *Copies {
	t.Helper()
	shape := Shape{Slots: 2, Workers: 2, Captured: bytes}
	table, err := Format(make([]byte, Size(shape)), shape)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := table.Copies(0, 3), table.Copies(1, 0); !table.Captures() || &a.data[0] == &b.data[0] || len(a.data) != bytes {
		t.Fatalf("rings of %d and %d bytes", len(a.data), len(b.data))
	}
	return table.Copies(1, 2)
}

// What is put comes out, in order, or is counted as lost; a ring that was read has room.
func TestCopiesComeOutAsTheyWerePut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := ringOf(nopTB{}, minRing)
		at := c.Begin()
		type put struct {
			what Copy
			raw  []byte
		}
		var waiting []put
		var lost [2]uint64
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "read") == 0 {
				for n := rapid.IntRange(0, len(waiting)).Draw(t, "frames"); n > 0; n-- {
					what, raw, next, ok := c.Next(at)
					if !ok || what != waiting[0].what || !bytes.Equal(raw, waiting[0].raw) {
						t.Fatalf("%+v, %d bytes, %t; want %+v, %d bytes", what, len(raw), ok, waiting[0].what, len(waiting[0].raw))
					}
					at, waiting = next, waiting[1:]
				}
				c.Done(at)
				continue
			}
			raw := bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, 70000).Draw(t, "bytes"))
			head := rapid.IntRange(0, len(raw)).Draw(t, "head")
			what := Copy{ID: uint64(i) << 33, When: time.Duration(i), Port: uint8(i % 2), Sent: i%3 == 0, Length: len(raw) + i, SumFrom: uint16(i), SumAt: 7}
			if c.Put(what, raw[:head], raw[head:]) {
				waiting = append(waiting, put{what, raw})
			} else if len(waiting) == 0 {
				t.Fatalf("%d bytes find no room in an empty ring", len(raw))
			} else {
				lost[what.Port]++
			}
		}
		if c.Lost() != lost {
			t.Fatalf("%v lost, want %v", c.Lost(), lost)
		}
		for range waiting {
			_, _, at, _ = c.Next(at)
		}
		if _, _, _, ok := c.Next(at); ok {
			t.Fatal("there is more than was put")
		}
	})
}

type nopTB struct{ testing.TB }

func (nopTB) Helper()                   {}
func (nopTB) Fatal(a ...any)            { panic(a) }
func (nopTB) Fatalf(f string, a ...any) { panic(f) }

// A writer that was taken over writes what it likes: its reader comes to no harm and
// goes on behind it.
func FuzzCopies(f *testing.F) {
	f.Add(uint64(1<<17), uint64(0), []byte{80, 0, 0, 0, 40})
	f.Add(uint64(1<<40), uint64(3), []byte{})
	const last = minRing - 4096 // of a record that goes on beyond the end
	f.Add(uint64(last+1<<17), uint64(last), []byte{0xc8, 0x86, 1, 0, 0xa0, 0x86, 1, 0, 0xa0, 0x86, 1, 0})
	f.Add(uint64(128), uint64(64), []byte{80, 0, 0, 0, 40, 0, 0, 0, 40}) // on at the beginning, where a record is from before
	c := ringOf(f, minRing)
	f.Fuzz(func(t *testing.T, head, at uint64, text []byte) {
		clear(c.data)
		for i := 0; i+len(text) <= len(c.data) && len(text) > 0; i += max(len(text), 4096) {
			copy(c.data[i:], text)
		}
		c.words.head.Store(head)
		for range 1 << 13 {
			what, raw, next, ok := c.Next(at)
			if !ok {
				at = next
				break
			}
			if len(raw) > what.Length || what.Length > maxFrame || what.Port > WAN || next == at || head-next > minRing {
				t.Fatalf("%+v of %d bytes, on at %d after %d", what, len(raw), next, at)
			}
			at = next
		}
		c.words.head.Store(at &^ 7)
		c.Done(c.Begin())
		if !c.Put(Copy{Length: 5}, []byte("hello"), nil) {
			t.Fatal("no room after that")
		}
		if _, raw, _, ok := c.Next(at &^ 7); !ok || string(raw) != "hello" {
			t.Fatalf("after that: %q %t", raw, ok)
		}
	})
}

func TestTablesWithRingsOfNoSize(t *testing.T) {
	for _, bytes := range []int{-1, 1, 4096, minRing + 8, minRing - 1, maxRing * 2} {
		if _, err := Format(make([]byte, 1<<20), Shape{Slots: 2, Captured: bytes}); err == nil {
			t.Errorf("rings of %d bytes", bytes)
		}
	}
	shape := Shape{Slots: 2, Captured: minRing}
	mem := make([]byte, Size(shape))
	if _, err := Format(mem, shape); err != nil {
		t.Fatal(err)
	}
	binary.NativeEndian.PutUint64(mem[56:], 1<<40)
	if _, err := Attach(mem); err == nil {
		t.Error("a table whose rings are beyond its end is attached")
	}
}

// givesBack says whether memory of a file's can be given back here. An emulator of another
// processor takes the advice, and does nothing.
func givesBack(t *testing.T) bool {
	t.Helper()
	const n = 1 << 16
	fd, err := unix.MemfdCreate("gives-back", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "gives-back")
	defer f.Close()
	if err := f.Truncate(n); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	copy(mem, bytes.Repeat([]byte{1}, n))
	return unix.Madvise(mem, unix.MADV_REMOVE) == nil && fileBlocks(t, f) == 0
}

// The memory of a table that is a file's is given back; how much there is says the kernel.
func TestReleasedCopiesTakeNoMemory(t *testing.T) {
	if !givesBack(t) {
		t.Skip("memory cannot be given back here, as under an emulator")
	}
	table, f, err := Create(Shape{Slots: 2, Captured: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer table.Close()
	before := fileBlocks(t, f)
	c := table.Copies(0, 0)
	for c.Put(Copy{Length: 60000}, nil, bytes.Repeat([]byte{1}, 60000)) {
	}
	if n := fileBlocks(t, f) - before; n < 1<<19 {
		t.Fatalf("%d bytes more in use, want most of 1 MiB", n)
	}
	c.Release()
	if n := fileBlocks(t, f) - before; n > 1<<14 {
		t.Errorf("%d bytes are still in use", n)
	}
}

// fileBlocks is what a file takes, bytes.
func fileBlocks(t *testing.T, f *os.File) int64 {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Blocks * 512
}
