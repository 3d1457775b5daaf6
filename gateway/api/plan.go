package api

import (
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"gatewayd/sessions"
)

var (
	typeWords  = []sessions.Type{sessions.TypeTime, sessions.TypeData, sessions.TypeTimeOrData}
	stateWords = []sessions.State{sessions.Available, sessions.Running, sessions.Paused, sessions.Consumed, sessions.Expired}
)

// words returns the values as they stand in a document.
func words[T any](values []T) []any {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// NewSession is the body that gives a device a session.
type NewSession struct {
	Type           string  `json:"type" enum:"time,data,time_or_data"`
	TimeSecs       uint    `json:"time_secs,omitempty" maximum:"3153600000" doc:"seconds in all; types time and time_or_data"`
	DataMB         float64 `json:"data_mb,omitempty" minimum:"0" maximum:"1e12" doc:"megabytes in all; types data and time_or_data"`
	ExpDays        *uint   `json:"exp_days,omitempty" nullable:"true" maximum:"36500" doc:"it expires so many days after its first start and time_secs; 0 not for type data; absent or null: never"`
	DownMbits      int     `json:"down_mbits,omitempty" maximum:"1000000" doc:"whole megabits per second, at least 1 unless use_global_speed"`
	UpMbits        int     `json:"up_mbits,omitempty" maximum:"1000000" doc:"as down_mbits"`
	UseGlobalSpeed bool    `json:"use_global_speed,omitempty" doc:"the configured global speed instead of its own"`
	Weight         int     `json:"weight,omitempty" minimum:"1" maximum:"100" default:"1" doc:"its share of bandwidth.total beside other clients' weights"`
	ThrottleDown   int64   `json:"throttle_down_bits,omitempty" minimum:"0" maximum:"1000000000000" doc:"bits per second, at least 8000 and less than its speed, at which it goes on once it is used up, until the device has another session or it expires; 0 or absent: it is cut off"`
	ThrottleUp     int64   `json:"throttle_up_bits,omitempty" minimum:"0" maximum:"1000000000000" doc:"as throttle_down_bits: both or neither"`
}

func (n NewSession) plan() (sessions.Plan, error) {
	kind, err := sessions.ParseType(n.Type)
	return sessions.Plan{Type: kind, TimeSecs: n.TimeSecs, DataMB: n.DataMB, ExpDays: n.ExpDays,
		DownMbits: n.DownMbits, UpMbits: n.UpMbits, UseGlobalSpeed: n.UseGlobalSpeed, Weight: n.Weight,
		ThrottleDown: n.ThrottleDown, ThrottleUp: n.ThrottleUp}, err
}

// SessionChange is the body of a PATCH: what is absent stays as it is.
type SessionChange struct {
	TimeSecs       *uint    `json:"time_secs,omitempty" maximum:"3153600000" doc:"seconds in all"`
	DataMB         *float64 `json:"data_mb,omitempty" minimum:"0" maximum:"1e12" doc:"megabytes in all"`
	TimeCons       *uint    `json:"time_cons,omitempty" maximum:"3153600000" doc:"seconds consumed"`
	DataCons       *float64 `json:"data_cons,omitempty" minimum:"0" maximum:"1e12" doc:"megabytes consumed"`
	ExpDays        expiry   `json:"exp_days,omitempty" doc:"it expires so many days after its first start and time_secs; null: never"`
	DownMbits      *int     `json:"down_mbits,omitempty" maximum:"1000000" doc:"whole megabits per second"`
	UpMbits        *int     `json:"up_mbits,omitempty" maximum:"1000000" doc:"whole megabits per second"`
	UseGlobalSpeed *bool    `json:"use_global_speed,omitempty" doc:"the configured global speed instead of its own"`
	Weight         *int     `json:"weight,omitempty" minimum:"1" maximum:"100" doc:"its share of bandwidth.total beside other clients' weights; not of a provider's session"`
	ThrottleDown   *int64   `json:"throttle_down_bits,omitempty" minimum:"0" maximum:"1000000000000" doc:"bits per second at which it goes on once it is used up; 0: it is cut off; not of a provider's session"`
	ThrottleUp     *int64   `json:"throttle_up_bits,omitempty" minimum:"0" maximum:"1000000000000" doc:"as throttle_down_bits: both or neither"`
}

func (c SessionChange) change() sessions.Change {
	return sessions.Change{TimeSecs: c.TimeSecs, DataMB: c.DataMB, TimeCons: c.TimeCons, DataCons: c.DataCons,
		ExpDays: c.ExpDays.days, NeverExpires: c.ExpDays.never,
		DownMbits: c.DownMbits, UpMbits: c.UpMbits, UseGlobalSpeed: c.UseGlobalSpeed, Weight: c.Weight,
		ThrottleDown: c.ThrottleDown, ThrottleUp: c.ThrottleUp}
}

// expiry tells an absent number of days (the zero value) from null.
type expiry struct {
	days  *uint
	never bool
}

// UnmarshalJSON reads a number of days, or null.
func (e *expiry) UnmarshalJSON(text []byte) error {
	e.never = string(text) == "null"
	return json.Unmarshal(text, &e.days)
}

// Schema describes it to huma.
func (expiry) Schema(huma.Registry) *huma.Schema {
	least, most := 0.0, 36500.0
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Nullable: true, Minimum: &least, Maximum: &most}
}
