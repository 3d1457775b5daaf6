package forwarder

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

func TestWhenAWorkerRests(t *testing.T) {
	const us = time.Microsecond
	for _, tt := range []struct {
		name   string
		every  time.Duration // between rounds
		frames int           // of each
		want   time.Duration // after 10 ms of these
	}{
		{"one packet now and then", 10 * time.Millisecond, 1, 0},
		{"80 frames a ms", 100 * us, 8, 0},
		{"110 frames a ms", 100 * us, 11, 50 * us},
		{"120 frames a ms", 50 * us, 6, 50 * us},
		{"250 frames a ms, 4 a round", 16 * us, 4, 32 * us},
		{"a million a second", us, 1, 20 * us},
		{"a million a second, and they gather already", 32 * us, 32, 0},
		{"300 frames at once, now and then", 10 * time.Millisecond, 64, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a arrivals
			var got time.Duration
			for now := time.Hour; now <= time.Hour+10*time.Millisecond; now += tt.every {
				a.frames += tt.frames
				got = a.rest(now)
			}
			if got < tt.want*99/100 || got > tt.want*101/100 {
				t.Errorf("rests %v, want %v", got, tt.want)
			}
		})
	}
}

func TestARateIsForgotten(t *testing.T) {
	var a arrivals
	now := time.Hour
	for range 1000 {
		a.frames++
		now += time.Microsecond
		a.rest(now)
	}
	a.frames++
	if d := a.rest(now + 10*time.Millisecond); d != 0 {
		t.Errorf("rests %v after 10 ms without a frame", d)
	}
}

// sight is a link that is looked at.
type sight struct {
	link.Link
	waits, known bool
}

func (s sight) Look() (waits, known bool) { return s.waits, s.known }

func TestWhenAPortIsAsked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		link   link.Link
		events uint32
		want   bool
	}{
		{"frames are seen", sight{waits: true, known: true}, 0, true},
		{"frames are seen, and announced", sight{waits: true, known: true}, unix.EPOLLIN, true},
		{"announced frames were taken meanwhile", sight{known: true}, unix.EPOLLIN, false},
		{"a fault, and no frame is seen", sight{known: true}, unix.EPOLLIN | unix.EPOLLERR, true},
		{"the far end is gone", sight{known: true}, unix.EPOLLHUP, true},
		{"no event, and nothing can be seen", sight{}, 0, false},
		{"an event, and nothing can be seen", sight{}, unix.EPOLLIN, true},
		{"an event of a link that is not looked at", struct{ link.Link }{}, unix.EPOLLIN, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &Forwarder{}
			f.links[clients.WAN] = tt.link
			if tt.events != 0 {
				f.told(clients.WAN, tt.events)
			}
			if got := f.waitsAt(clients.WAN); got != tt.want {
				t.Errorf("asked: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNobodyWaitsBesideFramesThatAreSeen(t *testing.T) {
	b := online(t, free())
	clear(b.f.ready[:])
	for _, waits := range []bool{false, true} {
		b.f.links[clients.WAN] = sight{Link: b.links[clients.WAN], waits: waits, known: true}
		if d := b.f.patience(); (d == 0) != waits {
			t.Errorf("frames are seen: %v; waits %d ms", waits, d)
		}
	}
}
