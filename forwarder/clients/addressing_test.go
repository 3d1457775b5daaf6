package clients

import (
	"slices"
	"sync"
	"testing"
)

func TestAddressing(t *testing.T) {
	h := new(Header)
	if a, n := h.Addressing(); n != 0 || len(a.Addresses) != 0 || a.Gateway != 0 {
		t.Errorf("before anything was said: %+v, %d", a, n)
	}
	long := make([]uint32, MaxAddresses+1)
	for i := range long {
		long[i] = uint32(1 + i)
	}
	for i, row := range []struct {
		name string
		set  Addressing
		want []uint32
	}{
		{"one", Addressing{[]uint32{0xcb007102}, 24, 0xcb007101}, []uint32{0xcb007102}},
		{"several, with the highest values there are", Addressing{[]uint32{0xffffffff, 0xfffffffe}, 31, 0xffffffff}, []uint32{0xffffffff, 0xfffffffe}},
		{"none", Addressing{}, nil},
		{"one again", Addressing{[]uint32{7}, 8, 9}, []uint32{7}},
		{"more than there is room for", Addressing{long, 24, 1}, long[:MaxAddresses]},
	} {
		h.SetAddressing(row.set)
		h.SetAddressing(row.set) // nothing new
		a, n := h.Addressing()
		if !slices.Equal(a.Addresses, row.want) || a.Bits != row.set.Bits || a.Gateway != row.set.Gateway || n != uint64(i+1) || h.Addressed() != n {
			t.Errorf("%s: %+v, number %d", row.name, a, n)
		}
	}
}

// Who dies while it says something has said nothing.
func TestAddressingThatIsHalfSaidIsNotSaid(t *testing.T) {
	h := new(Header)
	h.SetAddressing(Addressing{[]uint32{1, 2}, 24, 3})
	next := &h.addressing[(h.addressed.Load()+1)%2]
	next.network.Store(99<<32 | 8<<8 | 16)
	next.addresses[0].Store(77)
	if a, _ := h.Addressing(); !slices.Equal(a.Addresses, []uint32{1, 2}) || a.Bits != 24 || a.Gateway != 3 {
		t.Errorf("%+v", a)
	}
}

// No reader sees parts of two.
func TestAddressingIsNeverTorn(t *testing.T) {
	h := new(Header)
	whole := func(n uint32) (a Addressing) {
		for range 1 + n%MaxAddresses {
			a.Addresses = append(a.Addresses, n)
		}
		a.Bits, a.Gateway = int(n%25+8), n
		return a
	}
	h.SetAddressing(whole(1))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				a, _ := h.Addressing()
				if want := whole(a.Gateway); !slices.Equal(a.Addresses, want.Addresses) || a.Bits != want.Bits {
					t.Errorf("torn: %+v", a)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := range uint32(50000) {
		h.SetAddressing(whole(n))
	}
	close(done)
	readers.Wait()
}

func TestUse(t *testing.T) {
	h := &Header{Workers: 2}
	h.Worker[0].SetUse(0, 0xcb007102, 5)
	h.Worker[0].SetUse(1, 0xcb007103, 7)
	h.Worker[1].SetUse(15, 0xcb007102, 1<<20)
	h.Worker[2].SetUse(0, 0xcb007102, 9) // which there is not
	for addr, want := range map[uint32]uint64{0xcb007102: 5 + 1<<20, 0xcb007103: 7, 0xcb007104: 0, 0: 0} {
		if n := h.Use(addr); n != want {
			t.Errorf("%#x: %d mappings, want %d", addr, n, want)
		}
	}
}
