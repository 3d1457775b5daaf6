package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"gatewayd/sessions"
)

// Times of a page that is open.
const (
	tick     = time.Second      // between two looks at what is left of a running session
	lookover = time.Minute      // between two looks at everything; something is sent then, changed or not
	slowest  = 10 * time.Second // for a client to take a message
)

// live sends a client its page's changing part whenever that changes, and what
// there is to say: server-sent events (WHATWG HTML, 9.2). Only this client's own
// events come here, by ClientDevice.Subscribe.
func (p *portal) live(w http.ResponseWriter, r *http.Request) {
	clnt, err := p.api.Http().GetClientDevice(r)
	if err != nil {
		http.Error(w, stranger, http.StatusForbidden)
		return
	}
	news, cancel := follow(clnt)
	defer cancel()
	ticks, lookovers := time.NewTicker(tick), time.NewTicker(lookover)
	defer ticks.Stop()
	defer lookovers.Stop()

	w.Header().Set("Content-Type", "text/event-stream")
	to := stream{w: w, rc: http.NewResponseController(w)}
	c, err := p.look(r, clnt)
	for err == nil {
		err = to.page(p.words(c))
		if err != nil {
			break
		}
		select {
		case n, more := <-news:
			if !more {
				return // the gateway ends
			}
			if c, err = p.look(r, clnt); err == nil {
				err = to.notice(n)
			}
		case <-ticks.C:
			err = c.glance(r.Context(), p.core)
		case <-lookovers.C:
			to.last = nil
			c, err = p.look(r, clnt)
		case <-r.Context().Done():
			return
		case <-p.closing:
			return
		}
	}
	if !errors.Is(err, errGone) {
		p.log.Warn("live page ends", "client", clnt.MacAddr(), "error", err) // the browser comes again
	}
}

// news is an event of a client's.
type news struct {
	event   string
	payload []byte
}

// follow returns a client's events as they come, until cancel is called or the
// gateway ends.
func follow(clnt sessions.ClientDevice) (_ <-chan news, cancel func()) {
	all, done := make(chan news), make(chan struct{})
	channels := map[string]<-chan []byte{}
	var forwarding sync.WaitGroup
	for _, event := range []string{
		sessions.SessionConnected, sessions.SessionDisconnected, sessions.SessionThrottled, sessions.SessionConsumed, sessions.SessionExpired,
		sessions.SessionChanged, sessions.ClientChanged,
	} {
		ch := clnt.Subscribe(event)
		channels[event] = ch
		forwarding.Go(func() {
			for payload := range ch {
				select {
				case all <- news{event, payload}:
				case <-done:
				}
			}
		})
	}
	go func() {
		forwarding.Wait()
		close(all)
	}()
	return all, func() {
		close(done)
		for event, ch := range channels {
			clnt.Unsubscribe(event, ch) // closes it
		}
	}
}

// errGone: the client does not take what it is sent.
var errGone = errors.New("client is gone")

// stream writes server-sent events.
type stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	last []byte // page that was sent last
}

// page sends the changing part of the page, if it has changed.
func (s *stream) page(v view) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "live", v); err != nil {
		return err
	}
	if bytes.Equal(b.Bytes(), s.last) {
		return nil
	}
	s.last = b.Bytes()
	return s.send("page", s.last)
}

// notice sends what an event has to say to a person, if it has.
func (s *stream) notice(n news) error {
	var said struct {
		Message string `json:"message"`
		State   string `json:"state"` // that it was changed to by a pause or its end
	}
	if json.Unmarshal(n.payload, &said) != nil || said.Message == "" || n.event == sessions.SessionChanged && said.State == "" {
		return nil
	}
	return s.send("notice", []byte(said.Message))
}

// send sends an event; each line of its data gets a field of its own.
func (s *stream) send(event string, data []byte) error {
	b := []byte("event: " + event + "\n")
	for line := range bytes.Lines(bytes.ReplaceAll(data, []byte("\r"), nil)) {
		b = append(append(b, "data: "...), bytes.TrimSuffix(line, []byte("\n"))...)
		b = append(b, '\n')
	}
	_ = s.rc.SetReadDeadline(time.Time{}) // the request is read; what follows may last
	_ = s.rc.SetWriteDeadline(time.Now().Add(slowest))
	if _, err := s.w.Write(append(b, '\n')); err != nil {
		return errGone
	}
	if s.rc.Flush() != nil {
		return errGone
	}
	return nil
}
