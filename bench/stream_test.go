package main

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Another's builder makes the same frames, checksums and all.
func TestFramesAreWhatGopacketBuilds(t *testing.T) {
	gateway := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	many := stream{clients: 300, mappings: 900, remotes: 70, first: 40000, port: echo, size: smallFrame}
	for _, row := range []struct {
		stream stream
		flow   int
		client int
		remote string
		port   uint16
	}{
		{stream{1, 1, 1, 4321, discard, smallFrame}, 0, 0, serverIP, 4321},
		{stream{1, 1, 1, 4321, discard, 508}, 0, 0, serverIP, 4321},
		{stream{1, 1, 1, 4321, discard, 1396}, 0, 0, serverIP, 4321},
		{many, 0, 0, "198.18.0.1", 40000},
		{many, 299, 299, "198.18.0.1", 40000},
		{many, 899, 299, "198.18.0.1", 40002},
		{many, 62999, 299, "198.18.0.70", 40002},
	} {
		s := row.stream
		payload := make([]byte, s.size-atPayload)
		for i := range payload {
			payload[i] = byte(i + atPayload)
		}
		copy(payload, []byte{0, 0, byte(row.flow >> 8), byte(row.flow)})
		from := memberAt(row.client)
		network := &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolUDP,
			SrcIP: from.ip.AsSlice(), DstIP: netip.MustParseAddr(row.remote).AsSlice()}
		transport := &layers.UDP{SrcPort: layers.UDPPort(row.port), DstPort: layers.UDPPort(s.port)}
		if err := transport.SetNetworkLayerForChecksum(network); err != nil {
			t.Fatal(err)
		}
		want := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(want, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: from.mac, DstMAC: gateway, EthernetType: layers.EthernetTypeIPv4},
			network, transport, gopacket.Payload(payload))
		if err != nil {
			t.Fatal(err)
		}
		m := s.mould(gateway)
		got := append([]byte(nil), m.original...)
		m.write(got, s.flows()-1-row.flow) // leaves nothing of another flow
		if m.write(got, row.flow); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("flow %d of %+v:\n%x, want\n%x", row.flow, s, got, want.Bytes())
		}
	}
}

func TestWhatEachClientSent(t *testing.T) {
	for _, s := range []stream{
		{clients: 1, mappings: 1, remotes: 1}, {clients: 3, mappings: 3, remotes: 1}, {clients: 3, mappings: 7, remotes: 2}, {clients: 4, mappings: 5, remotes: 3},
	} {
		each := make([]uint64, s.clients)
		for sent := range uint64(100) {
			for c := range s.clients {
				if got := s.sentBy(c, sent); got != each[c] {
					t.Fatalf("%+v: client %d sent %d of %d, want %d", s, c, got, sent, each[c])
				}
			}
			each[int(sent)%s.flows()%s.mappings%s.clients]++
		}
	}
}
