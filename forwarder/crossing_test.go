package forwarder

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/link"
)

func newWay(t *testing.T) *crossing {
	t.Helper()
	var a arena.Arena
	x, err := newCrossing(&a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// frameOf is a frame that tells its number.
func frameOf(n, length int) []byte {
	b := make([]byte, length)
	for i := range b {
		b[i] = byte(n + i*7)
	}
	return b
}

func TestACrossingKeepsFramesAndTheirOrder(t *testing.T) {
	x, dice := newWay(t), rand.New(rand.NewPCG(5, 6))
	length := func(n int) int { return (n * 7919) % (link.MaxFrame + 1) }
	sent, got, full := 0, 0, 0
	for sent < 5000 {
		for range dice.IntN(60) {
			if !x.send(crossed{uint8(sent % 3), sent, 2 * sent, uint32(3 * sent), frameOf(sent, length(sent))}) {
				full++
				break
			}
			sent++
		}
		if _, ok := x.next(); ok && got == sent {
			t.Fatal("seen before it was handed over")
		}
		x.got = x.shared.read.Load() // as if it had not looked
		x.given = x.got
		x.handOver()
		for range dice.IntN(80) {
			c, ok := x.next()
			if !ok {
				break
			}
			if int(c.port) != got%3 || c.packets != got || c.bytes != 2*got || c.turned != uint32(3*got) || !bytes.Equal(c.raw, frameOf(got, length(got))) {
				t.Fatalf("frame %d is another one: %d of %d bytes", got, c.packets, len(c.raw))
			}
			got++
		}
		x.giveBack()
	}
	if full == 0 {
		t.Error("it was never full")
	}
}

func TestACrossingHoldsTwoBatchesOfSuperPackets(t *testing.T) {
	x := newWay(t)
	n := 0
	for x.send(crossed{raw: frameOf(n, link.MaxFrame)}) {
		n++
	}
	if n < 15 || x.send(crossed{raw: frameOf(0, link.MaxFrame+1)}) {
		t.Errorf("%d super-packets fit", n)
	}
}

// One sends while the other takes.
func TestACrossingBetweenTwo(t *testing.T) {
	x := newWay(t)
	const all = 20000
	go func() {
		for i := 0; i < all; {
			if x.send(crossed{packets: i, raw: frameOf(i, 60+i%2000)}) {
				i++
			}
			x.handOver()
		}
	}()
	for i := 0; i < all; {
		for c, ok := x.next(); ok; c, ok = x.next() {
			if c.packets != i || !bytes.Equal(c.raw, frameOf(i, 60+i%2000)) {
				t.Fatalf("frame %d is %d", i, c.packets)
			}
			i++
		}
		x.giveBack()
	}
}
