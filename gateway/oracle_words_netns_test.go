//go:build netns

package gateway_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// exchange is what testdata/oracle.py says of one case.
type exchange struct {
	Name   string
	Fudged int // octets of each payload that differ from gateway to gateway
	Ports  []struct {
		Proto              string
		External, Internal uint16
	}
	Steps []struct {
		From           string
		Client, Server []string // frames, hexadecimal
	}
}

// words says what came out at both ends, step by step, in words that are the
// same for two gateways that do the same: an external port is written as whom
// it stands for, a checksum as right or wrong.
func (x exchange) words() string {
	var all strings.Builder
	for i, s := range x.Steps {
		fmt.Fprintf(&all, "%d. from the %s:", i+1, s.From)
		said := false
		for _, at := range []struct {
			end    string
			frames []string
			mtu    int
		}{{"client", s.Client, lanMTU}, {"server", s.Server, wanMTU}} {
			for _, p := range wholePackets(at.frames, at.mtu) {
				fmt.Fprintf(&all, "\n   the %s gets %s", at.end, x.packet(p.ip, true)+p.note)
				said = true
			}
		}
		if !said {
			all.WriteString(" nothing comes out")
		}
		all.WriteByte('\n')
	}
	return all.String()
}

// onWire is an IPv4 packet that arrived, put together from its fragments.
type onWire struct {
	ip     []byte
	note   string
	pieces [][]byte
}

// wholePackets are the packets in frames, in the order of their first one.
func wholePackets(frames []string, mtu int) (all []onWire) {
	first := map[string]int{}
	for _, text := range frames {
		frame, err := hex.DecodeString(text)
		if err != nil || len(frame) < 34 {
			all = append(all, onWire{note: fmt.Sprintf("no packet: %s %v", text, err)})
			continue
		}
		ip := frame[14:]
		n := int(binary.BigEndian.Uint16(ip[2:]))
		if n > len(ip) || n < headOf(ip) {
			all = append(all, onWire{note: "a packet cut short: " + text})
			continue
		}
		note := ""
		if n < len(ip) {
			note = fmt.Sprintf(" and %d octets more", len(ip)-n)
		}
		if n > mtu {
			note += fmt.Sprintf(" over the MTU: %d", n)
		}
		ip = ip[:n]
		if sumOf(ip[:headOf(ip)]) != 0xffff {
			note += " with a wrong header checksum"
		}
		if binary.BigEndian.Uint16(ip[6:])&0x3fff == 0 {
			all = append(all, onWire{ip: ip, note: note})
			continue
		}
		key := string(ip[4:6]) + string(ip[9:10]) + string(ip[12:20])
		at, known := first[key]
		if !known {
			at = len(all)
			first[key] = at
			all = append(all, onWire{note: " in fragments"})
		}
		all[at].pieces = append(all[at].pieces, ip)
		all[at].note += note
	}
	for i := range all {
		if all[i].pieces != nil {
			all[i].join()
		}
	}
	return all
}

// offsetOf is where a fragment's octets stand in its packet.
func offsetOf(ip []byte) int { return int(binary.BigEndian.Uint16(ip[6:])&0x1fff) * 8 }

// join puts a packet together from its fragments, in whatever order they came.
func (w *onWire) join() {
	slices.SortStableFunc(w.pieces, func(a, b []byte) int { return offsetOf(a) - offsetOf(b) })
	w.ip = slices.Clone(w.pieces[0][:headOf(w.pieces[0])])
	for _, p := range w.pieces {
		if have := len(w.ip) - headOf(w.ip); offsetOf(p) != have {
			w.note += fmt.Sprintf(", one at %d after %d octets", offsetOf(p), have)
		}
		w.ip = append(w.ip, p[headOf(p):]...)
	}
	if last := w.pieces[len(w.pieces)-1]; last[6]&0x20 == 0 {
		w.note += ", all there"
	}
}

func headOf(ip []byte) int { return int(ip[0]&15) * 4 }

// sumOf is the checksum as RFC 1071 defines it, not complemented.
func sumOf(b []byte) uint16 {
	var s uint32
	for i, v := range b {
		if i%2 == 0 {
			s += uint32(v) << 8
		} else {
			s += uint32(v)
		}
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// port is a port beside an address: an external one as whom it stands for.
func (x exchange) port(proto, address string, port uint16) string {
	for _, p := range x.Ports {
		if address == wanIP && p.Proto == proto && p.External == port {
			return fmt.Sprintf("the mapping of %d", p.Internal)
		}
	}
	return fmt.Sprint(port)
}

func addressOf(b []byte) string { return netip.AddrFrom4([4]byte(b[:4])).String() }

// packet says what a packet is; one that is quoted may be cut short.
func (x exchange) packet(ip []byte, outer bool) string {
	if len(ip) < 20 || len(ip) < headOf(ip) {
		return fmt.Sprintf("%d octets of no packet", len(ip))
	}
	src, dst, body := addressOf(ip[12:]), addressOf(ip[16:]), ip[headOf(ip):]
	id := binary.BigEndian.Uint16(ip[4:])
	said := fmt.Sprintf("%s to %s, id %d, TOS %#x, TTL %d", src, dst, id, ip[1], ip[8])
	own := outer && isError(ip) && (src == lanIP || src == wanIP && id != clientsErrors)
	if own { // RFC 1812, 4.3.2.5
		said = fmt.Sprintf("the gateway's own, %s to %s, precedence %d, TTL %d", src, dst, ip[1]>>5, ip[8])
	}
	if ip[6]&0x40 != 0 && !own {
		said += ", DF"
	}
	if headOf(ip) > 20 {
		said += fmt.Sprintf(", options %x", ip[20:headOf(ip)])
	}
	complete := outer || int(binary.BigEndian.Uint16(ip[2:])) <= len(ip)
	if !outer {
		said += fmt.Sprintf(", %d octets of %d", len(ip), binary.BigEndian.Uint16(ip[2:]))
		if sumOf(ip[:headOf(ip)]) != 0xffff {
			said += ", wrong header checksum"
		}
	}
	pseudo := binary.BigEndian.AppendUint16(append(append([]byte{}, ip[12:20]...), 0, ip[9]), uint16(len(body)))
	switch {
	case ip[9] == 17 && len(body) >= 8:
		state := sumState(binary.BigEndian.Uint16(body[6:]), append(pseudo, body...), complete)
		if binary.BigEndian.Uint16(body[6:]) == 0 {
			state = "none"
		}
		return said + fmt.Sprintf(": UDP %s to %s, length %d, checksum %s, %s", x.port("UDP", src, binary.BigEndian.Uint16(body)),
			x.port("UDP", dst, binary.BigEndian.Uint16(body[2:])), binary.BigEndian.Uint16(body[4:]), state, x.payload(body[8:]))
	case ip[9] == 6 && len(body) >= 20:
		n := min(max(int(body[12]>>4)*4, 20), len(body))
		return said + fmt.Sprintf(": TCP %s to %s, seq %d, ack %d, %x options %x, checksum %s, %s", x.port("TCP", src, binary.BigEndian.Uint16(body)),
			x.port("TCP", dst, binary.BigEndian.Uint16(body[2:])), binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:]), body[12:16],
			body[20:n], sumState(binary.BigEndian.Uint16(body[16:]), append(pseudo, body...), complete), x.payload(body[n:]))
	case ip[9] == 6 && len(body) >= 8:
		return said + fmt.Sprintf(": TCP %s to %s, seq %d, cut short", x.port("TCP", src, binary.BigEndian.Uint16(body)),
			x.port("TCP", dst, binary.BigEndian.Uint16(body[2:])), binary.BigEndian.Uint32(body[4:]))
	case ip[9] == 1 && len(body) >= 8:
		return said + x.icmp(src, dst, body, complete)
	}
	return said + fmt.Sprintf(": protocol %d, %x", ip[9], body)
}

// clientsErrors is the IP id of the errors that the oracle sends.
const clientsErrors = 99

// isError says whether a packet is an ICMP error.
func isError(ip []byte) bool {
	kind := headOf(ip)
	return ip[9] == 1 && len(ip) > kind && (ip[kind] == 3 || ip[kind] == 11 || ip[kind] == 12)
}

func (x exchange) icmp(src, dst string, body []byte, complete bool) string {
	said := fmt.Sprintf(": ICMP %d/%d, checksum %s, ", body[0], body[1], sumState(binary.BigEndian.Uint16(body[2:]), body, complete))
	if body[0] == 0 || body[0] == 8 || body[0] >= 13 && body[0] <= 18 {
		at := src
		if body[0] == 0 {
			at = dst
		}
		return said + fmt.Sprintf("id %s, %x, %s", x.port("ICMP", at, binary.BigEndian.Uint16(body[4:])), body[6:8], x.payload(body[8:]))
	}
	return said + fmt.Sprintf("%x, about {%s}", body[4:8], x.packet(body[8:], false))
}

// sumState says whether what stands in the field is right.
func sumState(field uint16, summed []byte, complete bool) string {
	switch {
	case !complete:
		return "of more than is there"
	case sumOf(summed) != 0xffff:
		return "wrong"
	case field == 0xffff:
		return "right, as ffff"
	}
	return "right"
}

func (x exchange) payload(b []byte) string {
	b = b[min(x.Fudged, len(b)):]
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%d octets %x", len(b), sum[:4])
}
