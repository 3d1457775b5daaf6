package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

// MaxReaders is how many may follow events at once: half of all connections, so
// that they never keep another call out.
const MaxReaders = MaxConns / 2

const (
	eventsType = "text/event-stream"
	aliveTime  = 15 * time.Second      // between comments while nothing happens
	chunkTime  = 10 * time.Second      // how long a reader may take for a chunk
	chunkGap   = 50 * time.Millisecond // between chunks; what happens meanwhile goes into one
	chunkSize  = 16 << 10              // bytes, from which on a chunk is sent
	maxNames   = 16                    // in one call
)

// registerEvents adds the path whose answer does not end, which huma would hold
// in memory, and describes it.
func registerEvents(mux *http.ServeMux, api huma.API, core Core) {
	readers := new(atomic.Int64)
	mux.HandleFunc("GET "+Base+"/events", func(w http.ResponseWriter, r *http.Request) {
		after, filter, err := askedEvents(r, core)
		if err != nil {
			writeProblem(w, err)
			return
		}
		if readers.Add(1) > MaxReaders {
			readers.Add(-1)
			w.Header().Set("Connection", "close") // it need not wait for another call
			writeProblem(w, newRefusal(http.StatusServiceUnavailable, fmt.Errorf("follow events: %d readers do already", MaxReaders),
				"end one of them and try again"))
			return
		}
		defer readers.Add(-1)
		w.Header().Set("Content-Type", eventsType)
		w.Header().Set("Cache-Control", "no-store")
		if reader := core.Events(after, filter); r.Method == http.MethodGet {
			follow(r, w, reader)
		}
	})
	api.OpenAPI().AddOperation(describeEvents(api))
}

// askedEvents reads which events a call asks for. The header, which a browser
// sends when it comes back, goes before ?after=.
func askedEvents(r *http.Request, core Core) (after uint64, f sessions.EventFilter, err error) {
	refuse := func(format string, a ...any) (uint64, sessions.EventFilter, error) {
		return 0, f, newRefusal(http.StatusUnprocessableEntity, fmt.Errorf("follow events: "+format, a...), "what fits is in "+Base+"/openapi.json")
	}
	query := r.URL.Query()
	for name, values := range query {
		switch {
		case name != "device" && name != "event" && name != "after":
			return refuse("query.%s: unexpected", name)
		case name != "event" && len(values) > 1:
			return refuse("query.%s: %d times, want it once", name, len(values))
		}
	}
	after = sessions.FromNow
	for _, from := range [][2]string{{"query.after", query.Get("after")}, {"Last-Event-ID", r.Header.Get("Last-Event-ID")}} {
		if from[1] == "" {
			continue
		}
		if after, err = strconv.ParseUint(from[1], 10, 63); err != nil {
			return refuse("%s: %q is no event's id: want a number, 0 for all that are kept", from[0], from[1])
		}
	}
	f.Names = query["event"]
	if len(f.Names) > maxNames {
		return refuse("query.event: %d names, want at most %d", len(f.Names), maxNames)
	}
	if key := query.Get("device"); key != "" {
		ctx, cancel := context.WithTimeout(r.Context(), CallTime)
		defer cancel()
		d, err := core.Device(ctx, key)
		if err != nil {
			return 0, f, refused(err, "{D}", key)
		}
		f.DeviceID = d.ID
	}
	return after, f, nil
}

// follow sends events until the reader is gone or stands still, or the server
// ends.
func follow(r *http.Request, w http.ResponseWriter, reader *sessions.EventReader) {
	control := http.NewResponseController(w)
	ctx, end := context.WithCancel(r.Context())
	defer end()
	defer context.AfterFunc(closing(ctx), end)()
	chunk := fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", reader.After())
	for {
		_ = control.SetWriteDeadline(time.Now().Add(chunkTime))
		if _, err := w.Write(chunk); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-time.After(chunkGap):
		case <-ctx.Done():
			return
		}
		var err error
		if chunk, err = nextChunk(ctx, reader, chunk[:0]); err != nil {
			return
		}
	}
}

var past = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// nextChunk waits for an event and appends it to chunk with those that follow
// it already; or for aliveTime, and appends how far the reader is.
func nextChunk(ctx context.Context, reader *sessions.EventReader, chunk []byte) ([]byte, error) {
	waiting, cancel := context.WithTimeout(ctx, aliveTime)
	defer cancel()
	for len(chunk) < chunkSize {
		e, err := reader.Next(waiting)
		switch {
		case err == nil:
			chunk = appendEvent(chunk, e)
			waiting = past
		case len(chunk) > 0:
			return chunk, nil
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			return fmt.Appendf(chunk, ": keep-alive\nid: %d\n\n", reader.After()), nil
		default:
			return nil, err
		}
	}
	return chunk, nil
}

// oneLine takes out of a name what would end its line.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

// appendEvent appends an event as HTML's "server-sent events" has it (WHATWG,
// 9.2.6); JSON has no line breaks.
func appendEvent(chunk []byte, e sessions.Event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic("api: encode event: " + err.Error()) // its data is JSON already
	}
	return fmt.Appendf(chunk, "id: %d\nevent: %s\ndata: %s\n\n", e.ID, oneLine.Replace(e.Name), data)
}

// closingKey finds in a request's context that of the server's end.
type closingKey struct{}

// tellEnd has requests know when their server begins to shut down, so that
// answers without an end do not keep it.
func tellEnd(s *http.Server) *http.Server {
	over, end := context.WithCancel(context.Background())
	s.RegisterOnShutdown(end)
	s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, closingKey{}, over)
	}
	return s
}

func closing(ctx context.Context) context.Context {
	if over, ok := ctx.Value(closingKey{}).(context.Context); ok {
		return over
	}
	return context.Background()
}
