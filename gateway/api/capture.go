package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Capture is a client whose frames are copied, until End.
type Capture interface {
	// Write writes them as pcapng, until ctx ends, there are size bytes or the time is over,
	// of which 0 is no bound. An error is of to.
	Write(ctx context.Context, to io.Writer, size int64, most time.Duration) (Captured, error)
	End()
}

// Captured is what came of a capture.
type Captured struct {
	Why     string // it ended
	Packets uint64 // written
	Lost    uint64 // for want of room: they were read too slowly
}

// Why a capture does not begin.
var (
	ErrCaptures = errors.New("four captures are on, which is as many as there may be")
	ErrAway     = errors.New("the device is not on the network")
)

// The answer of a capture, and how long its reader may take nothing.
const (
	captureType = "application/x-pcapng"
	captureTime = time.Minute
	// MaxCaptured is the most that is copied of a frame, bytes.
	MaxCaptured = 262144
)

// errEnds is why a capture ends with the server.
var errEnds = errors.New("gatewayd's control ends")

// captureOrder is what a call asks for.
type captureOrder struct {
	most int // bytes of a frame
	size int64
	time time.Duration
}

// registerCapture adds the path whose answer is a stream, which huma would hold in memory, and
// describes it.
func registerCapture(mux *http.ServeMux, api huma.API, capture func(ctx context.Context, key string, most int) (Capture, error)) {
	mux.HandleFunc("GET "+Base+"/devices/{D}/capture", func(w http.ResponseWriter, r *http.Request) {
		order, err := askedCapture(r)
		if err != nil {
			writeProblem(w, err)
			return
		}
		key := r.PathValue("D")
		bounded, cancel := context.WithTimeout(r.Context(), CallTime)
		c, err := capture(bounded, key, order.most)
		cancel()
		if err != nil {
			writeProblem(w, refused(err, "{D}", key))
			return
		}
		defer c.End()
		w.Header().Set("Content-Type", captureType)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Trailer", "Capture-Ended, Capture-Packets, Capture-Lost")
		if r.Method != http.MethodGet {
			return
		}
		ctx, end := context.WithCancelCause(r.Context())
		defer end(nil)
		defer context.AfterFunc(closing(ctx), func() { end(errEnds) })()
		done, err := c.Write(ctx, &liveWriter{w, http.NewResponseController(w)}, order.size, order.time)
		if err != nil {
			panic(http.ErrAbortHandler) // its reader is gone, or stands still
		}
		w.Header().Set("Capture-Ended", done.Why)
		w.Header().Set("Capture-Packets", strconv.FormatUint(done.Packets, 10))
		w.Header().Set("Capture-Lost", strconv.FormatUint(done.Lost, 10))
	})
	api.OpenAPI().AddOperation(describeCapture())
}

// liveWriter sends each part of an answer at once, and gives it its own time.
type liveWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (l *liveWriter) Write(b []byte) (n int, err error) {
	_ = l.control.SetWriteDeadline(time.Now().Add(captureTime)) // a server without deadlines is fine too
	if n, err = l.ResponseWriter.Write(b); err == nil {
		err = l.control.Flush()
	}
	return n, err
}

// askedCapture reads what a call asks for.
func askedCapture(r *http.Request) (o captureOrder, err error) {
	o.most = MaxCaptured
	for name, values := range r.URL.Query() {
		bound, ok := captureBounds[name]
		refuse := func(format string, a ...any) (captureOrder, error) {
			return o, newRefusal(http.StatusUnprocessableEntity, fmt.Errorf("capture: query."+name+": "+format, a...),
				"nothing was captured, what fits is in "+Base+"/openapi.json")
		}
		if !ok {
			return refuse("unexpected")
		}
		if len(values) > 1 {
			return refuse("%d times, want it once", len(values))
		}
		n, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil || n < bound.least || n > bound.most {
			return refuse("%q: want a whole number from %d to %d", values[0], bound.least, bound.most)
		}
		switch name {
		case "snaplen":
			o.most = int(n)
		case "size":
			o.size = n
		case "for":
			o.time = time.Duration(n) * time.Second
		}
	}
	return o, nil
}

// captureBounds are the parameters of a capture.
var captureBounds = map[string]struct {
	least, most int64
	text        string
}{
	"snaplen": {14, MaxCaptured, "copy so many bytes of each frame, from its Ethernet header on; without it whole frames"},
	"size":    {4096, 1 << 53, "end with so many bytes at most; without it there is no bound"},
	"for":     {1, 366 * 86400, "end after so many seconds; without it there is no bound"},
}

const captureText = "A pcapng stream without an end, with two interfaces: on `lan` are the client's frames as they came in and as they leave to it, " +
	"on `wan` the same behind the translation, or on a bridge as they are on that side. What was dropped is on the side on which it came. Frames are as they are on their way " +
	"through the box, TCP and UDP often several packets in one; checksums that are left to a network card are filled in.\n\n" +
	"It ends with a bound, with the server, or when the device gets another MAC or place; and when the reader closes its half of the " +
	"connection: then, too, with the statistics of both interfaces, and the trailers `Capture-Ended` (why, in words), " +
	"`Capture-Packets` and `Capture-Lost`, which are the packets that found no room because they were read too slowly. Nothing " +
	"waits for a slow reader; one that takes nothing for a minute is hung up on. Four may be on at once."

// describeCapture is the operation as it stands in the document.
func describeCapture() *huma.Operation {
	params := []*huma.Param{{Name: "D", In: "path", Required: true, Description: "a device's id, MAC or IPv4 address", Schema: &huma.Schema{Type: "string"}}}
	for _, name := range []string{"snaplen", "size", "for"} {
		b := captureBounds[name]
		least, most := float64(b.least), float64(b.most)
		params = append(params, &huma.Param{Name: name, In: "query", Description: b.text,
			Schema: &huma.Schema{Type: "integer", Format: "int64", Minimum: &least, Maximum: &most}})
	}
	file := map[string]*huma.MediaType{captureType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
	header := func(text string) *huma.Param {
		return &huma.Param{Description: text, Schema: &huma.Schema{Type: "string"}}
	}
	return &huma.Operation{
		OperationID: "capture-device", Method: http.MethodGet, Path: Base + "/devices/{D}/capture",
		Summary: "The frames of one client before and after translation, live", Description: captureText, Parameters: params,
		Responses: map[string]*huma.Response{
			"200": {Description: "pcapng, until one of both hangs up", Content: file, Headers: map[string]*huma.Param{
				"Capture-Ended": header("a trailer: why, in words"), "Capture-Packets": header("a trailer: packets written"),
				"Capture-Lost": header("a trailer: packets that found no room")}},
			"404": problemAnswer(http.StatusNotFound), "409": problemAnswer(http.StatusConflict),
			"422": problemAnswer(http.StatusUnprocessableEntity), "503": problemAnswer(http.StatusServiceUnavailable),
		},
	}
}
