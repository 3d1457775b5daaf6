package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatewayd/forwarder/clients"
	"gatewayd/sessions"
)

// Options are where the numbers come from.
type Options struct {
	Header  *clients.Header
	Reasons []string     // names of drop reasons by index; the first two are none
	State   func() State // asked once a scrape
	Version string
	Clients int // that fit
	Flows   int // that fit
	// Looped says whether the sides of a bridge are joined elsewhere; nil in mode: route.
	// Of what is translated a bridge tells nothing.
	Looped func() bool
}

// State is what is known beside the packet path's counters.
type State struct {
	Ready            bool
	Degraded         int                    // reasons
	PortUp           [clients.NumPorts]bool // by clients.LAN, WAN and Host
	Processes        []Process
	Sessions         map[sessions.State]int
	Bound, Connected int // clients
}

// Process is one of gatewayd's own.
type Process struct {
	Name     string
	Up       bool
	Restarts int
}

// Metrics answers scrapes.
type Metrics struct {
	opt         Options
	registry    *prometheus.Registry
	checkpoints prometheus.Histogram
	failures    prometheus.Counter
}

// New makes Metrics of their sources.
func New(opt Options) *Metrics {
	m := &Metrics{
		opt:      opt,
		registry: prometheus.NewRegistry(),
		checkpoints: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "store_checkpoint_seconds", Help: "Time that writing what all running sessions have used took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "store_checkpoint_failures_total", Help: "Checkpoints that were not acknowledged as written.",
		}),
	}
	m.registry.MustRegister(m, m.checkpoints, m.failures)
	return m
}

// Checkpoint counts one and how long it took; err is why it failed.
func (m *Metrics) Checkpoint(took time.Duration, err error) {
	m.checkpoints.Observe(took.Seconds())
	if err != nil {
		m.failures.Inc()
	}
}

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// Describe implements prometheus.Collector. It says nothing in advance, because
// nothing can be asked yet.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	s := sink{to}
	s.state(m.opt.State())
	h := m.opt.Header
	s.counters(h.Counters(), m.opt.Reasons)
	s.gauge(lineLimit, float64(h.TotalUp.Load()), ways[0])
	s.gauge(lineLimit, float64(h.TotalDown.Load()), ways[1])
	if m.opt.Looped != nil {
		s.flag(looped, m.opt.Looped())
		s.count(loops, h.Loops())
	} else {
		mappings, flows := h.Translations()
		s.gauge(natMappings, float64(mappings))
		s.gauge(natFlows, float64(flows))
		s.gauge(natFlowsMax, float64(m.opt.Flows))
	}
	s.gauge(clientsMax, float64(m.opt.Clients))
	s.count(unseen, h.LostSightings())
	s.gauge(build, 1, m.opt.Version, runtime.Version())
}

var portNames = [clients.NumPorts]string{clients.LAN: "lan", clients.WAN: "wan", clients.Host: "host"}

// ways are the directions of what waits for a client's rate, as the table has them.
var ways = [2]string{"up", "down"}

// sink takes one scrape's metrics.
type sink struct{ to chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) count(d *prometheus.Desc, v uint64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s sink) flag(d *prometheus.Desc, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	s.gauge(d, v, labels...)
}

func (s sink) counters(c clients.Counters, reasons []string) {
	for i, p := range c.Ports {
		port := portNames[i]
		s.count(packets, p.RxPackets, port, "rx")
		s.count(packets, p.TxPackets, port, "tx")
		s.count(bytes, p.RxBytes, port, "rx")
		s.count(bytes, p.TxBytes, port, "tx")
		s.count(refused, p.Refused, port)
		s.count(overflow, p.Overflow, port)
		s.count(truncated, p.Truncated, port)
	}
	for i := 2; i < len(reasons); i++ {
		s.count(drops, c.Drops[i], reasons[i])
		s.count(dropBytes, c.DropBytes[i], reasons[i])
	}
	t := &c.Totals
	s.count(billedPackets, t.BilledPackets)
	s.count(billedBytes, t.BilledBytes)
	s.count(exemptPackets, t.ExemptPackets)
	s.count(exemptBytes, t.ExemptBytes)
	s.count(ownPackets, t.OwnPackets)
	s.count(ownBytes, t.OwnBytes)
	s.count(addedPackets, t.AddedPackets)
	s.count(addedBytes, t.AddedBytes)
	s.count(hairpinPackets, t.HairpinPackets)
	s.count(hairpinBytes, t.HairpinBytes)
	s.count(localPackets, t.LocalPackets)
	s.count(localBytes, t.LocalBytes)
	s.gauge(queuedPackets, float64(t.QueuedPackets))
	s.gauge(queuedBytes, float64(t.QueuedBytes))
	s.histogram(batch, &c.Batches)
	for i, way := range ways {
		s.histogram(queueDelay, &c.Delays[i], way)
		s.histogram(dropDelay, &c.Given[i], way)
		s.count(marked, c.Marked[i], way)
	}
}

func (s sink) histogram(d *prometheus.Desc, h *clients.Histogram, labels ...string) {
	upTo, sum := make(map[float64]uint64, len(clients.Bounds)), uint64(0)
	for i, bound := range clients.Bounds {
		sum += h.Buckets[i]
		upTo[bound.Seconds()] = sum
	}
	sum += h.Buckets[len(clients.Bounds)]
	s.to <- prometheus.MustNewConstHistogram(d, sum, time.Duration(h.Nanos).Seconds(), upTo, labels...)
}

func (s sink) state(now State) {
	s.flag(ready, now.Ready)
	s.gauge(degraded, float64(now.Degraded))
	for i, up := range now.PortUp {
		s.flag(portUp, up, portNames[i])
	}
	for _, p := range now.Processes {
		s.flag(running, p.Up, p.Name)
		s.count(restarts, uint64(p.Restarts), p.Name)
	}
	for state, n := range now.Sessions {
		s.gauge(sessionsIn, float64(n), string(state))
	}
	s.gauge(clientsIn, float64(now.Bound), "bound")
	s.gauge(clientsIn, float64(now.Connected), "connected")
}
