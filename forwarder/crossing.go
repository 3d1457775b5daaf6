package forwarder

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"gatewayd/forwarder/arena"
	"gatewayd/forwarder/link"
)

// A crossing is the way of frames from one worker to another: a bounded ring of
// bytes with one writer and one reader, outside the heap. The reader works on the
// frames where they lie, and gives their room back when they have been sent.
//
// A record is its length in the ring, its port, wire packets, layer-3 bytes, the
// frame's length and what else is known of it, 4 bytes each, and the frame. Records
// lie in one piece on multiples of 8; a length of 0 says that the next one is at the
// beginning.
const (
	crossingBytes  = 1 << 20 // two batches of super-packets
	crossingHeader = 24
)

type crossing struct {
	data   []byte // crossingBytes of records
	shared *crossingWords

	put, room  uint64 // writer: bytes put so far, and up to where there is room
	got, given uint64 // reader: bytes read so far, and up to where there are records
}

// crossingWords are counts of bytes since the crossing was made, each on cache lines
// of its own.
type crossingWords struct {
	written atomic.Uint64
	_       [15]uint64
	read    atomic.Uint64
}

// crossed is one frame that came over. It lies in the ring.
type crossed struct {
	port           uint8
	packets, bytes int    // as its sender counted them as waiting
	turned         uint32 // it turns round at the WAN address: the sender's slot and 1; else 0
	raw            []byte
}

func newCrossing(a *arena.Arena) (*crossing, error) {
	x := &crossing{room: crossingBytes}
	var shared []crossingWords
	err := errors.Join(arena.Make(a, &x.data, crossingBytes), arena.Make(a, &shared, 1))
	if err != nil {
		return nil, err
	}
	x.shared = &shared[0]
	return x, nil
}

// send copies a frame in; false when there is no room. The reader sees it from the
// next handOver on.
func (x *crossing) send(c crossed) bool {
	raw := c.raw
	need := uint64(crossingHeader+len(raw)+7) &^ 7
	at := x.put % crossingBytes
	skip := uint64(0)
	if at+need > crossingBytes {
		skip = crossingBytes - at
	}
	if len(raw) > link.MaxFrame {
		return false
	}
	if x.put+skip+need > x.room {
		if x.room = x.shared.read.Load() + crossingBytes; x.put+skip+need > x.room {
			return false
		}
	}
	if skip > 0 {
		binary.NativeEndian.PutUint32(x.data[at:], 0)
		x.put += skip
		at = 0
	}
	b := x.data[at : at+need]
	binary.NativeEndian.PutUint32(b, uint32(need))
	binary.NativeEndian.PutUint32(b[4:], uint32(c.port))
	binary.NativeEndian.PutUint32(b[8:], uint32(c.packets))
	binary.NativeEndian.PutUint32(b[12:], uint32(c.bytes))
	binary.NativeEndian.PutUint32(b[16:], uint32(len(raw)))
	binary.NativeEndian.PutUint32(b[20:], c.turned)
	copy(b[crossingHeader:], raw)
	x.put += need
	return true
}

// handOver lets the reader see what was sent; false when that is nothing new.
func (x *crossing) handOver() bool {
	if x.shared.written.Load() == x.put {
		return false
	}
	x.shared.written.Store(x.put)
	return true
}

// next returns the next frame; false when there is none.
func (x *crossing) next() (c crossed, ok bool) {
	if x.got == x.given {
		if x.given = x.shared.written.Load(); x.got == x.given {
			return c, false
		}
	}
	at := x.got % crossingBytes
	need := binary.NativeEndian.Uint32(x.data[at:])
	if need == 0 {
		x.got += crossingBytes - at
		at, need = 0, binary.NativeEndian.Uint32(x.data)
	}
	b := x.data[at : at+uint64(need)]
	x.got += uint64(need)
	length := binary.NativeEndian.Uint32(b[16:])
	return crossed{
		port:    uint8(binary.NativeEndian.Uint32(b[4:])),
		packets: int(binary.NativeEndian.Uint32(b[8:])),
		bytes:   int(binary.NativeEndian.Uint32(b[12:])),
		turned:  binary.NativeEndian.Uint32(b[20:]),
		raw:     b[crossingHeader : crossingHeader+length : crossingHeader+length],
	}, true
}

// giveBack gives the room of all frames that next has returned to the writer.
func (x *crossing) giveBack() { x.shared.read.Store(x.got) }

// waits says whether there is a frame that next has not returned.
func (x *crossing) waits() bool { return x.shared.written.Load() != x.got }
