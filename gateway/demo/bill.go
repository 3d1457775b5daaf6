package demo

import (
	"context"
	"time"
)

// selling is how many claims sell something, and have a bill.
const selling = 7

// bill is what the gateway billed for a claim's sessions beside what the far
// ends counted, layer-3 bytes.
type bill struct {
	title                string
	up, down             uint64
	billedUp, billedDown uint64
}

func (b bill) right() bool { return b.up == b.billedUp && b.down == b.billedDown }

// account ends a meter at rest and notes the bill of the sessions that were
// used meanwhile.
func (s *stage) account(ctx context.Context, title string, m *meter, sessions ...int64) (bill, error) {
	if err := m.quiet(ctx, 100*time.Millisecond); err != nil {
		return bill{}, err
	}
	up, down := m.end()
	b := bill{title: title, up: up.arrived().bytes, down: down.arrived().bytes}
	for _, id := range sessions {
		now, err := s.api.session(ctx, id)
		if err != nil {
			return b, err
		}
		b.billedUp += now.UpBytes
		b.billedDown += now.DownBytes
		if now.State == "consumed" {
			delete(s.unused, id)
		}
	}
	s.bills = append(s.bills, b)
	return b, nil
}

// theBill compares every bill.
func theBill(ctx context.Context, s *stage, v *verdict) error {
	for _, b := range s.bills {
		v.saw(b.right(), "%-21s  up %10s counted, %10s billed   down %10s counted, %10s billed",
			b.title, thousands(b.up), thousands(b.billedUp), thousands(b.down), thousands(b.billedDown))
	}
	v.saw(len(s.bills) == selling, "%d bills were compared, want %d", len(s.bills), selling)
	all, err := s.api.sessions(ctx)
	if err != nil {
		return err
	}
	strange := 0
	for _, one := range all {
		if !s.sold[one.ID] {
			strange++
		}
	}
	v.saw(strange == 0, "%d sessions were sold by somebody else, want 0", strange)
	return nil
}
