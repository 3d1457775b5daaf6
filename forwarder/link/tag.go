package link

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const addressesLen = 12 // bytes: destination and source MAC

// tag is the VLAN tag that the kernel took out of a frame.
type tag struct {
	valid bool
	proto uint16
	tci   uint16
}

// tagOf reads a slot's tag. A priority tag (VLAN 0, IEEE 802.1Q 6.9) is none unless
// such are kept; a kernel that tells no protocol means 802.1Q.
func tagOf(h *unix.Tpacket2Hdr, priority bool) tag {
	if h.Status&unix.TP_STATUS_VLAN_VALID == 0 || h.Vlan_tci&0x0fff == 0 && !priority || h.Snaplen < addressesLen {
		return tag{}
	}
	t := tag{true, 0x8100, h.Vlan_tci}
	if h.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		t.proto = h.Vlan_tpid
	}
	return t
}

// put writes the tag behind the MAC addresses of a frame that has 4 bytes free
// in front, moves the offsets in its header with it, and returns the frame.
func (t tag) put(frame []byte) []byte {
	copy(frame, frame[4:4+HeaderLen+addressesLen])
	binary.BigEndian.PutUint16(frame[HeaderLen+addressesLen:], t.proto)
	binary.BigEndian.PutUint16(frame[HeaderLen+addressesLen+2:], t.tci)
	const needsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	if frame[0]&needsCsum != 0 {
		addUint16(frame[6:], 4) // csum_start
	}
	if frame[1] != 0 {
		addUint16(frame[2:], 4) // hdr_len
	}
	return frame
}

func addUint16(b []byte, n uint16) {
	binary.LittleEndian.PutUint16(b, binary.LittleEndian.Uint16(b)+n)
}
