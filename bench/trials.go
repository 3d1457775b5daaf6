package main

import (
	"context"
	"time"
)

// A figure is one number that a trial gives on each side.
type figure struct {
	key, title, unit string
	less             bool               // less is better
	targets          map[string]target  // of gatewayd's beside a kernel's
	wanted           *wanted            // what it should be by itself
	usual            map[string]float64 // a kernel's, on this kind of machine; absent: not known
}

// A target is what gatewayd's number is wanted to be beside the kernel's.
type target struct {
	Bound float64 `json:"bound"`
	Kind  string  `json:"kind"` // atLeast, atMost or plus
}

// Kinds of targets.
const (
	atLeast = "ratio_at_least"
	atMost  = "ratio_at_most"
	plus    = "difference_at_most"
)

// An outcome is what one run of a trial gave.
type outcome struct {
	values map[string]float64 // by figure
	wire   int                // layer-3 length of all packets, bytes; 0: they differ
	sentBy []uint64           // what each client sent, all of which must arrive, layer-3 bytes; nil: not known

	gotUp, gotDown []uint64 // what arrived of each client and for it, layer-3 bytes; nil: not counted
}

// terms are how one run is made.
type terms struct {
	warm, lasts time.Duration                           // of a flood before it is measured, and longer until each of its flows was sent once; of what is measured
	offer       offer                                   // of a flood
	plan        func(ctx context.Context, p plan) error // gives the side's clients another plan meanwhile
	drain       func(ctx context.Context) error         // has what still waits in the side leave
}

// A trial is one thing done on every side of a setting.
type trial struct {
	key, title string
	setting    setting
	stock      bool          // on the kernel with stock HTB, too
	quick      bool          // a quick run has it
	answers    bool          // packets come down too
	fresh      bool          // gatewayd, too, begins with no flow known
	shapes     bool          // clients are held to plans: made once, and longer than others
	rare       bool          // only a run of all that is shaped has it
	plan       *plan         // that the clients have; nil: their setting's
	below      bool          // below saturation: not one packet may get lost
	spread     bool          // the sender has its core to itself
	traffic    func() stream // of a flood, whose offer is chosen for each side; nil: it is none
	measure    func(ctx context.Context, l *lab, how terms) (outcome, error)
	figures    []figure
}

// given is the plan that the clients have.
func (t trial) given() plan {
	if t.plan != nil {
		return *t.plan
	}
	return plan{rate: t.setting.rate}
}

// against are targets against both kernels; 0 is none.
func against(kind string, withHotspot, withNAT float64) map[string]target {
	t := map[string]target{}
	if withHotspot != 0 {
		t[hotspot] = target{withHotspot, kind}
	}
	if withNAT != 0 {
		t[natOnly] = target{withNAT, kind}
	}
	return t
}

// usually are the kernels' own figures seen on this kind of machine; 0 is not known.
func usually(ofHotspot, ofNAT float64) map[string]float64 {
	u := map[string]float64{}
	if ofHotspot != 0 {
		u[hotspot] = ofHotspot
	}
	if ofNAT != 0 {
		u[natOnly] = ofNAT
	}
	return u
}

// Keys that more than one trial has: figures of what a flood, bulk or pings give.
const (
	delivered = "delivered"
	perCPU    = "per_cpu"
	goodput   = "goodput"
	p50, p99  = "p50", "p99"
	arrivedOf = "arrived"
	perSecond = "per_second"
	again     = "sent_again" // beside the figures
)

// trials are all that is measured, in order.
func trials(congestion string) []trial {
	tcp := func(key, title string, s setting, flows int, down, quick bool, targets map[string]target, usual map[string]float64) trial {
		return trial{key: key, title: title, setting: s, stock: s.key == one.key, quick: quick, answers: true, measure: bulk(flows, down, congestion), figures: []figure{
			{key: goodput, title: title, unit: "Gbit/s", targets: targets, usual: usual},
			{key: perCPU, title: title + ", per CPU-second", unit: "Gbit"},
		}}
	}
	udp := func(key, title string, s setting, quick bool, traffic func() stream, targets, cpu map[string]target, usual map[string]float64) trial {
		return trial{key: key, title: title, setting: s, stock: key == "udp_64", quick: quick, spread: true, traffic: traffic, measure: flood(traffic), figures: []figure{
			{key: delivered, title: title + ", delivered", unit: "Mpps", targets: targets, usual: usual},
			{key: perCPU, title: title + ", per CPU-second", unit: "M packets", targets: cpu},
		}}
	}
	frame := func(size int) func() stream { return func() stream { return single(size) } }
	of := func(clients, mappings, remotes int) func() stream {
		return func() stream {
			s := stream{clients: clients, mappings: mappings, remotes: remotes, first: manyFrom, port: discard, size: smallFrame}
			if mappings == 1 {
				s.first = newPort()
			}
			return s
		}
	}
	opened := func(key, title string, measure func(context.Context, *lab, terms) (outcome, error)) trial {
		return trial{key: key, title: title, setting: some, quick: true, answers: true, fresh: true, spread: true, measure: measure, figures: []figure{
			{key: perSecond, title: title + ", answered", unit: "1000/s", targets: against(atLeast, 0, 0.5)},
		}}
	}
	asRoute := map[string]target{routed: {1, atLeast}}
	return append([]trial{
		tcp("tcp_up_1", "TCP up, 1 flow", one, 1, false, true, against(atLeast, 0.8, 0.6), usually(8.9, 12.8)),
		tcp("tcp_down_1", "TCP down, 1 flow", one, 1, true, true, against(atLeast, 0.8, 0.6), usually(8.9, 12.8)),
		tcp("tcp_up_8", "TCP up, 8 flows", one, 8, false, true, against(atLeast, 0.95, 0), usually(9.3, 36)),
		tcp("tcp_down_8", "TCP down, 8 flows", one, 8, true, true, against(atLeast, 0.95, 0), usually(9.3, 36)),
		udp("udp_64", "UDP 64 bytes", one, true, frame(smallFrame), against(atLeast, 1.7, 1), against(atLeast, 0.95, 0.6), usually(0.40, 0.68)),
		udp("udp_512", "UDP 512 bytes", one, false, frame(508), nil, nil, nil),
		udp("udp_1400", "UDP 1400 bytes", one, false, frame(1396), nil, nil, nil),
		{key: "udp_even", title: "UDP 64 bytes, 100,000/s", setting: one, below: true,
			measure: paced(of(1, 1, 1), 100_000), figures: []figure{
				{key: arrivedOf, title: "UDP 64 bytes, 100,000/s: arrived", unit: "of sent"},
				{key: perCPU, title: "UDP 64 bytes, 100,000/s, per CPU-second", unit: "M packets"},
			}},
		{key: "rtt_idle", title: "round trip, idle", setting: one, quick: true, answers: true, measure: roundTrips, figures: []figure{
			{key: p50, title: "round trip, idle, p50", unit: "µs", less: true, targets: against(plus, 60, 60)},
			{key: p99, title: "round trip, idle, p99", unit: "µs", less: true},
		}},
		{key: "rtt_loaded", title: "round trip under TCP down, 1 flow", setting: one, quick: true, answers: true, measure: loaded(congestion), figures: []figure{
			{key: p50, title: "round trip under bulk, p50", unit: "µs", less: true},
			{key: p99, title: "round trip under bulk, p99", unit: "µs", less: true, targets: against(atMost, 2, 0)},
		}},

		tcp("plain_up_1", "TCP up, 1 flow, offloads off", plain, 1, false, true, against(atLeast, 0.9, 0), nil),
		tcp("plain_down_1", "TCP down, 1 flow, offloads off", plain, 1, true, false, against(atLeast, 0.9, 0), nil),
		tcp("plain_up_8", "TCP up, 8 flows, offloads off", plain, 8, false, false, against(atLeast, 0.9, 0), nil),
		tcp("plain_down_8", "TCP down, 8 flows, offloads off", plain, 8, true, false, against(atLeast, 0.9, 0), nil),

		udp("flows_1", "UDP 64 bytes, 1 flow", some, true, of(1, 1, 1), nil, nil, nil),
		udp("flows_1000", "UDP 64 bytes, 1,000 flows", some, false, of(32, 100, 10), nil, nil, nil),
		udp("flows_100000", "UDP 64 bytes, 100,000 flows", some, true, of(32, 10_000, 10), nil, nil, nil),
		opened("new_mappings", "50,000 new UDP mappings", newMappings),
		opened("new_remotes", "50 new remotes on 1,000 mappings", newRemotes),

		udp("clients_1", "UDP 64 bytes, 1 client", crowd, true, of(1, 1, 1), nil, nil, nil),
		udp("clients_1_wide", "UDP 64 bytes, 1 client, 10,000 flows", crowd, false, of(1, 10_000, 1), nil, nil, nil),
		udp("clients_100", "UDP 64 bytes, 100 clients", crowd, false, of(100, 100, 1), nil, nil, nil),
		udp("clients_10000", "UDP 64 bytes, 10,000 clients", crowd, true, of(10_000, 10_000, 1), against(atLeast, 2.4, 1.1), nil, usually(0.27, 0)),
		{key: "clients_even", title: "UDP 64 bytes, 10,000 clients, 50,000/s", setting: crowd, quick: true, below: true,
			measure: paced(of(10_000, 10_000, 1), 50_000), figures: []figure{
				{key: arrivedOf, title: "UDP 64 bytes, 10,000 clients, 50,000/s: arrived", unit: "of sent"},
				{key: perCPU, title: "UDP 64 bytes, 10,000 clients, 50,000/s, per CPU-second", unit: "M packets"},
			}},

		tcp("bridge_up_1", "TCP up, 1 flow, bridge", bridged, 1, false, true, asRoute, nil),
		tcp("bridge_down_1", "TCP down, 1 flow, bridge", bridged, 1, true, true, asRoute, nil),
		tcp("bridge_up_8", "TCP up, 8 flows, bridge", bridged, 8, false, false, asRoute, nil),
		tcp("bridge_down_8", "TCP down, 8 flows, bridge", bridged, 8, true, false, asRoute, nil),
		udp("bridge_64", "UDP 64 bytes, bridge", bridged, true, frame(smallFrame), asRoute, nil, nil),
	}, shapedTrials(congestion)...)
}
