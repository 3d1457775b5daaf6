package sessions_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gatewayd/sessions"
)

// school gives every device the same hour.
type school struct{ *hour }

func (s school) GetSession(context.Context, sessions.ClientDevice) (sessions.SessionSource, bool) {
	data := s.Data()
	return s.hour, data.TimeCons < data.TimeSecs
}

func (s school) FetchSessions(context.Context, sessions.ClientDevice, int, int) (sessions.FetchSessionsResult, error) {
	return sessions.FetchSessionsResult{Sessions: []sessions.SessionSource{s.hour}, Pages: 1, Count: 1}, nil
}

// hour is a session that is kept elsewhere.
type hour struct {
	mu    sync.Mutex
	data  sessions.SessionData
	saved chan uint // seconds consumed, as saved
}

func (h *hour) ID() string { return "hour 1" }

func (h *hour) Data() sessions.SessionData {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.data
}

func (h *hour) Save(_ context.Context, data sessions.SessionData) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.data = data
	if h.saved != nil && data.TimeCons > 0 {
		h.saved <- data.TimeCons
	}
	return nil
}

func (h *hour) Reload(context.Context) (sessions.SessionData, error) { return h.Data(), nil }

func ExampleSessionProvider() {
	h := sessions.NewHotspot()
	defer h.Close()
	mgr, clnt, ctx := h.API(), h.Client(), context.Background()
	kept := &hour{data: sessions.SessionData{Provider: "school", TimeSecs: 3600, DownMbits: 5, UpMbits: 3}, saved: make(chan uint, 8)}
	mgr.RegisterSessionProvider(school{kept})

	fmt.Println(mgr.Connect(ctx, clnt, "welcome"))
	h.Passes(100*time.Second, 3000)
	mgr.Disconnect(ctx, clnt, "see you")
	fmt.Println("the school's server has", <-kept.saved, "s as consumed")
	// Output:
	// <nil>
	// the school's server has 100 s as consumed
}
