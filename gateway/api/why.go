package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

// Why is what decides about a device's packets, step by step in the order of the
// packet path.
type Why struct {
	Now     time.Time        `json:"now" doc:"when all this was seen"`
	Verdict string           `json:"verdict" doc:"in a sentence, whether it is online, why not, and what holds it back"`
	Online  bool             `json:"online" doc:"its packets pass, as far as the gateway decides"`
	Do      string           `json:"do" doc:"the next thing to do; empty: nothing is needed"`
	Device  *sessions.Device `json:"device"` // null: nobody is known by D
	Steps   []WhyStep        `json:"steps" nullable:"false"`
}

// WhyStep is one step of a packet's way.
type WhyStep struct {
	Step  string     `json:"step" doc:"its name"`
	Path  []string   `json:"path" nullable:"false" doc:"the forwarder's own names of what is decided there"`
	State string     `json:"state" enum:"ok,holds,stops,unasked" doc:"passes; passes, but something holds it back; ends here; a step before decides"`
	Seen  string     `json:"seen" doc:"what was seen, in words"`
	At    *time.Time `json:"at" doc:"when; null: now"`
	Do    string     `json:"do" doc:"what mends it; empty: nothing is needed"`
	Drops []WhyDrop  `json:"drops" nullable:"false" doc:"what was dropped of it here since it has its place in the table"`
}

// WhyDrop is what was dropped for one reason.
type WhyDrop struct {
	Reason  string    `json:"reason" doc:"as in the status and in the metrics" example:"no_grant"`
	Words   string    `json:"words"`
	Packets uint64    `json:"packets"`
	Last    time.Time `json:"last"`
}

// The states of a step.
const (
	WhyOK      = "ok"
	WhyHolds   = "holds"
	WhyStops   = "stops"
	WhyUnasked = "unasked"
)

func registerWhy(api huma.API, why func(context.Context, string) (Why, error)) {
	type answer struct{ Body Why }
	op := operation("get-why", http.MethodGet, "/devices/{D}/why", "Why a device is or is not online, and what holds its speed", http.StatusNotFound)
	op.Description = "A MAC or an address that was never seen is answered, too."
	huma.Register(api, op, func(ctx context.Context, in *DeviceKey) (*answer, error) {
		w, err := why(ctx, in.D)
		if err != nil {
			return nil, refused(err, "{D}", in.D)
		}
		return &answer{w}, nil
	})
}
