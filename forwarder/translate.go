package forwarder

import (
	"gatewayd/forwarder/clients"
	"gatewayd/forwarder/nat"
	"gatewayd/forwarder/packet"
)

// cap takes in what one client may have of the translations.
func (f *Forwarder) cap() {
	f.nat.Cap(int(f.header.ClientFlows.Load()), int(f.header.ClientPorts.Load()))
}

// translate makes a packet from inside come from its client's WAN address.
func (f *Forwarder) translate(fr *frame) Reason {
	if fr.to != clients.WAN {
		return Kept
	}
	if fr.Proto == packet.TCP && fr.Flags&packet.SYN != 0 {
		fr.ClampMSS(f.mss)
	}
	id := nat.Client{Slot: clients.HostSlot, Generation: 1}
	if fr.client != nil {
		id = fr.client.id
	}
	if fr.IsFragment() {
		return f.translateFragment(fr, id)
	}
	if fr.IsICMPError() {
		return f.translateError(fr)
	}
	if !fr.HasPorts() || fr.Proto == packet.ICMP && !fr.Asks() {
		return NotTranslatable
	}
	k := tuple(fr)
	ext, v := f.nat.Out(k, id, segment(fr), int64(f.now))
	if v != nat.Translated {
		f.refused(fr, v)
		return ofNAT(v)
	}
	fr.SetSrc(ext.Addr, ext.Port)
	return Kept
}

// restore finds whose a packet from outside is and gives it back its address.
func (f *Forwarder) restore(fr *frame) Reason {
	var addr uint32
	var port uint16
	var id nat.Client
	v := nat.NoMapping
	switch {
	case fr.IsFragment():
		return f.restoreFragment(fr)
	case fr.IsICMPError():
		return f.restoreError(fr)
	case !fr.HasPorts() || fr.Proto == packet.ICMP && !fr.Answers():
		if fr.Proto != packet.ICMP {
			return NotTranslatable
		}
	default:
		fr.external = cameTo(fr)
		addr, port, id, v = f.inside(fr)
	}
	if v != nat.Translated {
		f.suspect(fr)
		return ofNAT(v)
	}
	if fr.Proto == packet.TCP && fr.Flags&packet.SYN != 0 {
		fr.ClampMSS(f.mss)
	}
	fr.SetDst(addr, port)
	return f.deliver(fr, id)
}

// inside finds the endpoint that a packet from outside is for, by the filter of this
// moment.
func (f *Forwarder) inside(fr *frame) (addr uint32, port uint16, id nat.Client, v nat.Verdict) {
	f.nat.Filter(nat.Filtering(f.header.Filtering.Load()))
	return f.nat.In(fr.Proto, cameTo(fr), fr.Src, remotePort(fr), segment(fr), int64(f.now))
}

// cameTo is the external side of a packet from outside.
func cameTo(fr *frame) nat.Endpoint { return nat.Endpoint{Addr: fr.Dst, Port: fr.DstPort} }

// tuple is the internal side of a packet from inside.
func tuple(fr *frame) nat.Tuple {
	return nat.Tuple{Proto: fr.Proto, Addr: fr.Src, Port: fr.SrcPort, Remote: fr.Dst, RemotePort: remotePortUp(fr)}
}

func remotePortUp(fr *frame) uint16 {
	if fr.Proto == packet.ICMP {
		return 0
	}
	return fr.DstPort
}

func remotePort(fr *frame) uint16 {
	if fr.Proto == packet.ICMP {
		return 0
	}
	return fr.SrcPort
}

// segment is what the translations follow of a TCP connection.
func segment(fr *frame) nat.Segment {
	if fr.Proto != packet.TCP {
		return nat.Segment{}
	}
	return nat.Segment{Flags: fr.Flags, Seq: fr.Seq, Ack: fr.Ack, Window: fr.Window, WScale: fr.WScale,
		Len: len(fr.Raw) - fr.Payload}
}
