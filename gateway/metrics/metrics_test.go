package metrics

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"gatewayd/forwarder/clients"
	"gatewayd/sessions"
)

// sample is a Metrics of a table in which every counter has a value of its own, with other
// options.
func sample(t *testing.T, change ...func(*Options)) *Metrics {
	t.Helper()
	table, err := clients.Format(make([]byte, clients.Size(clients.Shape{Slots: 2})), clients.Shape{Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	h := table.Header()
	h.Worker[0].Mappings.Store(17)
	h.Worker[0].Flows.Store(18)
	h.Worker[0].Lost.Store(19)
	c := clients.Counters{
		Totals: clients.Totals{BilledBytes: 1, BilledPackets: 2, ExemptBytes: 3, ExemptPackets: 4, OwnBytes: 5, OwnPackets: 6,
			AddedBytes: 7, AddedPackets: 8, QueuedBytes: 9, QueuedPackets: 10, HairpinBytes: 22, HairpinPackets: 23, LocalBytes: 24, LocalPackets: 25},
	}
	for i := range c.Ports {
		n := uint64(100 * (i + 1))
		c.Ports[i] = clients.PortCounters{RxPackets: n + 1, RxBytes: n + 2, TxPackets: n + 3, TxBytes: n + 4, Refused: n + 5, Overflow: n + 6, Truncated: n + 7}
	}
	c.Drops[2], c.DropBytes[2], c.Drops[3], c.DropBytes[3] = 11, 12, 13, 1<<53
	for _, d := range []time.Duration{5 * time.Microsecond, 30 * time.Microsecond, 30 * time.Microsecond, 2 * time.Second} {
		c.Batches.Observe(d)
	}
	for _, d := range []time.Duration{4 * time.Millisecond, 30 * time.Millisecond} {
		c.Delays[0].Observe(d)
		c.Delays[1].Observe(10 * d)
	}
	c.Given[1].Observe(150 * time.Millisecond)
	c.Marked = [2]uint64{24, 25}
	h.TotalUp.Store(26)
	h.TotalDown.Store(27)
	clients.NewPublisher(&h.Worker[0]).Publish(&c)
	h.Worker[0].Loops.Store(28)
	opt := Options{
		Header: h, Reasons: []string{"kept", "taken", "malformed", "no_grant"}, Version: "1.2", Clients: 4096, Flows: 262144,
		State: func() State {
			return State{Ready: true, Degraded: 2, PortUp: [clients.NumPorts]bool{true, false, true},
				Processes: []Process{{"keeper", true, 0}, {"store", false, 14}},
				Sessions:  map[sessions.State]int{sessions.Running: 15, sessions.Expired: 16}, Bound: 20, Connected: 21}
		},
	}
	for _, c := range change {
		c(&opt)
	}
	m := New(opt)
	m.Checkpoint(3*time.Millisecond, nil)
	m.Checkpoint(3*time.Second, errors.New("disk full"))
	return m
}

// The names are those of the contract, and stay.
const scrape = `
gateway_packets_total{direction="rx",port="lan"} 101
gateway_bytes_total{direction="rx",port="lan"} 102
gateway_packets_total{direction="tx",port="lan"} 103
gateway_bytes_total{direction="tx",port="lan"} 104
gateway_packets_total{direction="rx",port="wan"} 201
gateway_bytes_total{direction="tx",port="wan"} 204
gateway_packets_total{direction="tx",port="host"} 303
gateway_bytes_total{direction="rx",port="host"} 302
gateway_tx_refused_packets_total{port="lan"} 105
gateway_rx_lost_packets_total{port="wan"} 206
gateway_rx_truncated_frames_total{port="host"} 307
gateway_drops_total{reason="malformed"} 11
gateway_drop_bytes_total{reason="malformed"} 12
gateway_drops_total{reason="no_grant"} 13
gateway_drop_bytes_total{reason="no_grant"} 9.007199254740992e+15
gateway_billed_bytes_total 1
gateway_billed_packets_total 2
gateway_exempt_bytes_total 3
gateway_exempt_packets_total 4
gateway_own_bytes_total 5
gateway_own_packets_total 6
gateway_added_bytes_total 7
gateway_added_packets_total 8
gateway_hairpin_bytes_total 22
gateway_hairpin_packets_total 23
gateway_local_bytes_total 24
gateway_local_packets_total 25
gateway_queued_bytes 9
gateway_queued_packets 10
gateway_batch_seconds_bucket{le="1e-05"} 1
gateway_batch_seconds_bucket{le="2.5e-05"} 1
gateway_batch_seconds_bucket{le="5e-05"} 3
gateway_batch_seconds_bucket{le="1"} 3
gateway_batch_seconds_bucket{le="+Inf"} 4
gateway_batch_seconds_sum 2.000065
gateway_batch_seconds_count 4
gateway_queue_delay_seconds_bucket{direction="up",le="0.005"} 1
gateway_queue_delay_seconds_bucket{direction="up",le="0.05"} 2
gateway_queue_delay_seconds_sum{direction="up"} 0.034
gateway_queue_delay_seconds_bucket{direction="down",le="0.025"} 0
gateway_queue_delay_seconds_bucket{direction="down",le="0.05"} 1
gateway_queue_delay_seconds_bucket{direction="down",le="+Inf"} 2
gateway_queue_delay_seconds_count{direction="down"} 2
gateway_queue_drop_delay_seconds_count{direction="up"} 0
gateway_queue_drop_delay_seconds_bucket{direction="down",le="0.25"} 1
gateway_queue_drop_delay_seconds_sum{direction="down"} 0.15
gateway_marked_packets_total{direction="up"} 24
gateway_marked_packets_total{direction="down"} 25
gateway_bandwidth_limit_bytes_per_second{direction="up"} 26
gateway_bandwidth_limit_bytes_per_second{direction="down"} 27
gateway_store_checkpoint_seconds_bucket{le="0.0025"} 0
gateway_store_checkpoint_seconds_bucket{le="0.005"} 1
gateway_store_checkpoint_seconds_count 2
gateway_store_checkpoint_failures_total 1
gateway_sessions{state="running"} 15
gateway_sessions{state="expired"} 16
gateway_clients{state="bound"} 20
gateway_clients{state="connected"} 21
gateway_clients_limit 4096
gateway_nat_mappings 17
gateway_nat_flows 18
gateway_nat_flows_limit 262144
gateway_sightings_lost_total 19
gateway_ready 1
gateway_degraded 2
gateway_port_up{port="lan"} 1
gateway_port_up{port="wan"} 0
gateway_process_up{process="store"} 0
gateway_process_up{process="keeper"} 1
gateway_process_restarts_total{process="store"} 14
`

func TestAScrapeSaysEverything(t *testing.T) {
	m := sample(t)
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != http.StatusOK || !strings.HasPrefix(answer.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d, %v", answer.Code, answer.Header())
	}
	got := "\n" + answer.Body.String()
	for _, line := range strings.Split(strings.TrimSpace(scrape), "\n") {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if !strings.Contains(got, "\ngateway_build_info{goversion=\"go1.") || !strings.Contains(got, "version=\"1.2\"} 1\n") {
		t.Error("no build_info")
	}
	if t.Failed() {
		t.Log(got)
	}
	if problems, err := promlint.New(strings.NewReader(got)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A bridge tells of loops in place of what is translated.
func TestAScrapeOfABridge(t *testing.T) {
	const translated, bridged = "\ngateway_nat_", "\ngateway_bridge_"
	for name, row := range map[string]struct {
		looped     func() bool
		want, none string
	}{
		"a route":         {nil, translated, bridged},
		"a bridge":        {func() bool { return false }, "\ngateway_bridge_looped 0\n", translated},
		"a looped bridge": {func() bool { return true }, "\ngateway_bridge_looped 1\n", translated},
		"its loops":       {func() bool { return true }, "\ngateway_bridge_loops_total 28\n", translated},
	} {
		answer := httptest.NewRecorder()
		sample(t, func(o *Options) { o.Looped = row.looped }).Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		got := answer.Body.String()
		if !strings.Contains(got, row.want) || strings.Contains(got, row.none) {
			t.Errorf("%s: %s", name, got)
		}
		if problems, err := promlint.New(strings.NewReader(got)).Lint(); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
	}
}

func TestWhatIsNoScrapeIsRefused(t *testing.T) {
	h := sample(t).Handler()
	for _, row := range []struct {
		method, path string
		want         int
	}{{"GET", "/", 404}, {"GET", "/metrics/x", 404}, {"POST", "/metrics", 405}, {"GET", "/debug/pprof/", 404}, {"HEAD", "/metrics", 200}} {
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest(row.method, row.path, nil))
		if answer.Code != row.want {
			t.Errorf("%s %s: %d, want %d", row.method, row.path, answer.Code, row.want)
		}
	}
}

// Whoever opens more connections than are served waits until one ends.
func TestConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := sample(t).NewServer(slog.New(slog.DiscardHandler))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(Limit(l)) }()
	defer func() { server.Close(); <-ended }()
	var idle []net.Conn
	ask := func() (net.Conn, chan error) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, 15))
			}
			answered <- err
		}()
		return c, answered
	}
	for range maxConns {
		c, answered := ask()
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	c, answered := ask()
	defer c.Close()
	select {
	case err := <-answered:
		t.Fatalf("one more than %d is answered: %v", maxConns, err)
	case <-time.After(100 * time.Millisecond):
	}
	for _, c := range idle {
		c.Close()
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
