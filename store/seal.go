package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"gatewayd/store/client"
)

// sealSize is what a stored value is longer than the value, in bytes.
const sealSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// seal is the value as it is stored: followed by the CRC-32C (Castagnoli, RFC 3720
// section B.4) of key and value, so that a value under another's key fails too.
func seal(key, value []byte) []byte {
	b := make([]byte, 0, len(value)+sealSize)
	b = append(b, value...)
	return binary.BigEndian.AppendUint32(b, checksum(key, value))
}

// Keys are stored behind one byte, so that any key is a caller's to use, and others
// stay free for the store's own records.
const space = 'd'

// sequenceKey has the sequence of the newest batch, as 8 bytes big-endian.
var sequenceKey = []byte("sequence")

func storedKey(key []byte) []byte {
	b := make([]byte, 0, 1+len(key))
	return append(append(b, space), key...)
}

// unseal gives the value within stored. The error wraps client.ErrCorrupt and names
// the key.
func unseal(key, stored []byte) ([]byte, error) {
	n := len(stored) - sealSize
	if n < 0 || binary.BigEndian.Uint32(stored[n:]) != checksum(key, stored[:n]) {
		return nil, fmt.Errorf("%w: key %q, %d bytes stored", client.ErrCorrupt, key, len(stored))
	}
	return stored[:n:n], nil
}
