package clients

import (
	"testing"
	"time"
)

// counted is a table whose counters are all n.
func counted(c *Counters, n uint64) *Counters {
	for i := range c.words() {
		c.words()[i] = n
	}
	return c
}

func newWorker(t *testing.T) *Worker {
	t.Helper()
	table, err := Format(make([]byte, Size(Shape{Slots: 2})), Shape{Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	return table.Worker(0)
}

func TestCountersAreOfOneMoment(t *testing.T) {
	h, end := newWorker(t), make(chan struct{})
	go func() {
		defer close(end)
		p, c := NewPublisher(h), new(Counters)
		for n := range uint64(8000) {
			p.Publish(counted(c, n))
		}
	}()
	last := uint64(0)
	for ended := false; !ended; {
		select {
		case <-end:
			ended = true
		default:
		}
		c := h.Counters()
		for i, w := range c.words() {
			if first := c.words()[0]; w != first {
				t.Fatalf("word 0 is of moment %d, word %d of %d", first, i, w)
			}
		}
		if n := c.words()[0]; n < last {
			t.Fatalf("moment %d after %d", n, last)
		} else {
			last = n
		}
	}
	if last != 7999 {
		t.Errorf("%d at last", last)
	}
}

func TestAPublisherThatWasKilledHalfWay(t *testing.T) {
	h := newWorker(t)
	p, c := NewPublisher(h), new(Counters)
	p.Publish(counted(c, 7))
	for i := range words / 2 { // of what it was about to publish
		h.counters[(h.counted.Load()+1)%2][i].Store(8)
	}
	if c := h.Counters(); c != *counted(new(Counters), 7) {
		t.Fatalf("%+v", c)
	}
	next := NewPublisher(h)
	next.Publish(counted(c, 7)) // words that stood there as 8
	if c := h.Counters(); c != *counted(new(Counters), 7) {
		t.Fatalf("%+v", c)
	}
}

func TestObserve(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-1, 0, Bounds[0], Bounds[0] + 1, time.Second, time.Second + 1, time.Hour} {
		h.Observe(d)
	}
	want := Histogram{Nanos: uint64(2*Bounds[0] + 1 + 2*time.Second + 1 + time.Hour)}
	want.Buckets[0], want.Buckets[1], want.Buckets[len(Bounds)-1], want.Buckets[len(Bounds)] = 3, 1, 1, 2
	if h != want {
		t.Errorf("%+v, want %+v", h, want)
	}
}
