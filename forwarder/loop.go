package forwarder

import (
	"bytes"
	"encoding/binary"
	"time"

	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/packet"
)

// A bridge beside another way between its sides would have frames go round for ever. So
// it asks: a frame that leaves by the LAN and comes in by the WAN has found such a way.
// Nothing is bridged then until none has come for a while. That other way may be another
// such bridge, so the probes of others pass up, as frames do: of two beside each other the
// one that is found first stands still, and asks on, and so the other does not.
// Spanning tree is not spoken: its frames pass no bridge that does not, and who speaks it
// has his own.
const (
	etherTypeProbe = 0x88b5         // for local experiments (IEEE 802)
	probeGroup     = 0x036777000001 // locally administered
	probeEvery     = 5 * time.Second
	probeSoon      = time.Second // at the start, and while there is a loop
	probeBeginning = 10          // probes that are sent soon
	loopedFor      = 30 * time.Second
	probeLen       = 60 // bytes, with the Ethernet header
)

// probes is when the next one is sent.
type probes struct {
	sent uint64
	next time.Duration
}

// othersProbes is how many probes of other bridges pass: more than two of them send.
var othersProbes = ration{time.Second / 4, 8}

// looped says whether the sides are joined elsewhere.
func (f *Forwarder) looped() bool {
	until := f.bridge.shared.loop.Load()
	return until != 0 && int64(f.now) < until
}

// mindLoop sends the probe that is due; worker 0's.
func (f *Forwarder) mindLoop() {
	p := &f.bridge.probes
	if until, said := f.bridge.shared.loop.Load(), f.said.Looped.Load(); said != until {
		if until > int64(f.now) && said <= int64(f.now) {
			f.said.Loops.Add(1)
		}
		f.said.Looped.Store(until)
		f.ring = true
	}
	if f.now < p.next || f.unlinked(clients.LAN) {
		return
	}
	p.next = f.now + probeEvery
	if p.sent++; p.sent <= probeBeginning || f.looped() {
		p.next = f.now + probeSoon
	}
	raw := append(f.built[:0], make([]byte, packet.VirtioLen+probeLen)...)
	packet.PutMAC(raw[packet.VirtioLen:], probeGroup)
	packet.PutMAC(raw[packet.VirtioLen+6:], f.cfg.LANMAC)
	body := raw[packet.VirtioLen+12:]
	binary.BigEndian.PutUint16(body, etherTypeProbe)
	copy(body[2:], f.bridge.shared.nonce[:])
	binary.BigEndian.PutUint64(body[18:], p.sent)
	f.enqueue(clients.LAN, raw, nil, queued{charge: unbilled})
	f.flush(clients.LAN)
}

// isProbe says whether a frame is a probe of this bridge.
func (f *Forwarder) isProbe(fr *frame) bool {
	return fr.EtherType == etherTypeProbe && bytes.HasPrefix(fr.Raw[fr.L3:], f.bridge.shared.nonce[:])
}

// probeHeard takes in one that has come back.
func (f *Forwarder) probeHeard(fr *frame) Reason {
	if fr.from == clients.WAN {
		f.bridge.shared.loop.Store(int64(f.now + loopedFor))
		f.nextMind = f.now // it is told at once
	}
	return Looped
}

// passProbe sends a probe of another bridge on, from the LAN to the WAN.
func (f *Forwarder) passProbe(fr *frame) Reason {
	bytes := fr.layer3()
	if fr.from != clients.LAN || fr.DstMAC != probeGroup || fr.Tagged || bytes != probeLen-packet.EthernetLen {
		return UnknownProtocol
	}
	if !othersProbes.allows(&f.bridge.others, f.now) {
		return Storm
	}
	f.enqueue(clients.WAN, fr.Raw, nil, queued{bytes: uint32(bytes), packets: 1, charge: exempt, direction: up})
	return Taken
}
