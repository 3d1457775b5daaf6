package main

import (
	"slices"
	"testing"
)

func TestReadPings(t *testing.T) {
	const text = `PING 203.0.113.1 (203.0.113.1) 56(84) bytes of data.
64 bytes from 203.0.113.1: icmp_seq=1 ttl=63 time=0.133 ms
64 bytes from 203.0.113.1: icmp_seq=2 ttl=63 time=4.12 ms

--- 203.0.113.1 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 10ms
`
	got, err := readPings(text)
	if want := []float64{133, 4120}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, none := range []string{"", "time=soon ms\n", "time=1 s\n"} {
		if got, err := readPings(none); err == nil {
			t.Errorf("%q gives %v", none, got)
		}
	}
}
