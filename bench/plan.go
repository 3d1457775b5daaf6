package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// bits are a rate, bits of layer 3 per second; 0 is no limit.
type bits int64

const (
	kbit bits = 1000
	mbit      = 1000 * kbit
	wide      = 100_000 * mbit // more than anything here carries
)

// text is a rate as gatewayd's config has it.
func (b bits) text() string {
	if b == 0 {
		return "0"
	}
	return strconv.FormatInt(int64(b), 10) + " bit"
}

// tc is a rate as tc has it.
func (b bits) tc() string { return strconv.FormatInt(int64(b), 10) + "bit" }

// bytes is how many bytes of layer 3 the rate has in a second.
func (b bits) bytes() int64 { return int64(b) / 8 }

// A plan is what each client may have.
type plan struct {
	rate    bits  // in each direction; 0: no limit of its own
	weights []int // the clients have them in turn; nil: all weigh 1
}

// weight is what client i weighs beside others.
func (p plan) weight(i int) int {
	if len(p.weights) == 0 {
		return 1
	}
	return p.weights[i%len(p.weights)]
}

// weight is what all clients weigh together.
func (p plan) sum(clients int) (sum int) {
	for i := range clients {
		sum += p.weight(i)
	}
	return sum
}

// plan gives every session the plan, as the API does at any time.
func (d *daemon) plan(ctx context.Context, p plan) error {
	change := map[string]any{"use_global_speed": true}
	if p.rate == d.global && p.weights == nil && !d.changed {
		return nil
	}
	if p.rate != d.global {
		if p.rate%mbit != 0 {
			return fmt.Errorf("%s: sessions have whole megabits", p.rate.text())
		}
		change = map[string]any{"use_global_speed": false, "down_mbits": p.rate / mbit, "up_mbits": p.rate / mbit}
	}
	for session, client := range d.sessions {
		if p.weights != nil || d.weighted {
			change["weight"] = p.weight(client)
		}
		if err := d.api.Ask(ctx, http.MethodPatch, "/sessions/"+strconv.Itoa(session), change, nil); err != nil {
			return err
		}
	}
	d.weighted = p.weights != nil
	d.changed = p.rate != d.global || d.weighted
	return nil
}

// drain lifts the plans, where they are few.
func (d *daemon) drain(ctx context.Context) error {
	if d.global != 0 {
		return nil // the queues are short
	}
	return d.plan(ctx, plan{})
}

// plan changes the classes, or the policer's rules.
func (k *kernel) plan(ctx context.Context, p plan) error {
	if k.kind == policer {
		k.turn++
		return feed(ctx, k.place.gateway, policing(p.rate, k.turn-1), "nft", "-f", "-")
	}
	if k.htb == nil {
		return nil
	}
	k.htb.plan = p
	for _, port := range []string{lanPort, wanPort} {
		if err := feed(ctx, k.place.gateway, k.htb.classes(port, k.clients), "tc", "-batch", "-"); err != nil {
			return err
		}
	}
	return nil
}

// drain lifts the plans, or a pfifo of 1000 packets would take a while.
func (k *kernel) drain(ctx context.Context) error { return k.plan(ctx, plan{}) }

// policing are nft's rules that drop what is over the rate, for each client and
// direction: a look-up in a set, whatever clients there are. Each plan has sets of
// its own, by turn: what a set holds keeps the rate it was put in with.
func policing(rate bits, turn int) string {
	var b strings.Builder
	b.WriteString("flush chain ip bench police\n")
	for _, way := range []struct{ direction, port, address string }{{"up", lanPort, "saddr"}, {"down", wanPort, "daddr"}} {
		if turn > 0 {
			fmt.Fprintf(&b, "delete set ip bench police_%s_%d\n", way.direction, turn-1)
		}
		set := fmt.Sprintf("police_%s_%d", way.direction, turn)
		fmt.Fprintf(&b, "add set ip bench %s { type ipv4_addr; size 65535; flags dynamic; }\n", set)
		if rate != 0 {
			fmt.Fprintf(&b, "add rule ip bench police iif %q update @%s { ip %s limit rate over %d bytes/second burst %d bytes } drop\n",
				way.port, set, way.address, rate.bytes(), policerBurst(rate))
		}
	}
	return b.String()
}

// policerBurst is what passes at once, bytes, beside a second of the rate that nft
// always lets pass: 50 ms of the rate, and a super-packet and a half at least.
func policerBurst(rate bits) int64 { return max(96<<10, rate.bytes()/20) }
