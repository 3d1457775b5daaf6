package sessions

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gatewayd/limiter"
)

// Traffic is what clients send and receive now. Rates are of the time between two
// looks at the table, which all who ask share.
type Traffic struct {
	Now     time.Time      `json:"now" doc:"when it was looked last"`
	OverMS  int64          `json:"over_ms" doc:"the rates are those of so many ms before"`
	Clients TrafficClients `json:"clients"`
	Down    Flow           `json:"down" doc:"all clients together; the delay is the longest"`
	Up      Flow           `json:"up" doc:"likewise"`
	// Drops of all clients together, in packets a second.
	DropsPerSecond      float64         `json:"drops_per_second" doc:"packets dropped for their client's rate"`
	OtherDropsPerSecond float64         `json:"other_drops_per_second" doc:"packets dropped for any other reason; the status says which"`
	Items               []ClientTraffic `json:"items" nullable:"false" doc:"those who are connected, paused ones too, in the order that was asked for"`
}

// TrafficClients counts the clients in the table.
type TrafficClients struct {
	Bound     int `json:"bound" doc:"clients whose address is known"`
	Connected int `json:"connected" doc:"of these, whose packets pass"`
	Paused    int `json:"paused" doc:"of these, who are connected and paused in place"`
}

// Flow is what goes one way.
type Flow struct {
	BitsPerSecond      uint64  `json:"bits_per_second" doc:"layer 3, as billed"`
	PacketsPerSecond   uint64  `json:"packets_per_second" doc:"wire packets"`
	LimitBitsPerSecond uint64  `json:"limit_bits_per_second" doc:"the rate that holds now; 0: no limit"`
	WaitingBytes       uint64  `json:"waiting_bytes" doc:"what waits for that rate"`
	DelayMS            float64 `json:"delay_ms" doc:"how long what left last had waited, smoothed; 0 when nothing waited since the look before"`
}

// ClientTraffic is one client's.
type ClientTraffic struct {
	DeviceID        int64   `json:"device_id"` // whose
	MAC             string  `json:"mac"`       // as 02:00:00:00:00:0c
	IP              string  `json:"ip"`        // IPv4
	Hostname        string  `json:"hostname"`  // as somebody named it
	Session         Session `json:"session"`   // the running or paused one
	Down            Flow    `json:"down"`
	Up              Flow    `json:"up"`
	Drops           uint64  `json:"drops" doc:"packets dropped for its rate since it has its place in the table"`
	DropsPerSecond  float64 `json:"drops_per_second"` // of these
	Marked          uint64  `json:"marked" doc:"packets marked with congestion experienced (RFC 3168) since then"`
	MarkedPerSecond float64 `json:"marked_per_second"` // of these
}

// TrafficOrder says which clients come first.
type TrafficOrder string

// The orders of clients. Those who are alike in it follow by their device's id.
const (
	ByDown      TrafficOrder = "down"      // who receives most
	ByUp        TrafficOrder = "up"        // who sends most
	ByDelay     TrafficOrder = "delay"     // whose packets wait longest, either way
	ByDrops     TrafficOrder = "drops"     // who loses most now, then who lost most
	ByRemaining TrafficOrder = "remaining" // whose session can end first: its time, its expiry, or its data at full speed both ways
	ByName      TrafficOrder = "name"      // hostnames, then addresses of those that have none
)

// Traffic returns what clients send and receive now, of at most limit clients the
// first in an order; an unknown one is ByName. The first who asks after 10 s waits 1 s,
// over which it is measured. It reads memory and never waits for the disk.
// ErrStopped; ErrUnavailable while a backup is being restored; ctx's own.
func (m *Manager) Traffic(ctx context.Context, by TrafficOrder, limit int) (Traffic, error) {
	l, err := m.looked(ctx)
	if err != nil {
		return Traffic{}, fmt.Errorf("traffic: %w", err)
	}
	_, cancel, err := m.enter(ctx, callTime)
	if err != nil {
		return Traffic{}, fmt.Errorf("traffic: %w", err)
	}
	defer cancel()
	rows := make([]*trafficRow, len(l.rows))
	for i := range rows {
		rows[i] = &l.rows[i]
	}
	slices.SortFunc(rows, by.compare)
	v := l.sums
	v.Items = m.viewTraffic(rows[:max(0, min(limit, len(rows)))])
	return v, nil
}

// compare is the order of two rows.
func (by TrafficOrder) compare(a, b *trafficRow) int {
	first := 0
	switch by {
	case ByDown:
		first = cmp.Compare(b.down.BitsPerSecond, a.down.BitsPerSecond)
	case ByUp:
		first = cmp.Compare(b.up.BitsPerSecond, a.up.BitsPerSecond)
	case ByDelay:
		first = cmp.Compare(max(b.up.DelayMS, b.down.DelayMS), max(a.up.DelayMS, a.down.DelayMS))
	case ByDrops:
		first = cmp.Or(cmp.Compare(b.dropRate, a.dropRate), cmp.Compare(b.drops, a.drops))
	case ByRemaining:
		first = cmp.Compare(a.ends, b.ends)
	default:
		first = cmp.Or(compareNames(a.name, b.name), cmp.Compare(a.ip, b.ip))
	}
	return cmp.Or(first, cmp.Compare(a.id, b.id))
}

// compareNames compares hostnames, whatever their case; who has none comes last.
func compareNames(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(b), len(a))
	}
	return strings.Compare(strings.ToLower(a), strings.ToLower(b))
}

// viewTraffic tells of rows, with the sessions as they are now. Who was disconnected
// meanwhile is left out.
func (m *Manager) viewTraffic(rows []*trafficRow) []ClientTraffic {
	devices := make([]*device, len(rows))
	for i := range rows {
		devices[i] = rows[i].device
	}
	items, i := make([]ClientTraffic, 0, len(rows)), -1
	m.inParts(devices, func(d *device) {
		i++
		if s, r := d.inUse(), rows[i]; s != nil && d.slot == r.slot {
			items = append(items, ClientTraffic{
				DeviceID: r.id, MAC: macText(d.mac), IP: ipText(r.ip), Hostname: r.name, Session: m.viewSession(s), Down: r.down, Up: r.up,
				Drops: r.drops, DropsPerSecond: r.dropRate, Marked: r.marked, MarkedPerSecond: r.markRate,
			})
		}
	})
	return items
}

// inUse returns the session that a device runs, or that is paused in place; nil: none.
func (d *device) inUse() *session {
	if g := d.current(); g != nil && d.connected {
		return g.session
	}
	return d.paused
}

// unlimited stands for the speed of a session without a limit where one is needed.
const unlimited limiter.Rate = 1e9 / 8

// endsIn returns how soon a session can end, given what was used: by its time, its
// expiry, or its data at full speed both ways. now is wall time.
func (s *session) endsIn(u use, down, up limiter.Rate, now time.Time) time.Duration {
	ends := time.Duration(math.MaxInt64)
	left, bytes := s.left(u)
	slow := s.usedUp(u) && s.throttles(now) // it goes on with nothing left
	if s.kind.hasTime() && !slow {
		ends = left
	}
	if s.kind.hasData() && !slow {
		if down == 0 || up == 0 {
			down, up = unlimited, 0
		}
		if last := float64(bytes) / float64(down+up); last < ends.Seconds() {
			ends = time.Duration(last * float64(time.Second))
		}
	}
	if at := s.expiresAt(); !at.IsZero() {
		ends = min(ends, max(at.Sub(now), 0))
	}
	return ends
}
