package clients

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// said are the addresses of what was heard, in order.
func said(all []Heard6) (texts []string) {
	for _, h := range all {
		texts = append(texts, fmt.Sprintf("%v@%v", h.Address, h.Last))
	}
	return texts
}

func TestAddresses6(t *testing.T) {
	const net6 = 0x20010db8 << 32
	rows := []struct {
		name string
		do   func(a *Addresses6)
		want []string
	}{
		{"nothing yet", func(*Addresses6) {}, nil},
		{"one", func(a *Addresses6) { a.Set(0, net6, 1, time.Second) }, []string{"2001:db8::1@1s"}},
		{"the last first", func(a *Addresses6) {
			a.Set(0, net6, 1, time.Second)
			a.Set(5, 0xfe80<<48, 2, 3*time.Second)
			a.Set(15, ^uint64(0), ^uint64(0), 2*time.Second)
		}, []string{"fe80::2@3s", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff@2s", "2001:db8::1@1s"}},
		{"of one moment by address", func(a *Addresses6) {
			a.Set(0, net6, 2, time.Second)
			a.Set(1, net6, 1, time.Second)
		}, []string{"2001:db8::1@1s", "2001:db8::2@1s"}},
		{"another in its place", func(a *Addresses6) {
			a.Set(0, net6, 1, time.Second)
			a.Set(0, net6, 2, 2*time.Second)
		}, []string{"2001:db8::2@2s"}},
		{"as the machine started", func(a *Addresses6) { a.Set(0, net6, 1, 0) }, []string{"2001:db8::1@1ns"}},
		{"of the next client, none", func(a *Addresses6) {
			a.Set(0, net6, 1, time.Second)
			a.Clear(8)
		}, nil},
		{"begun anew", func(a *Addresses6) {
			a.Set(0, net6, 1, time.Second)
			a.Clear(7)
			a.Set(1, net6, 2, 2*time.Second)
		}, []string{"2001:db8::2@2s"}},
		{"after a forwarder died while it wrote", func(a *Addresses6) {
			a.Set(0, net6, 1, time.Second)
			a.writes.Add(1)
		}, nil},
		{"and the next one has begun", func(a *Addresses6) {
			a.writes.Add(1)
			a.Clear(7)
			a.Set(0, net6, 3, time.Second)
		}, []string{"2001:db8::3@1s"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := new(Addresses6)
			a.Clear(7)
			row.do(a)
			if got := said(a.Heard(7)); !slices.Equal(got, row.want) {
				t.Errorf("%q, want %q", got, row.want)
			}
			if got := a.Heard(9); got != nil {
				t.Errorf("another client has %v", got)
			}
		})
	}
}

// The next forwarder finds them as they are, but not what was half written.
func TestAddresses6OutliveTheForwarder(t *testing.T) {
	a := new(Addresses6)
	a.Clear(7)
	a.Set(3, 1<<60, 2, time.Second)
	if hi, lo, heard := a.At(3); hi != 1<<60 || lo != 2 || heard != time.Second {
		t.Errorf("%x, %x at %v", hi, lo, heard)
	}
	if _, _, heard := a.At(4); heard != 0 {
		t.Errorf("there is one more, at %v", heard)
	}
	if !a.Sound(7) || a.Sound(8) {
		t.Error("they are of generation 7")
	}
	a.writes.Add(1)
	if a.Sound(7) {
		t.Error("half of one is sound")
	}
	a.Clear(7)
	if !a.Sound(7) {
		t.Error("begun anew they are not sound")
	}
}

// No reader sees half of an address.
func TestAddresses6AreNeverTorn(t *testing.T) {
	a := new(Addresses6)
	a.Clear(1)
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-done:
				return
			default:
				a.Set(int(n%AddressesEach), n, n, time.Duration(n))
				for range n % 8 * 500 { // a look fits in between now and then
					a.writes.Load()
				}
			}
		}
	})
	seen := 0
	for range 20000 {
		for _, h := range a.Heard(1) {
			seen++
			b := h.Address.As16()
			if netip.AddrFrom16(b) != h.Address || string(b[:8]) != string(b[8:]) || uint64(b[15])|uint64(b[14])<<8 != uint64(h.Last)&0xffff {
				t.Fatalf("%v at %d", h.Address, h.Last)
			}
		}
	}
	close(done)
	writer.Wait()
	if seen == 0 {
		t.Error("nothing was ever seen")
	}
}

// A table has them for each slot, apart from all else.
func TestTheTableHasAddresses6(t *testing.T) {
	table, file, err := Create(Shape{Slots: 9, NATBytes: 4096, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	defer file.Close()
	for i := range table.Slots() {
		a := table.Addresses6(i)
		a.Clear(uint32(i + 1))
		for j := range AddressesEach {
			a.Set(j, uint64(i+1), uint64(j+1), time.Second)
		}
	}
	other, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i := range other.Slots() {
		all := other.Addresses6(i).Heard(uint32(i + 1))
		if len(all) != AddressesEach || all[15].Address != netip.AddrFrom16([16]byte{7: byte(i + 1), 15: 16}) {
			t.Errorf("slot %d: %v", i, all)
		}
	}
	for i := range other.Slots() {
		losses := other.Losses(i)
		for j := range losses {
			if l := &losses[j]; l.Packets.Load() != 0 || l.Last.Load() != 0 {
				t.Fatalf("slot %d has losses", i)
			}
		}
	}
	if slices.ContainsFunc(other.NAT(), func(b byte) bool { return b != 0 }) {
		t.Error("the translations are not empty")
	}
}
