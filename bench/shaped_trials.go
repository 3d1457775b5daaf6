package main

import "fmt"

// wanted are the bounds between which gatewayd's number should be; 0 is none.
type wanted struct {
	Least float64 `json:"at_least,omitempty"`
	Most  float64 `json:"at_most,omitempty"`
}

// met says whether a number is as wanted.
func (w wanted) met(v float64) bool {
	return (w.Least == 0 || v >= w.Least) && (w.Most == 0 || v <= w.Most)
}

func (w wanted) String() string {
	switch {
	case w.Least == 0:
		return "≤ " + short(w.Most)
	case w.Most == 0:
		return "≥ " + short(w.Least)
	}
	return short(w.Least) + " to " + short(w.Most)
}

// What plans should come to.
var (
	wholePlan = &wanted{97, 100.5}
	fewLate   = &wanted{0, 15} // ms that the 99th percentile of pings takes longer
	midLate   = &wanted{0, 5}  // likewise, the 50th
	slowLate  = &wanted{0, 40} // the 99th, at 1 Mbit/s
)

// shapedTrials are those of clients that are held to plans.
func shapedTrials(congestion string) (list []trial) {
	for _, s := range []setting{shaped, shapedPlain} {
		for _, rate := range []bits{1, 5, 20, 100, 500, 1000} {
			for _, flows := range []int{1, 32} {
				for _, down := range []bool{true, false} {
					list = append(list, planTrial(s, rate*mbit, flows, down, congestion))
				}
			}
		}
	}
	list = append(list, recutTrials(congestion)...)
	list = append(list, unlimitedTrials()...)
	list = append(list, sharedTrials(congestion)...)
	return append(list, crowdTrials()...)
}

// planTrial fills one client's plan.
func planTrial(s setting, rate bits, flows int, down bool, congestion string) trial {
	way, direction := "up", "up"
	if down {
		way, direction = "down", "down"
	}
	mbits := int64(rate / mbit)
	t := trial{
		key:     fmt.Sprintf("plan_%s_%d_%d", way, mbits, flows),
		title:   fmt.Sprintf("%d Mbit/s %s, %s", mbits, direction, many(flows, "flow")),
		setting: s, answers: true, shapes: true, plan: &plan{rate: rate},
		rare:    s.plain || !down || mbits != 1 && mbits != 20 && mbits != 500,
		quick:   !s.plain && down && mbits == 20 && flows == 32,
		measure: fill{from: flowsOf(flows), down: down, congestion: congestion, rate: rate}.saturate,
	}
	if s.plain {
		t.key, t.title = t.key+"_plain", t.title+", offloads off"
	}
	t.figures = planFigures(t.title, rate)
	return t
}

// planFigures are those of a plan that is filled.
func planFigures(title string, rate bits) []figure {
	mid, few := midLate, fewLate
	if rate < 5*mbit {
		mid, few = nil, slowLate
	}
	return []figure{
		{key: ofPlan, title: title + ": delivered", unit: "% of plan", wanted: wholePlan},
		{key: pingP50, title: title + ": ping later, p50", unit: "ms", less: true, wanted: mid},
		{key: pingP99, title: title + ": ping later, p99", unit: "ms", less: true, wanted: few},
		{key: pingLost, title: title + ": pings lost", unit: "%", less: true},
	}
}

// recutTrials change what is filled: the plan, and what senders understand.
func recutTrials(congestion string) []trial {
	const rate = 20 * mbit
	title := "20 Mbit/s down, 32 flows, with ECN"
	ecn := fill{from: flowsOf(32), down: true, congestion: congestion, rate: rate, marks: true}
	recut := fill{from: flowsOf(32), down: true, congestion: congestion, rate: rate}
	return []trial{
		{key: "plan_ecn", title: title, setting: shaped, answers: true, shapes: true, rare: true, plan: &plan{rate: rate}, measure: ecn.saturate,
			figures: append(planFigures(title, rate), figure{key: marked, title: title + ": marked", unit: "packets"})},
		{key: "plan_recut", title: "20 and 80 Mbit/s down in turn, 32 flows", setting: shaped, answers: true, shapes: true, rare: true, plan: &plan{rate: rate}, measure: recut.recut,
			figures: []figure{{key: ofPlan, title: "20 and 80 Mbit/s down in turn, 32 flows: delivered", unit: "% of plan"}}},
	}
}

// unlimitedTrials are what a plan costs that is never reached.
func unlimitedTrials() (list []trial) {
	for _, one := range []struct {
		key, title string
		rate       bits
	}{{"unlimited_64", "UDP 64 bytes, no limit", 0}, {"planned_64", "UDP 64 bytes, a plan of 100 Gbit/s", wide}} {
		traffic := func() stream { return single(smallFrame) }
		list = append(list, trial{key: one.key, title: one.title, setting: shaped, shapes: true, spread: true,
			plan: &plan{rate: one.rate}, traffic: traffic, measure: flood(traffic), figures: []figure{
				{key: delivered, title: one.title + ", delivered", unit: "Mpps"},
				{key: ownPacket, title: one.title + ", gatewayd's own CPU", unit: "ns/packet", less: true},
			}})
	}
	return list
}

// sharedTrials are of clients without a limit of their own that share a total.
func sharedTrials(congestion string) []trial {
	const thirsty = 100 // flows of one client
	each := make([]int, shared.clients)
	for i := range each {
		each[i] = i
	}
	last := shared.clients - 1
	weighted := plan{weights: []int{1, 2, 4}}
	share := func(key, title string, p plan, from []int, pinger int, quick bool, figures ...figure) trial {
		x := fill{from: from, down: true, congestion: congestion, rate: shared.total, pinger: pinger}
		figures = append([]figure{{key: ofPlan, title: title + ": delivered", unit: "% of total", wanted: wholePlan}}, figures...)
		return trial{key: key, title: title, setting: shared, answers: true, shapes: true, quick: quick, plan: &p,
			measure: x.share(p, len(from) > shared.clients), figures: figures}
	}
	greedy := append(append([]int{}, each...), flowsOf(thirsty-1)...)
	equal, weights, idle := "32 clients, 1 flow each", "32 clients that weigh 1, 2 and 4", "31 clients beside one that asks"
	one := "a client with 100 flows beside 31"
	return []trial{
		share("shared_equal", equal, plan{}, each, 0, true,
			figure{key: jainOf, title: equal + ": Jain's index", unit: "", wanted: &wanted{0.99, 0}}),
		share("shared_weights", weights, weighted, each, 0, false,
			figure{key: offShare, title: weights + ": furthest from its share", unit: "%", less: true, wanted: &wanted{0, 5}},
			figure{key: jainOf, title: weights + ": Jain's index by weight", unit: ""}),
		share("shared_flows", one, plan{}, greedy, 1, false,
			figure{key: heavyOver, title: one + ": has of what they have", unit: "times", less: true, wanted: &wanted{0, 1.02}},
			figure{key: jainOf, title: one + ": Jain's index", unit: "", wanted: &wanted{0.99, 0}}),
		share("shared_query", idle, plan{}, each[:last], last, false,
			figure{key: pingP50, title: idle + ": answered later, p50", unit: "ms", less: true, wanted: midLate},
			figure{key: pingP99, title: idle + ": answered later, p99", unit: "ms", less: true, wanted: fewLate},
			figure{key: pingLost, title: idle + ": not answered", unit: "%", less: true}),
	}
}

// crowdTrials are the same sum in few plans and in many.
func crowdTrials() []trial {
	few := func(key string, s setting) trial {
		return trial{key: key, title: s.title, setting: s, shapes: true, rare: true, spread: true,
			measure: overfed(s.clients, s.rate), figures: []figure{
				{key: ofPlan, title: s.title + ": delivered", unit: "% of plans", wanted: &wanted{97, 103}},
				{key: offPlan, title: s.title + ": furthest from its plan", unit: "%", less: true, wanted: &wanted{0, 3}},
				{key: perCPU, title: s.title + ", per CPU-second", unit: "M packets"},
				{key: ownPacket, title: s.title + ", gatewayd's own CPU", unit: "ns/packet", less: true},
			}}
	}
	return []trial{few("plans_10", fewPlans), few("plans_10000", manyPlans)}
}

// many is a number of things.
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
