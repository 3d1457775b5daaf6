package sessions

import (
	"encoding/json"
	"fmt"
	"sync"
)

// Names of the events that the gateway emits.
const (
	SessionConnected    = "session:connected"
	SessionDisconnected = "session:disconnected"
	SessionConsumed     = "session:consumed"
	SessionExpired      = "session:expired"
	SessionChanged      = "session:changed"
	ClientCreated       = "client:created"
	ClientChanged       = "client:changed"
)

// Event is what happened to a device, for those who follow all of them.
type Event struct {
	Name     string          `json:"event"`
	DeviceID int64           `json:"device_id"`
	Data     json.RawMessage `json:"data"`
	Lost     uint64          `json:"lost,omitempty"` // events lost before this one
}

// message is the payload of the gateway's own events.
type message struct {
	Message string `json:"message"`
	Session int64  `json:"session_id,omitempty"`
}

// backlog is how many events wait for a subscriber.
const backlog = 64

// hub hands events to subscribers. It never waits for one.
type hub struct {
	mu      sync.Mutex
	devices map[topic][]*listener
	all     map[chan Event]*uint64 // events lost
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

func newHub() *hub {
	return &hub{devices: make(map[topic][]*listener), all: make(map[chan Event]*uint64)}
}

// emit encodes data and hands it to everybody who has room.
func (h *hub) emit(device int64, event string, data any) {
	payload, err := json.Marshal(data)
	if err != nil {
		payload, _ = json.Marshal(map[string]string{"error": "encode event: " + err.Error()})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.devices[topic{device, event}] {
		l.give(payload)
	}
	for ch, lost := range h.all {
		select {
		case ch <- Event{event, device, payload, *lost}:
			*lost = 0
		default:
			*lost++
		}
	}
}

// give sends payload, after the notice of what was lost before.
func (l *listener) give(payload []byte) {
	if l.lost > 0 {
		select {
		case l.ch <- fmt.Appendf(nil, `{"lost":%d}`, l.lost):
			l.lost = 0
		default:
		}
	}
	select {
	case l.ch <- payload:
	default:
		l.lost++
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
			if h.devices[t] = append(h.devices[t][:i:i], h.devices[t][i+1:]...); len(h.devices[t]) == 0 {
				delete(h.devices, t)
			}
			return
		}
	}
}

// follow subscribes to all events of all devices.
func (h *hub) follow() (<-chan Event, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := make(chan Event, 4*backlog)
	if h.closed {
		close(ch)
		return ch, func() {}
	}
	h.all[ch] = new(uint64)
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.all[ch]; ok {
			delete(h.all, ch)
			close(ch)
		}
	}
}

// close ends all subscriptions.
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
	for ch := range h.all {
		delete(h.all, ch)
		close(ch)
	}
}
