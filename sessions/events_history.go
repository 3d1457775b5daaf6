package sessions

import "sort"

// Bounds of the history. Bytes are those of names and data with the Event
// around them.
const (
	historyEvents = 4096    // of a kind
	historyBytes  = 1 << 20 // of a kind
	historyOne    = 64 << 10
	eventBytes    = 112 // an Event without its name and data
)

// history is the newest events of a kind, in order of their ids.
type history struct {
	events []Event
	first  int // of events; those before are dropped
	bytes  int
	gone   uint64 // id of the newest that was dropped or never kept
}

func sizeOf(e *Event) int { return eventBytes + len(e.Name) + len(e.Data) }

// keep adds an event and drops the oldest as far as the bounds ask for. One
// whose data is too large is not kept.
func (h *history) keep(e Event) {
	if len(e.Data) > historyOne {
		h.gone = e.ID
		return
	}
	h.events = append(h.events, e)
	h.bytes += sizeOf(&e)
	for h.bytes > historyBytes || len(h.events)-h.first > historyEvents {
		old := &h.events[h.first]
		h.bytes -= sizeOf(old)
		h.gone = max(h.gone, old.ID)
		*old = Event{}
		h.first++
	}
	if h.first > len(h.events)/2 {
		n := copy(h.events, h.events[h.first:])
		clear(h.events[n:])
		h.events, h.first = h.events[:n], 0
	}
}

// after returns the events with ids above at.
func (h *history) after(at uint64) []Event {
	kept := h.events[h.first:]
	return kept[sort.Search(len(kept), func(i int) bool { return kept[i].ID > at }):]
}

// begin returns where a reader begins that has had all up to after; early says
// that this is not known yet.
func (h *hub) begin(after uint64) (at uint64, early bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.place(after)
}

// place is begin; mu is held.
func (h *hub) place(after uint64) (at uint64, early bool) {
	switch {
	case h.base == 0 && after == FromNow:
		return 0, true
	case h.base == 0:
		return after, true
	case after == FromNow:
		return h.last, false
	case after == 0:
		return h.base, false
	case after < h.base || after > h.last:
		return h.base - 1, false // base itself stands for what the restart may have lost
	}
	return after, false
}

// next moves a reader on to its next event and returns it. ok is false when
// there is none yet: news is closed when there is more, and nil when there will
// be none.
func (h *hub) next(r *EventReader) (e Event, ok bool, news <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.early {
		r.at, r.early = h.place(r.at)
	}
	e, ok = h.find(r)
	until := h.last
	if ok {
		until = e.ID - 1
	}
	if lost, restarted := h.missing(r, until); lost > 0 {
		r.at = until
		return Event{ID: until, Time: h.now(), Name: EventsLost, Lost: lost, Restarted: restarted}, true, nil
	}
	switch {
	case ok:
		r.at = e.ID
		return e, true, nil
	case h.closed:
		return Event{}, false, nil
	}
	if !r.early {
		r.at = until
	}
	if h.news == nil {
		h.news = make(chan struct{})
	}
	return Event{}, false, h.news
}

// find returns the first event that a reader asks for and has not had.
func (h *hub) find(r *EventReader) (first Event, ok bool) {
	for kind := range h.kept {
		if !r.filter.asks(kind) {
			continue
		}
		for _, e := range h.kept[kind].after(r.at) {
			if ok && e.ID > first.ID {
				break
			}
			if r.filter.wants(&e) {
				first, ok = e, true
				break
			}
		}
	}
	return first, ok
}

// missing returns how many events with ids above the reader's and up to until
// are gone, if some of a kind that it asks for may be among them.
func (h *hub) missing(r *EventReader, until uint64) (lost uint64, restarted bool) {
	restarted = r.at < h.base
	asked := restarted
	for kind := range h.kept {
		asked = asked || h.kept[kind].gone > r.at && r.filter.asks(kind)
	}
	if !asked || until <= r.at {
		return 0, false
	}
	lost = until - r.at
	for kind := range h.kept {
		lost -= uint64(len(h.kept[kind].after(r.at)) - len(h.kept[kind].after(until)))
	}
	return lost, restarted
}
