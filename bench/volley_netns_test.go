//go:build netns

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tapped is a socket that hears all UDP packets that reach the gateway's LAN port
// and keeps many of them until they are read.
func tapped(l *lab) (fd int, err error) {
	err = within(l.gateway, func() error {
		port, err := net.InterfaceByName(lanPort)
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 128<<20),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0008 /* IPv4, in network order */, Ifindex: port.Index}))
	})
	return fd, err
}

// up sets the gateway's LAN port up or down, and waits until the client's has a
// carrier or has none.
func (l *lab) up(ctx context.Context, up bool) error {
	word := map[bool]string{true: "up", false: "down"}[up]
	if err := ip(ctx, "-n "+l.gateway+" link set "+lanPort+" "+word); err != nil {
		return err
	}
	return within(l.client, func() error {
		for begin := time.Now(); time.Since(begin) < 4*patience; time.Sleep(time.Millisecond) {
			port, err := netlink.LinkByName(farPort)
			if err != nil {
				return err
			}
			if carrier := port.Attrs().OperState == netlink.OperUp; carrier == up {
				return nil
			}
		}
		return fmt.Errorf("the client's port does not see the gateway's %s", word)
	})
}

// laboratory makes a lab, and remove removes it.
func laboratory(t *testing.T, name string) (l *lab, remove func()) {
	t.Helper()
	l, err := newLab(t.Context(), name, one)
	if err != nil {
		t.Fatal(err)
	}
	return l, func() {
		if err := l.remove(); err != nil {
			t.Error(err)
		}
	}
}

// What a volley says it sent arrives, as it was written, in order, and each frame
// once; what finds no carrier is counted as dropped.
func TestAVolleyArrivesAsItWasWritten(t *testing.T) {
	defer leaves(t)
	ctx := t.Context()
	for _, o := range []offer{byMessages, byRing} {
		for _, size := range []int{smallFrame, 1396} {
			t.Run(fmt.Sprint(o, size), func(t *testing.T) {
				l, remove := laboratory(t, "volley")
				defer remove()
				fd, err := tapped(l)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				s := stream{clients: 10_000, mappings: 10_000, remotes: 1, first: manyFrom, port: discard, size: size}
				var heard []int // flows whose frames were taken, in order
				err = within(l.client, func() error {
					v, err := newVolley(s.mould(l.routerMAC), o)
					if err != nil {
						return err
					}
					defer v.close()
					for _, part := range []struct {
						frames int
						up     bool
					}{{3 * ringFrames / 2, true}, {100, false}, {s.flows(), true}} {
						if err := l.up(ctx, part.up); err != nil {
							return err
						}
						if heard, err = v.all(part.frames, part.up, heard); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil { // it was told that the port went down
					t.Fatal(err)
				}
				m := s.mould(l.routerMAC)
				want, got := append([]byte(nil), m.original...), make([]byte, 2048)
				for i, flow := range heard {
					n, err := unix.Read(fd, got)
					if err != nil {
						t.Fatalf("frame %d of %d: %v", i, len(heard), err)
					}
					if m.write(want, flow); !bytes.Equal(got[:n], want) {
						t.Fatalf("frame %d of %d is of flow %d, not as it was written for flow %d:\n%x, want\n%x",
							i, len(heard), binary.BigEndian.Uint32(got[atPayload:]), flow, got[:n], want)
					}
				}
				if err := unix.SetNonblock(fd, true); err != nil {
					t.Fatal(err)
				}
				if n, err := unix.Read(fd, got); !errors.Is(err, unix.EAGAIN) {
					t.Errorf("a frame more than was taken: %v, %x", err, got[:max(n, 0)])
				}
			})
		}
	}
}

// all fires frames of flow 0 to n-1, each once, in volleys of all lengths, and adds
// those that were taken: all, or none where no port is up.
func (v *volley) all(n int, up bool, heard []int) ([]int, error) {
	begin := time.Now()
	for next, length := 0, 1; next < n; length = length%batch + 1 {
		length := min(length, n-next)
		for i := range length {
			v.mould.write(v.frames[i], next+i)
		}
		taken, dropped, err := v.fire(length)
		if err != nil {
			return heard, err
		}
		if up && dropped != 0 || !up && taken != 0 || taken+dropped > length {
			return heard, fmt.Errorf("%d taken, %d dropped of %d, with the port up: %v", taken, dropped, length, up)
		}
		for range taken {
			heard = append(heard, next)
			next++
		}
		next += dropped
		if time.Since(begin) > 4*patience {
			return heard, fmt.Errorf("%d of %d frames in %v", next, n, 4*patience)
		}
	}
	return heard, nil
}

// What a sender counts as sent is what reaches the gateway's port, also where the
// port loses its carrier meanwhile.
func TestASenderCountsWhatArrives(t *testing.T) {
	defer leaves(t)
	ctx := t.Context()
	l, remove := laboratory(t, "sender")
	defer remove()
	if _, err := l.rest(ctx); err != nil {
		t.Fatal(err)
	}
	s := stream{clients: 10_000, mappings: 10_000, remotes: 1, first: manyFrom, port: discard, size: smallFrame}
	for range 2 {
		for _, o := range []offer{byMessages, byRing} {
			before := received(t, l)
			x := send(l, s, o, 0)
			whole := func(n *atomic.Uint64) {
				for begin := time.Now(); n.Load() < uint64(2*s.flows()) && time.Since(begin) < 4*patience; {
					time.Sleep(time.Millisecond)
				}
			}
			whole(&x.sent)
			if err := l.up(ctx, false); err != nil {
				t.Error(err)
			}
			whole(&x.lost)
			if err := l.up(ctx, true); err != nil {
				t.Error(err)
			}
			sent, err := x.stop()
			if got := received(t, l) - before; err != nil || got != sent || sent < uint64(2*s.flows()) || x.lost.Load() < uint64(2*s.flows()) {
				t.Errorf("%s: %d sent, %d arrived, %d lost, %v", o, sent, got, x.lost.Load(), err)
			}
		}
	}
}

// The kernel lets go of an AF_XDP socket's port some time after it was closed.
func TestAVolleyFollowsAnother(t *testing.T) {
	defer leaves(t)
	l, remove := laboratory(t, "follow")
	defer remove()
	err := within(l.client, func() error {
		for range 50 {
			v, err := newVolley(single(smallFrame).mould(l.routerMAC), byRing)
			if err != nil {
				return err
			}
			if _, _, err := v.fire(batch); err != nil {
				return err
			}
			if err := v.close(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// received is how many frames the gateway's LAN port has taken in.
func received(t *testing.T, l *lab) (n uint64) {
	t.Helper()
	err := within(l.gateway, func() error {
		port, err := netlink.LinkByName(lanPort)
		if err == nil {
			n = port.Attrs().Statistics.RxPackets
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
