package forwarder

import (
	"encoding/binary"
	"unsafe"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/link"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
	"gatewayd/limiter"
)

// ahead is what lookAhead knows of the frames of a batch, by their places in it.
type ahead struct {
	flows [link.Batch]uint32
	slots [link.Batch]uint32
	sum   uint64 // of what was read, so that reading it is not left out
}

const line = 64 // bytes of a cache line

// aheadFlows is from how many conversations on looking ahead pays, or, in bridge mode,
// clients: fewer are in the cache as it is.
const aheadFlows = 1024

// lookAhead reads what the frames of a batch will need of the tables: one step
// of all frames after the other, so that none waits for the memory of the one
// before. What it makes of headers that nobody has checked is a guess, and
// nothing but time depends on it.
func (f *Forwarder) lookAhead(port int, frames [][]byte) {
	if f.cfg.Bridge {
		f.lookAheadByMAC(port, frames)
		return
	}
	const l3, l4 = packet.VirtioLen + packet.EthernetLen, packet.VirtioLen + packet.EthernetLen + 20
	if _, flows := f.nat.Counts(); flows < f.aheadFrom {
		return
	}
	a, sum := &f.ahead, f.ahead.sum
	direction := up
	if port == clients.WAN {
		direction = down
	}
	for i, raw := range frames {
		a.flows[i], a.slots[i] = 0, 0
		if len(raw) < l4+4 {
			continue
		}
		src, dst := binary.BigEndian.Uint32(raw[l3+12:]), binary.BigEndian.Uint32(raw[l3+16:])
		srcPort, dstPort := binary.BigEndian.Uint16(raw[l4:]), binary.BigEndian.Uint16(raw[l4+2:])
		if direction == up {
			if a.slots[i] = f.byMAC.guess(packet.MAC(raw[packet.VirtioLen+6:])); a.slots[i] == 0 {
				continue // a stranger's
			}
			a.flows[i] = f.nat.AheadOut(&nat.Tuple{Proto: raw[l3+9], Addr: src, Port: srcPort, Remote: dst, RemotePort: dstPort})
		} else {
			a.flows[i] = f.nat.AheadIn(raw[l3+9], nat.Endpoint{Addr: dst, Port: dstPort}, src, srcPort)
		}
	}
	for i := range frames {
		slot := f.nat.AheadClient(a.flows[i])
		if direction == down {
			a.slots[i] = min(slot, uint32(len(f.clients)-1))
		}
		sum += uint64(slot)
	}
	f.ahead.sum = sum + f.readClients(frames, direction)
}

// lookAheadByMAC is lookAhead in bridge mode, where a MAC says whose a frame is.
func (f *Forwarder) lookAheadByMAC(port int, frames [][]byte) {
	if f.bound < f.aheadFrom {
		return
	}
	direction, at := up, packet.VirtioLen+6
	if port == clients.WAN {
		direction, at = down, packet.VirtioLen
	}
	for i, raw := range frames {
		f.ahead.slots[i] = 0
		if len(raw) >= packet.VirtioLen+packet.EthernetLen {
			f.ahead.slots[i] = f.byMAC.guess(packet.MAC(raw[at:]))
		}
	}
	f.ahead.sum += f.readClients(frames, direction)
}

// readClients reads what the frames of a batch will need of their clients.
func (f *Forwarder) readClients(frames [][]byte, direction int) (sum uint64) {
	a := &f.ahead
	for i := range frames {
		c := unsafe.Pointer(&f.clients[a.slots[i]])
		sum += read(c) + read(unsafe.Add(c, line)) + f.pacer.Ahead(limiter.SideOf(a.slots[i], uint8(direction)))
	}
	for i := range frames {
		s := f.table.Slot(int(a.slots[i]))
		sum += uint64(s.LastSeen.Load()) + s.Record(f.clients[a.slots[i]].active).Up.Load()
	}
	return sum
}

func read(at unsafe.Pointer) uint64 { return *(*uint64)(at) }

// guess is the slot in a key's first place; 0 when that is another key's.
func (x *index) guess(key uint64) uint32 {
	if e := x.entries[x.home(key)]; e>>slotBits == key {
		return uint32(e & (1<<slotBits - 1))
	}
	return 0
}
