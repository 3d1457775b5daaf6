package forwarder

import (
	"time"

	"gatewayd/forwarder/packet"
)

// What the box has sent out by the WAN of a bridge, so that answers come in and nothing
// else does: there is no firewall on the box.
const (
	ownBuckets = 1024
	ownWays    = 4
	ownTCP     = 5 * time.Minute
	ownUDP     = 2 * time.Minute
	ownICMP    = time.Minute
)

// ownFlow is one conversation, seen from the box. Without ports it is all with a host, for
// later fragments.
type ownFlow struct {
	remote              uint32
	remotePort, boxPort uint16
	proto               uint8
	until               time.Duration
}

type ownFlows [ownBuckets][ownWays]ownFlow

func (o *ownFlows) bucket(k ownFlow) *[ownWays]ownFlow {
	h := (uint64(k.remote)<<32 | uint64(k.remotePort)<<16 | uint64(k.boxPort)) ^ uint64(k.proto)<<24
	return &o[h*0x9e3779b97f4a7c15>>54]
}

// note remembers a conversation; the one that ends first makes room.
func (o *ownFlows) note(k ownFlow) {
	b := o.bucket(k)
	oldest := 0
	for i := range b {
		if b[i].same(k) {
			b[i].until = k.until
			return
		}
		if b[i].until < b[oldest].until {
			oldest = i
		}
	}
	b[oldest] = k
}

func (o *ownFlows) has(k ownFlow, now time.Duration) bool {
	for _, v := range o.bucket(k) {
		if v.same(k) && v.until > now {
			return true
		}
	}
	return false
}

func (v ownFlow) same(k ownFlow) bool {
	v.until = k.until
	return v == k
}

// remember notes what the box sends out by the WAN.
func (f *Forwarder) remember(fr *frame) {
	lasts := answeredFor(fr.Proto)
	if lasts == 0 {
		return
	}
	k := ownFlow{remote: fr.Dst, proto: fr.Proto, until: f.now + lasts}
	f.bridge.own.note(k)
	if fr.HasPorts() && (fr.Proto != packet.ICMP || fr.Asks()) {
		k.remotePort, k.boxPort = remotePortUp(fr), fr.SrcPort
		f.bridge.own.note(k)
	}
}

// answeredFor is how long an answer of a protocol is waited for; 0: none is.
func answeredFor(proto uint8) time.Duration {
	switch proto {
	case packet.TCP:
		return ownTCP
	case packet.UDP:
		return ownUDP
	case packet.ICMP:
		return ownICMP
	}
	return 0
}

// asked says whether a frame from the WAN belongs to what the box has sent there: an
// answer, a part of one, or an error about it.
func (f *Forwarder) asked(fr *frame) bool {
	k := ownFlow{remote: fr.Src, proto: fr.Proto}
	switch {
	case fr.FragOffset != 0:
	case fr.IsICMPError():
		var in packet.Inner
		if !fr.Embedded(&in) || in.Src != f.lan {
			return false
		}
		k = ownFlow{remote: in.Dst, remotePort: in.DstPort, boxPort: in.SrcPort, proto: in.Proto}
		if in.Proto == packet.ICMP {
			k.remotePort = 0
		}
	case !fr.HasPorts() || fr.Proto == packet.ICMP && !fr.Answers():
		return false
	default:
		k.remotePort, k.boxPort = remotePort(fr), fr.DstPort
	}
	return f.bridge.own.has(k, f.now)
}
