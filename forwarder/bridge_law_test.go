package forwarder

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// The conservation law of clients.Counters under anything that can come to a bridge, and
// of each byte that is billed.
func TestABridgeLosesAndMakesUpNothing(t *testing.T) {
	runs := uint64(60)
	if testing.Short() {
		runs = 6
	}
	met := map[string]uint64{}
	for seed := range runs {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 5))
			b := newBridge(t)
			if b.team != nil && seed%2 == 1 {
				b.team.astray()
			}
			b.mtus(1500, []int{1280, 1400, 1500}[dice.IntN(3)])
			b.bind(alice, aliceMAC, aliceIP)
			b.bind(bob, bobMAC, bobIP)
			slow := bytesOf(30000)
			slow.Up, slow.Down = 20000, 30000
			b.grant(alice, slow, bytesOf(5000), free())
			b.grant(bob, free())
			for range 60 {
				for range dice.IntN(8) {
					port, raw := anyFrame(dice)
					b.offer(port, raw)
				}
				b.round()
				switch dice.IntN(20) {
				case 0:
					b.pass(time.Duration(dice.IntN(3000)) * time.Millisecond)
				case 1:
					b.start()
					for _, f := range b.workers() {
						f.announcements = [clients.NumPorts]announcement{}
					}
				case 2:
					b.bind(bob, bobMAC, bobIP) // another bob, who has no session
				}
				for port := range b.ends {
					b.frames(port)
				}
			}
			b.pass(5 * time.Second)
			b.carried()
			c := b.table.Header().Counters()
			billed := uint64(0)
			for seq := uint64(1); seq <= 3; seq++ {
				billed += total(b.use(alice, seq))
			}
			met["alice"] += billed
			met["billed"] += c.Totals.BilledBytes
			met["exempt"] += c.Totals.ExemptPackets
			met["own"] += c.Totals.OwnPackets
			met["added"] += c.Totals.AddedPackets
			for reason, n := range b.allDrops() {
				met[reason] += n
			}
		})
		if t.Failed() {
			return
		}
	}
	if testing.Short() {
		return
	}
	for _, what := range []string{"alice", "billed", "exempt", "own", "added", "malformed", "spoofed", "looped", "rogue_router",
		"too_big", "no_grant", "tagged", "unknown_protocol", "link_local_group", "bad_arp", "forwarder_ended"} {
		if met[what] == 0 {
			t.Errorf("%s: not met: %v", what, met)
		}
	}
}

// anyFrame is one of what can come, now and then with an octet changed.
func anyFrame(dice *rand.Rand) (port int, raw []byte) {
	port = dice.IntN(2)
	w := []flow{across, home}[port]
	if dice.IntN(3) == 0 {
		w.srcMAC = []uint64{bobMAC, 0x020000000077, routerMAC}[dice.IntN(3)]
		w.src = []uint32{bobIP, lanIP, serverIP}[dice.IntN(3)]
	}
	switch dice.IntN(12) {
	case 0:
		raw = arp{from: w.srcMAC, to: []uint64{broadcast, w.dstMAC, lanMAC}[dice.IntN(3)], op: uint16(1 + dice.IntN(2)), mac: w.srcMAC, ip: w.src,
			target: []uint32{lanIP, w.dst, bobIP}[dice.IntN(3)]}.raw()
	case 1:
		raw = dhcp4(w, dice.IntN(2) == 0, w.srcMAC, 5, aliceIP)
	case 2:
		raw = discovery(w.srcMAC, alice6, solicitedAlice, 255, uint8(133+dice.IntN(5)), 0, target(bob6, w.srcMAC)...)
	case 3:
		w.dstMAC, w.dst = lanMAC, lanIP
		raw = w.udp(dice.IntN(1500))
	case 4:
		w.dstMAC = []uint64{broadcast, 0x01005e000001, linkLocalGroups, bobMAC, aliceMAC}[dice.IntN(5)]
		raw = w.udp(dice.IntN(200))
	case 5:
		port, w = clients.Host, flow{srcMAC: lanMAC, dstMAC: []uint64{aliceMAC, bobMAC, routerMAC}[dice.IntN(3)], src: lanIP, dst: serverIP, ttl: 64, srcPort: 1, dstPort: 2}
		raw = w.udp(dice.IntN(3000))
	case 6:
		w.dont = dice.IntN(2) == 0
		raw = w.udp(1200 + dice.IntN(2000))
	default:
		raw = bridgeRows[dice.IntN(len(bridgeRows))].make(w)
	}
	if dice.IntN(8) == 0 {
		raw = tagged(raw, uint16(dice.Uint32()))
	}
	raw = bytes.Clone(raw)
	if dice.IntN(4) == 0 {
		raw[packet.VirtioLen+12+dice.IntN(len(raw)-packet.VirtioLen-12)] ^= byte(1 + dice.IntN(255))
	}
	if dice.IntN(16) == 0 {
		raw = raw[:packet.VirtioLen+packet.EthernetLen+dice.IntN(len(raw)-packet.VirtioLen-packet.EthernetLen)]
	}
	return port, raw
}
