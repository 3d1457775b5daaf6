//go:build netns

package ports

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

func TestWatchTellsOfEveryChange(t *testing.T) {
	l := newLab(t)
	p, missing := l.open(Options{}), &Port{side: Side{Name: "nix0"}}
	states := make(chan State, 64)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		if err := enter(l); err != nil {
			ended <- err
			return
		}
		ended <- Watch(ctx, []*Port{p, missing}, func(s State) { states <- s }, func() {})
	}()
	// expect waits for a state of the port that fits.
	expect := func(what string, fits func(State) bool) {
		t.Helper()
		late := time.After(20 * time.Second)
		for last := (State{}); ; {
			select {
			case s := <-states:
				if s.Name == l.port {
					if last = s; fits(s) {
						return
					}
				} else if s.Present || !errors.Is(s.Err, ErrMissing) {
					t.Errorf("nix0: %+v", s)
				}
			case <-late:
				t.Fatalf("not told that %s; last: %+v", what, last)
			}
		}
	}
	conflict := func(says string) func(State) bool {
		return func(s State) bool { return len(s.Conflicts) == 1 && strings.Contains(s.Conflicts[0].What, says) }
	}
	free := func(s State) bool { return len(s.Conflicts) == 0 }

	expect("the port is there", func(s State) bool {
		return s.Present && s.Up && s.Carrier && s.MTU == 1500 && s.MAC.String() == portMAC.String() && free(s)
	})
	l.addAddress(l.port, "10.9.0.1/24")
	expect("an address appeared", conflict("10.9.0.1/24"))
	must(t, netlink.AddrDel(l.link(l.port), mustAddr(t, "10.9.0.1/24")))
	expect("the address went", free)
	l.sysctl("ipv4", "forwarding", "1")
	expect("forwarding was switched on", conflict("forwards"))
	l.sysctl("ipv4", "forwarding", "0")
	expect("forwarding was switched off", free)
	must(t, netlink.LinkSetMTU(l.link(l.port), 1400))
	expect("the MTU changed", func(s State) bool { return s.MTU == 1400 && !s.Lost && p.MTU() == 1400 })
	l.inFar(func() { must(t, netlink.LinkSetDown(l.link("peer"))) })
	expect("the carrier was lost", func(s State) bool { return s.Up && !s.Carrier })
	must(t, netlink.LinkSetDown(l.link(l.port)))
	expect("the link went down", func(s State) bool { return s.Present && !s.Up })
	must(t, netlink.LinkDel(l.link(l.port)))
	expect("the interface went", func(s State) bool { return !s.Present && errors.Is(s.Err, ErrMissing) })

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch ends with %v", err)
	}
	must(t, p.Close())
}
