//go:build netns

package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// topLook is what GET /top says, as far as the tests ask.
type topLook struct {
	Ready   bool `json:"ready"`
	Traffic struct {
		OverMS int64 `json:"over_ms"`
		Down   struct {
			Bits    uint64  `json:"bits_per_second"`
			Packets float64 `json:"packets_per_second"`
			Limit   uint64  `json:"limit_bits_per_second"`
		} `json:"down"`
		Items []struct {
			IP      string  `json:"ip"`
			Session session `json:"session"`
			Down    struct {
				Bits  uint64  `json:"bits_per_second"`
				Limit uint64  `json:"limit_bits_per_second"`
				Delay float64 `json:"delay_ms"`
			} `json:"down"`
			Drops uint64 `json:"drops"`
		} `json:"items"`
	} `json:"traffic"`
}

// A client that downloads as fast as its plan lets it is shown so, in a table and as
// data, and is paused when it is.
func TestTopShowsWhoDownloads(t *testing.T) {
	t.Parallel()
	const plan = 5e6
	l := newLab(t, "bandwidth: {total: {down: 50 Mbit, up: 50 Mbit}, global: {down: 100 Gbit, up: 100 Gbit}}")
	d := l.start()
	l.iperfServer()
	d.admit(`{"type":"time","time_secs":3600,"down_mbits":5,"up_mbits":5}`)
	l.iperf3.listensAgain()
	download := l.client.start("iperf3", "-c", serverIP, "-R", "-t", "120")

	top := func(args ...string) string {
		code, out, errs := l.command(append([]string{"top", "--socket", l.dir + "/gatewayd.sock"}, args...)...)
		if code != 0 || errs != "" {
			t.Fatalf("top %v: exit %d, %s", args, code, errs)
		}
		return out
	}
	eventually(t, 2*soon, "both looks show the download", func() error {
		looks := strings.Split(strings.TrimSpace(top("--count", "2", "--interval", "2s", "--json")), "\n")
		if len(looks) != 2 {
			return fmt.Errorf("%d looks", len(looks))
		}
		for _, text := range looks {
			var v topLook
			check(t, json.Unmarshal([]byte(text), &v))
			if !v.Ready || len(v.Traffic.Items) != 1 || v.Traffic.Items[0].IP != clientIP || v.Traffic.Items[0].Session.State != "running" {
				t.Fatalf("%s", text)
			}
			if c := v.Traffic.Items[0].Down; c.Limit != plan || float64(c.Bits) < 0.8*plan || float64(c.Bits) > 1.1*plan {
				return fmt.Errorf("%s", text)
			} else if c.Delay <= 0 || c.Delay > 1000 || v.Traffic.Items[0].Drops == 0 {
				return fmt.Errorf("what is over the plan waits, and now and then one goes: %s", text)
			}
			if all := v.Traffic.Down; all.Limit != 50e6 || all.Bits < v.Traffic.Items[0].Down.Bits || all.Packets == 0 {
				t.Errorf("of all: %+v", all)
			}
		}
		return nil
	})
	eventually(t, 2*soon, "the table shows it", func() error {
		out := top("--count", "2")
		tables := strings.Split(out, "\n\n")
		if strings.ContainsRune(out, 0x1b) || !strings.HasPrefix(out, "ready  (") || len(tables) != 4 {
			t.Fatalf("%q", out)
		}
		for _, table := range []string{tables[1], tables[3]} {
			var client, down, up string
			var used, usedUp int
			if _, err := fmt.Sscanf(strings.Split(table, "\n")[1], "%s %s %s %d/%d", &client, &down, &up, &used, &usedUp); err != nil || client != clientIP || used < 80 || used > 110 {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		return nil
	})
	d.must("POST", "/devices/"+clientMAC+"/pause", "", nil)
	eventually(t, 2*soon, "it is paused, and receives nothing", func() error {
		var v topLook
		text := top("--json")
		check(t, json.Unmarshal([]byte(text), &v))
		if len(v.Traffic.Items) != 1 || v.Traffic.Items[0].Session.State != "paused" || v.Traffic.Items[0].Down.Bits != 0 {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	download.end()
}
