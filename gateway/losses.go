package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"gatewayd/forwarder"
	"gatewayd/forwarder/clients"
	"gatewayd/gateway/config"
)

// What counts as trouble of the moment.
const (
	lookBack  = 10 * time.Second // how long a loss is spoken of
	lookEvery = 2 * time.Second
	leastLost = 100              // packets; a burst now and then is every router's to lose
	lostShare = 100              // one of so many
	oftenIn   = 10 * time.Minute // children that end
	often     = 10               // times in it
)

// losses remembers the counters of the last seconds, so that the status speaks
// of what is lost now and not of what ever was.
type losses struct {
	mu      sync.Mutex
	samples [lookBack / lookEvery]clients.Counters
	next    int // the oldest
}

func newLosses(now clients.Counters) *losses {
	l := new(losses)
	for i := range l.samples {
		l.samples[i] = now
	}
	return l
}

// look takes in the counters every lookEvery until ctx ends.
func (l *losses) look(ctx context.Context, h *clients.Header) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.take(h.Counters())
		}
	}
}

func (l *losses) take(now clients.Counters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples[l.next] = now
	l.next = (l.next + 1) % len(l.samples)
}

// oldest is what was counted about lookBack ago.
func (l *losses) oldest() clients.Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.samples[l.next]
}

// lost says in words what was lost between two moments, and what to do.
func lost(before, now *clients.Counters, cfg *config.Config) (why []string) {
	const lately = "in the last 10 seconds"
	for i, name := range map[int]string{clients.LAN: cfg.LAN.Port(), clients.WAN: cfg.WAN.Port()} {
		b, n := &before.Ports[i], &now.Ports[i]
		gone, read := n.Overflow-b.Overflow, n.RxPackets-b.RxPackets
		if gone >= leastLost && gone*lostShare >= gone+read {
			why = append(why, fmt.Sprintf("port %s: the kernel lost %d of %d packets %s before gatewayd could read them: "+
				"the box is too slow for what comes in; see what else it does (top), or sell lower speeds", name, gone, gone+read, lately))
		}
		if odd := n.Truncated - b.Truncated; odd > 0 {
			why = append(why, fmt.Sprintf("port %s: %d super-packets %s were lost: this kernel cannot tell of them (UDP ones before Linux 6.2), or they are larger "+
				"than any packet; where they come from, run: ethtool -K DEV tx-udp-segmentation off, or ip link set DEV gso_max_size 65536", name, odd, lately))
		}
		refused, sent := n.Refused-b.Refused, n.TxPackets-b.TxPackets
		if refused >= leastLost && refused*lostShare >= refused+sent {
			why = append(why, fmt.Sprintf("port %s did not take %d of %d packets %s: its link is slower than what is sent; "+
				"see ip -s link show %s, or sell lower speeds", name, refused, refused+sent, lately, name))
		}
	}
	slices.Sort(why)
	if n := now.Drops[forwarder.FlowsFull] - before.Drops[forwarder.FlowsFull]; n > 0 {
		why = append(why, fmt.Sprintf("the translation table is full: %d packets of new conversations were refused %s; "+
			"raise limits.nat_flows, which is %d", n, lately, cfg.Limits.NATFlows))
	}
	if n := now.Drops[forwarder.NoPort] - before.Drops[forwarder.NoPort]; n > 0 {
		add := "add to wan.address"
		if cfg.WAN.ByDHCP() {
			add = "write several addresses in wan.address in place of dhcp"
		}
		why = append(why, fmt.Sprintf("all ports of %s are in use: %d packets of new conversations were refused %s; "+
			"lower limits.ports_per_client, which is %d, or %s", someOf(cfg), n, lately, cfg.Limits.PortsPerClient, add))
	}
	return why
}

// someOf is the WAN address, or that it is one of several, in words.
func someOf(cfg *config.Config) string {
	if cfg.WAN.ByDHCP() {
		return "the WAN address"
	}
	if n := len(cfg.WAN.Addresses.List); n != 1 {
		return fmt.Sprintf("one of the %d WAN addresses", n)
	}
	return cfg.WAN.Address().Addr().String()
}

// rateReasons are the forwarder's reasons for which packets are dropped because of their
// client's rate: the queue was full, or they had waited too long in it.
func rateReasons() []int { return []int{int(forwarder.OverRate), int(forwarder.QueueDelay)} }

// restless names the children that ended often. ends are moments since boot.
func restless(ends map[string][]time.Duration, now time.Duration) (why []string) {
	for _, word := range []string{wordForward, wordControl, wordStore} {
		n := 0
		for _, at := range ends[word] {
			if now-at < oftenIn {
				n++
			}
		}
		if n >= often {
			why = append(why, fmt.Sprintf("%s has ended %d times or more in the last 10 minutes and is started again each time; "+
				"its log says why: journalctl -u gatewayd", word, n))
		}
	}
	return why
}
