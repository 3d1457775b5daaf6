package forwarder

import (
	"fmt"
	"testing"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
)

// A port of the box is open or closed as the table says as the next packet comes.
func TestPortsOfTheBoxOpenAndCloseWhilePacketsPass(t *testing.T) {
	for workers := 1; workers <= 3; workers++ {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			withWorkers(t, workers)
			b := online(t, free())
			b.bind(bob, bobMAC, bobIP)
			h := b.table.Header()
			port := func(p uint16, from flow) flow {
				from.dstMAC, from.dst, from.dstPort = lanMAC, lanIP, p
				return from
			}
			closed := uint64(0)
			for i := range 20 {
				open, shut := uint16(80+i%2), uint16(81-i%2)
				h.SetOpen(false, []clients.PortRange{{First: open, Last: open}, {UDP: true, First: shut, Last: shut}})
				for _, who := range []flow{aliceUp, bobUp} {
					for _, raw := range [][]byte{port(open, who).tcp(1), port(shut, who).udp(1)} {
						b.in(clients.LAN, raw)
						b.one(clients.Host)
					}
					b.in(clients.LAN, port(shut, who).tcp(1), port(open, who).udp(1))
					b.silent(clients.Host, clients.LAN, clients.WAN)
					closed += 2
					b.dropped(LocalClosed, closed)
				}
			}
			h.SetOpen(true, nil)
			b.in(clients.LAN, port(1, aliceUp).tcp(1))
			b.one(clients.Host)
		})
	}
}

// A filter that changes counts for the next packet of each client, whichever
// worker's it is: who is let in without having been sent to is, and who was sent to
// always is, by the same external port.
func TestFilteringChangesWhilePacketsPass(t *testing.T) {
	for workers := 1; workers <= 3; workers++ {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			withWorkers(t, workers)
			b := online(t, free())
			b.bind(bob, bobMAC, bobIP)
			b.grant(bob, free())
			var answers []flow
			for _, up := range []flow{aliceUp, bobUp} {
				b.in(clients.LAN, up.udp(10))
				answers = append(answers, back(b.one(clients.WAN)))
			}
			filtered := uint64(0)
			for i := range 12 {
				for _, row := range []struct {
					how           nat.Filtering
					port, address bool // another of whom was sent to is let in
				}{{nat.AnyRemote, true, true}, {nat.ByAddressAndPort, false, false}, {nat.ByAddress, true, false}} {
					b.table.Header().Filtering.Store(uint64(row.how))
					for _, a := range answers {
						port, address := a, a
						port.srcPort++
						address.src++
						for _, from := range []struct {
							flow
							in bool
						}{{port, row.port}, {address, row.address}, {a, true}} {
							b.in(clients.WAN, from.udp(10))
							if from.in {
								b.one(clients.LAN)
								continue
							}
							filtered++
							b.silent(clients.LAN, clients.WAN, clients.Host)
							b.dropped(Filtered, filtered)
						}
					}
				}
				for n, up := range []flow{aliceUp, bobUp} {
					b.in(clients.LAN, up.udp(10))
					if p := b.one(clients.WAN); p.srcPort != answers[n].dstPort {
						t.Fatalf("round %d: from port %d, was %d", i, p.srcPort, answers[n].dstPort)
					}
				}
			}
		})
	}
}

// Caps that change count for the next flow, and those that are there stay.
func TestCapsChangeWhilePacketsPass(t *testing.T) {
	for workers := 1; workers <= 2; workers++ {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			withWorkers(t, workers)
			b := online(t, free())
			to := func(i int) flow { w := aliceUp; w.dst += uint32(i); return w }
			for i := range 8 {
				b.in(clients.LAN, to(i).udp(10))
				b.one(clients.WAN)
			}
			b.cap(8, 0)
			b.in(clients.LAN, to(8).udp(10))
			b.take(clients.LAN) // the ICMP error
			b.silent(clients.WAN)
			b.dropped(ClientCap, 1)
			for i := range 8 {
				b.in(clients.LAN, to(i).udp(10))
				b.one(clients.WAN)
			}
			b.cap(9, 0)
			b.in(clients.LAN, to(8).udp(10))
			b.one(clients.WAN)
			b.cap(0, 1)
			w := aliceUp
			w.srcPort++
			b.in(clients.LAN, w.udp(10))
			b.dropped(ClientCap, 2)
		})
	}
}
