package main

import (
	"maps"
	"strings"
	"testing"
)

func TestReadRules(t *testing.T) {
	const hotspotText = `{"nftables": [{"metainfo": {"version": "1.1.3"}},
{"set": {"name": "up", "elem": [{"elem": {"val": "10.10.0.2", "counter": {"packets": 7, "bytes": 700}}}, {"elem": {"val": "10.10.0.3", "counter": {"packets": 2, "bytes": 9}}}]}},
{"set": {"name": "down", "elem": [{"elem": {"val": "10.10.0.2", "counter": {"packets": 4, "bytes": 400}}}]}},
{"map": {"name": "class", "elem": [["10.10.0.2", "1:10"]]}},
{"rule": {"chain": "forward", "expr": [{"match": {"op": "==", "right": "eth1"}}, {"mangle": {}}, {"accept": null}]}},
{"rule": {"chain": "postrouting", "expr": [{"match": {"op": "==", "right": "eth0"}}, {"counter": {"packets": 2, "bytes": 168}}, {"masquerade": null}]}}]}`
	const natText = `{"nftables": [
{"rule": {"chain": "forward", "expr": [{"match": {"op": "==", "right": "eth1"}}, {"counter": {"packets": 5, "bytes": 168}}]}},
{"rule": {"chain": "forward", "expr": [{"match": {"op": "==", "right": "eth0"}}, {"counter": {"packets": 6, "bytes": 168}}]}},
{"rule": {"chain": "postrouting", "expr": [{"match": {"op": "==", "right": "eth0"}}, {"match": {"op": "==", "right": {"prefix": {"addr": "10.10.0.0", "len": 16}}}}, {"counter": {"packets": 1, "bytes": 168}}, {"masquerade": null}]}}]}`
	for text, want := range map[string]counts{
		hotspotText: {setUp: 9, setDown: 4, masqueraded: 2},
		natText:     {setUp: 5, setDown: 6, masqueraded: 1},
	} {
		c := counts{}
		if err := readRules([]byte(text), c); err != nil || !maps.Equal(c, want) {
			t.Errorf("%v, %v; want %v", c, err, want)
		}
	}
}

// However many clients there are, a packet meets as many rules.
func TestRulesAreLookUps(t *testing.T) {
	lines := func(clients int) int { return strings.Count(rules(clients, hotspot), "\n") }
	if few, many := lines(1), lines(10_000); few != many {
		t.Errorf("%d lines for a client, %d for 10,000", few, many)
	}
	for text, want := range map[string]int{" counter,": 19_998, " : 1:": 10_000, "10.10.39.17 : 1:271f": 1} {
		if got := strings.Count(strings.ReplaceAll(rules(10_000, hotspot), "counter masquerade", ""), text); got != want {
			t.Errorf("%q is there %d times, want %d", text, got, want)
		}
	}
	if got := strings.Count((htb{rate: "100gbit", burst: "burst 1m cburst 1m"}).queues("eth0", 10_000), "\n"); got != 10_001 {
		t.Errorf("%d lines make the queues, want 10001", got)
	}
}
