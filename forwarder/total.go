package forwarder

import (
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/limiter"
)

// What all clients together may have (bandwidth.total) is shared by each worker's
// shaper between its own clients. Between workers it is divided anew every
// divideEvery: who has something waiting gets what the others leave, by the
// weights of those who wait; who has not, a little more than it used last.
const (
	divideEvery = 10 * time.Millisecond
	leastPart   = 64 // of an even part: the least that a worker has to begin with
)

// division is what a worker knows of the total.
type division struct {
	total [2]limiter.Rate // as the header says
	said  [2]uint64       // its own demand, as published
	at    time.Duration   // since boot; when it last divided
	spent [clients.MaxWorkers][2]uint64
	used  [clients.MaxWorkers][2]limiter.Rate // smoothed
}

// divide takes in what all clients together may have, and this worker's part of it.
func (f *Forwarder) divide() {
	d := &f.division
	total := [2]limiter.Rate{up: limiter.Rate(f.header.TotalUp.Load()), down: limiter.Rate(f.header.TotalDown.Load())}
	if f.crew == nil {
		if total != d.total {
			d.total = total
			for direction, r := range total {
				f.pacer.SetTotal(uint8(direction), r, f.now)
			}
		}
		return
	}
	for direction := range total {
		if demand := f.pacer.Demand(uint8(direction)); demand != d.said[direction] {
			d.said[direction] = demand
			f.said.Demand[direction].Store(demand)
		}
	}
	if total == d.total && f.now-d.at < divideEvery {
		return
	}
	took := min(f.now-d.at, time.Second)
	d.total, d.at = total, f.now
	for direction, r := range total {
		renew(&f.said.Spent[direction], f.pacer.Spent(uint8(direction)))
		f.pacer.SetTotal(uint8(direction), d.part(f.header, direction, r, f.worker, f.step, took), f.now)
	}
}

// part is what a worker of so many may have of a total in one direction.
func (d *division) part(h *clients.Header, direction int, total limiter.Rate, worker, workers int, took time.Duration) limiter.Rate {
	if total == 0 {
		return 0
	}
	even := max(total/limiter.Rate(workers), 1)
	rest, demands, own := total, uint64(0), limiter.Rate(0)
	for i := range workers {
		w := &h.Worker[i]
		spent := w.Spent[direction].Load()
		used := limiter.Rate(float64(spent-d.spent[i][direction]) / max(took, time.Millisecond).Seconds())
		d.spent[i][direction] = spent
		used = (3*d.used[i][direction] + used) / 4
		d.used[i][direction] = used
		if demand := w.Demand[direction].Load(); demand != 0 {
			demands += demand
			continue
		}
		part := min(used+used/16+even/leastPart, even)
		rest -= part
		if i == worker {
			own = part
		}
	}
	rest = max(rest, 0)
	switch mine := h.Worker[worker].Demand[direction].Load(); {
	case mine != 0:
		return max(limiter.Rate(float64(rest)*float64(mine)/float64(demands)), even/leastPart, 1)
	case demands == 0:
		return max(own+rest/limiter.Rate(workers), 1)
	default:
		return max(own, 1)
	}
}
