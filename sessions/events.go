package sessions

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// Names of the events that the gateway emits. Those of sessions have the data
// {"message": text, "session_id": id}, those of clients the Device as it is
// then. session_id is left out where no session is meant.
const (
	// SessionConnected: the device passes now, or, with "state":"paused", once the
	// WAN is back. The message is Connect's notify,
	// or says that it was connected again after a restart.
	SessionConnected = "session:connected"
	// SessionDisconnected: nothing of it passes any more. The message is
	// Disconnect's notify, or why the gateway did it.
	SessionDisconnected = "session:disconnected"
	// SessionConsumed: the session in use is used up; the message says whether
	// its time or its data.
	SessionConsumed = "session:consumed"
	// SessionThrottled: the session in use is used up and goes on at its throttle;
	// the message says what is used up, and at which speeds.
	SessionThrottled = "session:throttled"
	// SessionExpired: the session in use has reached its expiry. One that
	// nobody uses expires without an event.
	SessionExpired = "session:expired"
	// SessionChanged: a session was created, changed, deleted, paused or
	// resumed, the last two with its "state", or goes on after another one.
	SessionChanged = "session:changed"
	// SessionSkipped: a session that a provider offers the device cannot be used;
	// the message says which and why.
	SessionSkipped = "session:skipped"
	// ClientCreated: a device is known that was not before.
	ClientCreated = "client:created"
	// ClientChanged: its MAC, address or hostname is another.
	ClientChanged = "client:changed"

	// ProviderFailed: a session provider does not answer and is not asked for a
	// while; it is of no device. The data is {"message": text}.
	ProviderFailed = "provider:failed"
	// ProviderAnswered: it answers again.
	ProviderAnswered = "provider:answered"

	// EventsLost is what a reader of events gets in the place of those that it
	// can no longer have.
	EventsLost = "lost"
)

// EventNames are the names of the gateway's own events, in a new slice.
func EventNames() []string {
	return []string{SessionConnected, SessionDisconnected, SessionThrottled, SessionConsumed, SessionExpired, SessionChanged, SessionSkipped,
		ClientCreated, ClientChanged, ProviderFailed, ProviderAnswered}
}

// Event is what happened to a device, or how many of those were lost.
type Event struct {
	// ID only grows, by one each, also over restarts; after a restart it goes
	// on somewhere above.
	ID       uint64          `json:"id"`
	Time     time.Time       `json:"time"`                // wall time of the emit
	Name     string          `json:"event"`               // one of EventNames, EventsLost, or a program's own
	DeviceID int64           `json:"device_id,omitempty"` // 0: of no device
	Data     json.RawMessage `json:"data,omitempty"`      // the payload; others read it too: not to be changed
	// Lost is how many events are gone between the one before and the next, of
	// whatever device and name. Set in EventsLost only.
	Lost uint64 `json:"lost,omitempty"`
	// Restarted says that the gateway's control was started anew in between:
	// Lost is then the least that it can be.
	Restarted bool `json:"restarted,omitempty"`
}

// message is the data of session events.
type message struct {
	Message string `json:"message"`
	Session int64  `json:"session_id,omitempty"`
}

// EventFilter chooses events.
type EventFilter struct {
	DeviceID int64    // 0: of all devices
	Names    []string // empty: all
}

func (f *EventFilter) wants(e *Event) bool {
	return (f.DeviceID == 0 || f.DeviceID == e.DeviceID) && (len(f.Names) == 0 || slices.Contains(f.Names, e.Name))
}

// asks reports whether events of a kind are among those chosen.
func (f *EventFilter) asks(kind int) bool {
	return len(f.Names) == 0 || slices.ContainsFunc(f.Names, func(name string) bool { return kindOf(name) == kind })
}

// Kinds of events. Each has a history of its own, so that many of one, such as
// a client:created for each of a flood of made-up MACs, do not push out the others.
const (
	kindSession = iota
	kindClient
	kindOther
	numKinds
)

func kindOf(name string) int {
	switch {
	case strings.HasPrefix(name, "session:"):
		return kindSession
	case strings.HasPrefix(name, "client:"):
		return kindClient
	}
	return kindOther
}

// FromNow has a reader begin with the next event.
const FromNow uint64 = math.MaxUint64

// EventReader reads the events of all devices. It holds nothing: what it does
// not read stays in the history until that is full. It is for one goroutine.
type EventReader struct {
	hub    *hub
	filter EventFilter
	at     uint64
	early  bool // it began before ids did: at is as it was asked for
}

// Events returns a reader of the events after the one with that id, as far as
// the history has them: 0 begins with the oldest there is, FromNow with the
// next one. Of an id that was given before a restart, or never, the reader is
// told by EventsLost that it lost some, and begins with the oldest.
func (m *Manager) Events(after uint64, f EventFilter) *EventReader {
	r := &EventReader{hub: m.hub, filter: f}
	r.at, r.early = m.hub.begin(after)
	return r
}

// Next waits for the next event, or the news that some were lost. The error is
// the context's, or ErrStopped when the gateway has stopped.
func (r *EventReader) Next(ctx context.Context) (Event, error) {
	for {
		e, ok, news := r.hub.next(r)
		switch {
		case ok:
			return e, nil
		case news == nil:
			return Event{}, ErrStopped
		}
		select {
		case <-news:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// After is the id to go on after: all up to it was returned, or told of as lost,
// or not asked for.
func (r *EventReader) After() uint64 { return r.at }
