package sessions

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"time"
)

// A checkpoint is what running sessions have used, packed: at most 24 bytes a
// session while it has used less than 2^49 bytes each way and 2^35 ms, and
// ids of running sessions lie less than 2^28 apart.
//
//	version (1) sequence (uvarint)
//	per session, in order of ids:
//	  id less the one before, bytes up, bytes down, ms (uvarint each)
//	CRC-32C of all before (4, big-endian)
const checkpointVersion = 1

// partSize is how many sessions a record holds at most; 24 bytes of each fit
// in a value of the store.
const partSize = 8000

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errCheckpoint = errors.New("checkpoint is damaged")

// entry is one session in a checkpoint.
type entry struct {
	session int64
	use     use
}

// packCheckpoint encodes entries, which it sorts.
func packCheckpoint(seq uint64, entries []entry) []byte {
	slices.SortFunc(entries, func(a, b entry) int { return int(min(max(a.session-b.session, -1), 1)) })
	b := make([]byte, 0, 16+24*len(entries))
	b = append(b, checkpointVersion)
	b = binary.AppendUvarint(b, seq)
	last := int64(0)
	for _, e := range entries {
		b = binary.AppendUvarint(b, uint64(e.session-last))
		b = binary.AppendUvarint(b, e.use.up)
		b = binary.AppendUvarint(b, e.use.down)
		b = binary.AppendUvarint(b, uint64(e.use.time/time.Millisecond))
		last = e.session
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unpackCheckpoint decodes a record; errCheckpoint when it is not whole.
func unpackCheckpoint(b []byte) (seq uint64, entries []entry, err error) {
	if len(b) < 6 || b[0] != checkpointVersion {
		return 0, nil, errCheckpoint
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return 0, nil, errCheckpoint
	}
	rest, ok := body[1:], true
	next := func() uint64 {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			ok = false
			return 0
		}
		rest = rest[n:]
		return v
	}
	seq = next()
	last := int64(0)
	for ok && len(rest) > 0 {
		last += int64(next())
		e := entry{last, use{next(), next(), 0}}
		ms := next()
		if last <= 0 || ms > uint64(1<<63-1)/uint64(time.Millisecond) {
			ok = false
		}
		e.use.time = time.Duration(ms) * time.Millisecond
		entries = append(entries, e)
	}
	if !ok {
		return 0, nil, errCheckpoint
	}
	return seq, entries, nil
}
