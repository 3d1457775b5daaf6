package client

import (
	"encoding/binary"
	"fmt"
)

// recordHead is the length of a record without its key and value.
const recordHead = 1 + 2 + 4

func appendRecords(b []byte, records []Record) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(records)))
	for _, r := range records {
		b = append(b, bit(r.Delete))
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.Key)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.Value)))
		b = append(b, r.Key...)
		b = append(b, r.Value...)
	}
	return b
}

// batchSize is what MaxBatch limits.
func batchSize(records []Record) int {
	n := 0
	for _, r := range records {
		n += len(r.Key) + len(r.Value) + RecordCost
	}
	return n
}

// parser takes a frame apart from its front. After the first thing that is wrong it
// gives zeros; end says what that was.
type parser struct {
	rest  []byte
	wrong string
}

func (p *parser) need(ok bool, what string) {
	if !ok && p.wrong == "" {
		p.wrong, p.rest = what, nil
	}
}

// bytes takes n bytes, at most limit.
func (p *parser) bytes(n uint32, limit int) []byte {
	p.need(n <= uint32(limit) && int(n) <= len(p.rest), "length")
	if p.wrong != "" {
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}

func (p *parser) all() []byte {
	b := p.rest
	p.rest = nil
	return b
}

func (p *parser) byte() byte {
	if b := p.bytes(1, 1); b != nil {
		return b[0]
	}
	return 0
}

func (p *parser) bit() bool {
	b := p.byte()
	p.need(b <= 1, "flag")
	return b == 1
}

func (p *parser) uint16() uint16 {
	if b := p.bytes(2, 2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (p *parser) uint32() uint32 {
	if b := p.bytes(4, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (p *parser) uint64() uint64 {
	if b := p.bytes(8, 8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// records takes a number of records, at most limit, and the records. Memory is taken
// for what the frame can hold, never for what it claims.
func (p *parser) records(limit uint32) []Record {
	n := p.uint32()
	p.need(n <= limit && int(n) <= len(p.rest)/(recordHead+1), "number of records")
	if p.wrong != "" || n == 0 {
		return nil
	}
	records := make([]Record, n)
	for i := range records {
		r := &records[i]
		r.Delete = p.bit()
		klen, vlen := p.uint16(), p.uint32()
		p.need(klen > 0, "key length")
		p.need(!r.Delete || vlen == 0, "value of a deleted key")
		r.Key = p.bytes(uint32(klen), MaxKey)
		r.Value = p.bytes(vlen, MaxValue)
	}
	if p.wrong != "" {
		return nil
	}
	return records
}

func (p *parser) end(what string) error {
	p.need(len(p.rest) == 0, "bytes left over")
	if p.wrong != "" {
		return fmt.Errorf("%s: %w: %s", what, ErrMalformed, p.wrong)
	}
	return nil
}
