package sessions

import (
	"fmt"
	"strconv"
	"time"
)

// postChange says in the ledger of a changed session what was set, if
// anything was. u is what it has used. m.mu and the turn are held.
func (m *Manager) postChange(before, after *session, u use) {
	changed := differences(before, after, u)
	if len(changed) == 0 {
		return
	}
	kind := LineChange
	if after.timeLimit > before.timeLimit || after.dataLimit > before.dataLimit {
		kind = LineTopUp
	}
	x := m.line(after, u, m.opt.Boot(), kind, "")
	x.changed = changed
	after.ledger.add(x, m.opt.Boot())
}

// differences returns what was set, with the names that it has in Session.
func differences(before, after *session, u use) (all []LineChanged) {
	add := func(field, old, now string) {
		if old != now {
			all = append(all, LineChanged{field, old, now})
		}
	}
	oldTime, oldData := before.consumed(u)
	newTime, newData := after.consumed(u)
	add("time_secs", whole(before.timeLimit), whole(after.timeLimit))
	add("data_mb", mbText(before.dataLimit), mbText(after.dataLimit))
	add("time_cons", whole(oldTime), whole(newTime))
	add("data_cons", mbText(oldData), mbText(newData))
	add("exp_days", daysText(before.expDays), daysText(after.expDays))
	add("down_mbits", strconv.Itoa(before.downMbits), strconv.Itoa(after.downMbits))
	add("up_mbits", strconv.Itoa(before.upMbits), strconv.Itoa(after.upMbits))
	add("use_global_speed", fmt.Sprint(before.global), fmt.Sprint(after.global))
	add("weight", strconv.Itoa(max(before.weight, 1)), strconv.Itoa(max(after.weight, 1)))
	add("throttle_down_bits", strconv.FormatInt(before.throttle.down, 10), strconv.FormatInt(after.throttle.down, 10))
	add("throttle_up_bits", strconv.FormatInt(before.throttle.up, 10), strconv.FormatInt(after.throttle.up, 10))
	add("started_at", momentText(before.startedAt), momentText(after.startedAt))
	return all
}

// whole returns whole seconds as text.
func whole(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// mbText returns bytes as megabytes.
func mbText(bytes int64) string { return strconv.FormatFloat(float64(bytes)/1e6, 'f', -1, 64) }

func daysText(days *uint) string {
	if days == nil {
		return "never"
	}
	return strconv.FormatUint(uint64(*days), 10)
}

func momentText(at time.Time) string {
	if at.IsZero() {
		return "not started"
	}
	return at.UTC().Format(time.RFC3339)
}
