package sessions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"gatewayd/forwarder/clients"
)

// Type says what a session sells.
type Type uint8

// The types, with the numbers of the public API.
const (
	TypeTime       Type = 0 // seconds
	TypeData       Type = 1 // bytes
	TypeTimeOrData Type = 2 // both; it ends at whichever runs out first
)

var typeNames = [...]string{TypeTime: "time", TypeData: "data", TypeTimeOrData: "time_or_data"}

// String returns the type's name in JSON and on the command line.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("unknown type %d", uint8(t))
}

// ParseType reads a type's name; ErrBadPlan when there is no such type.
func ParseType(name string) (Type, error) {
	for t, n := range typeNames {
		if n == name {
			return Type(t), nil
		}
	}
	return 0, fmt.Errorf("%w: type %q: want time, data or time_or_data", ErrBadPlan, name)
}

// MarshalText writes the type's name.
func (t Type) MarshalText() ([]byte, error) {
	if int(t) >= len(typeNames) {
		return nil, fmt.Errorf("%w: %v", ErrBadPlan, t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads the type's name.
func (t *Type) UnmarshalText(b []byte) error {
	v, err := ParseType(string(b))
	if err == nil {
		*t = v
	}
	return err
}

func (t Type) hasTime() bool { return t != TypeData }
func (t Type) hasData() bool { return t != TypeTime }

// State says where a session is in its life.
type State string

// The states. A disconnected session with something left is available; a paused
// one is its device's, which counts as connected, and nothing passes.
const (
	Available State = "available"
	Running   State = "running"
	Paused    State = "paused"
	Consumed  State = "consumed"
	Expired   State = "expired"
)

// Plan is what a new session sells.
type Plan struct {
	Type           Type    `json:"type"`               // what it sells
	TimeSecs       uint    `json:"time_secs"`          // seconds; for time and time_or_data
	DataMB         float64 `json:"data_mb"`            // megabytes of 1,000,000 bytes; for data and time_or_data
	ExpDays        *uint   `json:"exp_days"`           // days of 24 h after the start and TimeSecs; nil: never; 0 not for data
	DownMbits      int     `json:"down_mbits"`         // megabits of 1,000,000 bits a second
	UpMbits        int     `json:"up_mbits"`           // likewise
	UseGlobalSpeed bool    `json:"use_global_speed"`   // the configured pair instead
	Weight         int     `json:"weight"`             // share of what all clients together may have, beside others', 1 to 100; 0: 1
	ThrottleDown   int64   `json:"throttle_down_bits"` // bits a second once it is used up, while nothing else is available; 0: it is cut off
	ThrottleUp     int64   `json:"throttle_up_bits"`   // likewise
}

// Change is what an update changes; nil leaves a field as it is.
type Change struct {
	TimeSecs       *uint    `json:"time_secs,omitempty"`          // seconds in all
	DataMB         *float64 `json:"data_mb,omitempty"`            // megabytes of 1,000,000 bytes in all
	TimeCons       *uint    `json:"time_cons,omitempty"`          // seconds consumed
	DataCons       *float64 `json:"data_cons,omitempty"`          // megabytes consumed
	ExpDays        *uint    `json:"exp_days,omitempty"`           // days of 24 h after start and TimeSecs
	NeverExpires   bool     `json:"-"`                            // ExpDays becomes nil; in JSON "exp_days": null
	DownMbits      *int     `json:"down_mbits,omitempty"`         // megabits of 1,000,000 bits a second
	UpMbits        *int     `json:"up_mbits,omitempty"`           // likewise
	UseGlobalSpeed *bool    `json:"use_global_speed,omitempty"`   // the configured pair in place of its own
	Weight         *int     `json:"weight,omitempty"`             // share of what all clients together may have, 1 to 100; local sessions only
	ThrottleDown   *int64   `json:"throttle_down_bits,omitempty"` // bits a second once it is used up; 0: it is cut off; local sessions only
	ThrottleUp     *int64   `json:"throttle_up_bits,omitempty"`   // likewise
}

// UnmarshalJSON reads a change strictly: an unknown name is an error, and
// "exp_days": null asks for a session that never expires.
func (c *Change) UnmarshalJSON(b []byte) error {
	type plain Change
	var p plain
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if v, ok := raw["exp_days"]; ok && string(v) == "null" {
		p.NeverExpires = true
	}
	*c = Change(p)
	return nil
}

// Bounds of a plan: far above what anybody sells, far below what overflows.
const (
	maxTimeSecs = 100 * 365 * 24 * 3600
	maxDataMB   = 1e12
	maxExpDays  = 36500
	maxMbits    = 1_000_000
	firstYear   = 1970 // of a start
	lastYear    = 2999
)

// Check says what is wrong with a plan; the error wraps ErrBadPlan.
func (p Plan) Check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrBadPlan, fmt.Sprintf(format, a...))
	}
	switch {
	case int(p.Type) >= len(typeNames):
		return bad("%v: want 0 (time), 1 (data) or 2 (time_or_data)", p.Type)
	case p.Type.hasTime() && p.TimeSecs == 0:
		return bad("time_secs is 0: a session of type %v needs at least 1 second", p.Type)
	case uint64(p.TimeSecs) > maxTimeSecs:
		return bad("time_secs %d is more than 100 years", p.TimeSecs)
	case math.IsNaN(p.DataMB) || p.DataMB < 0 || p.DataMB > maxDataMB:
		return bad("data_mb %v is not an amount: want 0.000001 to %.0f", p.DataMB, float64(maxDataMB))
	case p.Type.hasData() && megabytes(p.DataMB) == 0:
		return bad("data_mb is %v: a session of type %v needs at least one byte", p.DataMB, p.Type)
	case p.ExpDays != nil && *p.ExpDays > maxExpDays:
		return bad("exp_days %d is more than 100 years", *p.ExpDays)
	case p.ExpDays != nil && *p.ExpDays == 0 && !p.Type.hasTime():
		return bad("exp_days is 0: a session of type data would expire as it starts")
	case !p.UseGlobalSpeed && (p.DownMbits < 1 || p.UpMbits < 1):
		return bad("speed is %d Mbit down, %d Mbit up: want at least 1 each, or the global speed", p.DownMbits, p.UpMbits)
	case p.DownMbits > maxMbits || p.UpMbits > maxMbits:
		return bad("speed is %d Mbit down, %d Mbit up: want at most %d", p.DownMbits, p.UpMbits, maxMbits)
	case p.Weight < 0 || p.Weight > clients.MaxWeight:
		return bad("weight is %d: want 1 to %d", p.Weight, clients.MaxWeight)
	}
	return p.checkThrottle()
}

// own returns the speeds of its own that a plan has. With the global ones they are
// ignored, and none is below 0.
func (p Plan) own() (down, up int) { return max(p.DownMbits, 0), max(p.UpMbits, 0) }

// weight returns a plan's weight as a record has it: 0 for that of most.
func (p Plan) weight() int {
	if p.Weight == 1 {
		return 0
	}
	return p.Weight
}

// megabytes returns n megabytes in bytes, to the nearest byte.
func megabytes(n float64) int64 { return int64(math.Round(n * 1e6)) }

// seconds returns n seconds; n is at most maxTimeSecs.
func seconds(n uint) time.Duration { return time.Duration(n) * time.Second }
