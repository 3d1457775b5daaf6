package clients

import (
	"slices"
	"sync"
	"testing"
)

func TestForwards(t *testing.T) {
	h := new(Header)
	if list, n := h.Forwards(); n != 0 || len(list) != 0 {
		t.Fatalf("before anything is said: %v, %d", list, n)
	}
	long := make([]Forward, MaxForwards+1)
	for i := range long {
		long[i] = Forward{First: uint16(1 + i), Last: uint16(1 + i), Port: 1}
	}
	rows := []struct {
		name      string
		set, want []Forward
	}{
		{"one", []Forward{{false, 0, 80, 80, 0x0a0a0005, 8080}}, nil},
		{"with the highest values there are", []Forward{{true, 0xffffffff, 65535, 65535, 0xffffffff, 65535}, {false, 0xffffffff, 65535, 65535, 0xffffffff, 65535}}, nil},
		{"one to the box", []Forward{{UDP: true, First: 1, Last: 9, Port: 2}}, nil},
		{"none", []Forward{}, nil},
		{"more than there is room for", long, long[:MaxForwards]},
	}
	for i, row := range rows {
		if row.want == nil {
			row.want = row.set
		}
		h.SetForwards(row.set)
		h.SetForwards(row.set) // nothing new
		if list, n := h.Forwards(); !slices.Equal(list, row.want) || n != uint64(i+1) || h.Forwarded() != n {
			t.Errorf("%s: %v, %d", row.name, list, n)
		}
	}
}

// Who dies while it says something has said nothing.
func TestForwardsThatAreHalfSaidAreNotSaid(t *testing.T) {
	h, right := new(Header), []Forward{{First: 80, Last: 80, To: 7, Port: 80}}
	h.SetForwards(right)
	next := &h.forwards[(h.forwarded.Load()+1)%2]
	next.length.Store(1 << 40)
	next.list[0][0].Store(77)
	if list, _ := h.Forwards(); !slices.Equal(list, right) {
		t.Errorf("%+v", list)
	}
	h.forwards[h.forwarded.Load()%2].length.Store(1 << 40) // nor does it harm who reads
	if list, _ := h.Forwards(); len(list) != MaxForwards {
		t.Errorf("%d forwards", len(list))
	}
}

// No reader sees parts of two.
func TestForwardsAreNeverTorn(t *testing.T) {
	h := new(Header)
	whole := func(n uint32) (list []Forward) {
		for range 1 + n%MaxForwards {
			list = append(list, Forward{n&1 == 1, n, uint16(n), uint16(n), n, uint16(n)})
		}
		return list
	}
	h.SetForwards(whole(1))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				if list, _ := h.Forwards(); len(list) == 0 || !slices.Equal(list, whole(list[0].To)) {
					t.Errorf("torn: %v", list)
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
	for n := range uint32(3000) {
		h.SetForwards(whole(n))
	}
	close(done)
	readers.Wait()
}
