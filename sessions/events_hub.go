package sessions

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// backlog is how many events wait for a subscriber.
const backlog = 64

// hub hands events to subscribers and keeps the newest for readers. It never
// waits for one.
type hub struct {
	now  func() time.Time
	word *atomic.Uint64 // the newest event's id, which outlives this process

	mu      sync.Mutex
	base    uint64 // ids of this process are above it; 0: not known yet
	last    uint64 // the newest one's
	kept    [numKinds]history
	news    chan struct{} // closed by the next event; nil: nobody waits
	devices map[topic][]*listener
	behind  map[*listener]bool // those that have lost events and do not know yet
	closed  bool
}

type topic struct {
	device int64
	event  string
}

type listener struct {
	ch   chan []byte
	lost uint64
}

// newHub goes on with ids above word; 0 there means that start will say.
func newHub(now func() time.Time, word *atomic.Uint64) *hub {
	h := &hub{now: now, word: word, devices: make(map[topic][]*listener), behind: make(map[*listener]bool)}
	if last := word.Load(); last != 0 {
		h.start(last + 1)
	}
	return h
}

// start has ids begin above base, unless they have begun.
func (h *hub) start(base uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.base == 0 {
		h.base, h.last = base, base
		h.word.Store(base)
		h.wake()
	}
}

// wake has readers look; mu is held.
func (h *hub) wake() {
	if h.news != nil {
		close(h.news)
		h.news = nil
	}
}

// newest returns the newest event's id; 0 before start.
func (h *hub) newest() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// emit encodes data, hands it to the device's subscribers that have room, and
// keeps the event for readers. Before start there is no device that could have
// one.
func (h *hub) emit(device int64, event string, data any) {
	payload, err := json.Marshal(data)
	if err != nil {
		payload, _ = json.Marshal(map[string]string{"error": "encode event: " + err.Error()})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.devices[topic{device, event}] {
		if l.give(payload); l.lost > 0 {
			h.behind[l] = true
		}
	}
	if h.base == 0 || h.closed {
		return
	}
	h.last++
	h.word.Store(h.last)
	h.kept[kindOf(event)].keep(Event{ID: h.last, Time: h.now(), Name: event, DeviceID: device, Data: payload})
	h.wake()
}

// give sends payload, after the notice of what was lost before.
func (l *listener) give(payload []byte) {
	if l.tell(); l.lost > 0 {
		l.lost++
		return
	}
	select {
	case l.ch <- payload:
	default:
		l.lost++
	}
}

// tell sends the notice of what was lost, if there is room for it.
func (l *listener) tell() {
	if l.lost == 0 {
		return
	}
	select {
	case l.ch <- fmt.Appendf(nil, `{"lost":%d}`, l.lost):
		l.lost = 0
	default:
	}
}

// remind tells subscribers that have lost events and have room again, so that
// they need not wait for the next one to know.
func (h *hub) remind() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.behind {
		if l.tell(); l.lost == 0 {
			delete(h.behind, l)
		}
	}
}

func (h *hub) subscribe(device int64, event string) <-chan []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &listener{ch: make(chan []byte, backlog)}
	if h.closed {
		close(l.ch)
		return l.ch
	}
	t := topic{device, event}
	h.devices[t] = append(h.devices[t], l)
	return l.ch
}

// unsubscribe closes the channel.
func (h *hub) unsubscribe(device int64, event string, ch <-chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := topic{device, event}
	for i, l := range h.devices[t] {
		if l.ch == ch {
			close(l.ch)
			delete(h.behind, l)
			if h.devices[t] = append(h.devices[t][:i:i], h.devices[t][i+1:]...); len(h.devices[t]) == 0 {
				delete(h.devices, t)
			}
			return
		}
	}
}

// close ends all subscriptions; readers end when they have read what there is.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for t, ls := range h.devices {
		for _, l := range ls {
			close(l.ch)
		}
		delete(h.devices, t)
	}
	clear(h.behind)
	h.wake()
}
