package main

import (
	"bytes"
	"maps"
	"net"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Another's builder makes the same frame, checksums and all.
func TestDatagramIsWhatGopacketBuilds(t *testing.T) {
	gateway := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	client, _ := net.ParseMAC(clientMAC)
	for _, size := range []int{smallFrame, 512, 1442} {
		payload := make([]byte, size-42)
		for i := range payload {
			payload[i] = byte(i + 42)
		}
		network := &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolUDP,
			SrcIP: net.ParseIP(clientIP), DstIP: net.ParseIP(serverIP)}
		transport := &layers.UDP{SrcPort: 4321, DstPort: discard}
		if err := transport.SetNetworkLayerForChecksum(network); err != nil {
			t.Fatal(err)
		}
		want := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(want, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: client, DstMAC: gateway, EthernetType: layers.EthernetTypeIPv4},
			network, transport, gopacket.Payload(payload))
		if err != nil {
			t.Fatal(err)
		}
		if got := datagram(gateway, 4321, size); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%d bytes:\n%x, want\n%x", size, got, want.Bytes())
		}
	}
}

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

func TestReadRules(t *testing.T) {
	const text = `{"nftables": [{"metainfo": {"version": "1.1.3"}},
{"set": {"name": "up", "elem": [{"elem": {"val": "10.10.0.2", "counter": {"packets": 7, "bytes": 700}}}]}},
{"set": {"name": "down", "elem": [{"elem": {"val": "10.10.0.2", "counter": {"packets": 4, "bytes": 400}}}]}},
{"map": {"name": "class", "elem": [["10.10.0.2", "1:10"]]}},
{"rule": {"chain": "postrouting", "expr": [{"match": {"op": "=="}}, {"counter": {"packets": 2, "bytes": 168}}, {"masquerade": null}]}}]}`
	c := counts{}
	want := counts{setUp: 7, setDown: 4, masqueraded: 2}
	if err := readRules([]byte(text), c); err != nil || !maps.Equal(c, want) {
		t.Errorf("%v, %v; want %v", c, err, want)
	}
}

func TestChosen(t *testing.T) {
	for pattern, want := range map[string]int{"": len(figures("cubic")), "^tcp_": 4, "udp_64|rtt": 2} {
		if list, err := chosen(pattern, "cubic"); err != nil || len(list) != want {
			t.Errorf("%q: %d figures, %v; want %d", pattern, len(list), err, want)
		}
	}
	for _, wrong := range []string{"none", "("} {
		if _, err := chosen(wrong, "cubic"); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
