package gateway

import (
	"strings"
	"testing"

	"gatewayd/gateway/ports"
)

func TestWhatMTUsMean(t *testing.T) {
	const larger, quic = "clients may send packets", "QUIC needs"
	for _, row := range []struct {
		name     string
		lan, wan int
		want     []string
	}{
		{"Ethernet on both sides", 1500, 1500, nil},
		{"a larger WAN", 1500, 9000, nil},
		{"a larger LAN", 9000, 1500, []string{larger}},
		{"PPPoE", 1500, 1492, []string{larger}},
		{"the least for QUIC", 1228, 1228, nil},
		{"a byte less on the LAN", 1227, 1500, []string{"port lan0 carries packets of 1227 bytes: QUIC needs 1228"}},
		{"a byte less on the WAN", 1228, 1227, []string{larger, quic}},
		{"both narrow", 576, 576, []string{quic, quic}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := mtuAdvice(ports.State{Name: "lan0", MTU: row.lan}, ports.State{Name: "wan0", MTU: row.wan})
			if len(got) != len(row.want) {
				t.Fatalf("%q, want %q", got, row.want)
			}
			for i, part := range row.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("%q, want %q", got[i], part)
				}
			}
		})
	}
}
