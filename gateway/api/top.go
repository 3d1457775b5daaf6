package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

// Top is what passes now, and for whom.
type Top struct {
	Ready    bool             `json:"ready" doc:"as in the status"`
	Degraded []string         `json:"degraded" nullable:"false" doc:"as in the status"`
	Traffic  sessions.Traffic `json:"traffic"`
}

// TopQuery asks for the first clients in an order.
type TopQuery struct {
	Sort  sessions.TrafficOrder `query:"sort" enum:"down,up,delay,drops,remaining,name" default:"down" doc:"who comes first: who receives most, sends most, waits longest, loses most, whose session can end first, or by hostname and address"`
	Limit int                   `query:"limit" minimum:"1" maximum:"1000" default:"20" doc:"how many clients at most"`
}

func registerTop(api huma.API, core Core, health func() (bool, []string)) {
	type answer struct{ Body Top }
	op := operation("get-top", http.MethodGet, "/top", "What clients send and receive now")
	op.Description = "Rates are of the time between two looks, which all who ask share; over_ms says how long it was, 250 ms at least. " +
		"The first who asks after 10 s waits 1 s for the answer."
	huma.Register(api, op, func(ctx context.Context, in *TopQuery) (*answer, error) {
		traffic, err := core.Traffic(ctx, in.Sort, in.Limit)
		if err != nil {
			return nil, refused(err)
		}
		t := Top{Traffic: traffic}
		if t.Ready, t.Degraded = health(); t.Degraded == nil {
			t.Degraded = []string{}
		}
		if t.Traffic.Items == nil {
			t.Traffic.Items = []sessions.ClientTraffic{}
		}
		return &answer{t}, nil
	})
}
