package forwarder

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
)

// behind is a link behind whose batch frames of sparse flows wait.
type behind struct {
	link.Link
	frames [][]byte
}

func (l *behind) Sparse() (frames [][]byte) {
	frames, l.frames = l.frames, nil
	return frames
}

// slow is a link that takes its time for a frame.
type slow struct {
	link.Link
	takes time.Duration
	b     *bench
	calls []int // frames of each Send
}

func (l *slow) Send(frames [][]byte, taken []bool) error {
	l.b.now += time.Duration(len(frames)) * l.takes
	l.calls = append(l.calls, len(frames))
	return l.Link.Send(frames, taken)
}

func TestSparseFlowsPassBetweenBulk(t *testing.T) {
	const bulk = 8
	for _, row := range []struct {
		name  string
		takes time.Duration
		want  int // frames that leave before it
	}{
		{"a frame takes long", sparseEvery, 1},
		{"one that takes a third", sparseEvery/3 + 1, 3},
		{"all take no longer than who is sparse may wait", sparseEvery / bulk / 2, bulk},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := online(t, free())
			b.in(clients.LAN, aliceUp.udp(18)) // knows the way
			b.take(clients.WAN)
			ping := aliceUp
			ping.srcPort++
			waits := &behind{Link: b.links[clients.LAN]}
			wan := &slow{Link: b.links[clients.WAN], takes: row.takes, b: b}
			b.f.links[clients.LAN], b.f.links[clients.WAN] = waits, wan
			for learn := range 20 { // how long a frame takes
				waits.frames = [][]byte{ping.udp(1)}
				b.in(clients.LAN, aliceUp.spread(bulk)...)
				if len(waits.frames) > 0 { // nobody asked
					b.offer(clients.LAN, waits.frames...)
					waits.frames = nil
					b.round()
				}
				at := -1
				for i, p := range b.out(clients.WAN) {
					if len(p.payload) == 1 {
						at = i
					}
				}
				if learn >= 15 && at != row.want {
					t.Errorf("it left after %d others, want %d (sent in %v)", at, row.want, wan.calls)
				}
				wan.calls = nil
			}
			if got := b.out(clients.WAN); len(got) != 0 {
				t.Errorf("%d more came out", len(got))
			}
		})
	}
}

// spread are n datagrams that are not joined.
func (w flow) spread(n int) (raws [][]byte) {
	for i := range n {
		one := w
		one.id = uint16(1000 * i)
		one.srcPort += uint16(100 + i)
		raws = append(raws, one.udp(18))
	}
	return raws
}

func TestABatchIsAsLongAsWhoIsSparseMayWait(t *testing.T) {
	for _, row := range []struct {
		takes time.Duration
		want  int
	}{
		{0, link.Batch},
		{sparseEvery / link.Batch / 2, link.Batch},
		{sparseEvery / 10, 10},
		{sparseEvery, 1},
		{time.Second, 1},
	} {
		t.Run(fmt.Sprint(row.takes), func(t *testing.T) {
			b := online(t, free())
			wan := &slow{Link: b.links[clients.WAN], takes: row.takes, b: b}
			b.f.links[clients.WAN] = wan
			for range 20 {
				wan.calls = nil
				b.in(clients.LAN, aliceUp.spread(link.Batch)...)
			}
			if got := wan.calls[0]; got < row.want || got > row.want+1 {
				t.Errorf("%d frames leave together, want %d", got, row.want)
			}
		})
	}
}
