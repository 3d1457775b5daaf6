package metrics

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// maxConns is how many connections are served at once: whoever reaches the
// address takes no more of the process's descriptors.
const maxConns = 16

// NewServer returns a server whose time-outs a slow or silent client cannot
// outlast; its connections are kept between scrapes.
func (m *Metrics) NewServer(log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           m.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// Limit bounds how many connections a listener has at once.
func Limit(l net.Listener) net.Listener { return netutil.LimitListener(l, maxConns) }
