package sessions

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"gatewayd/store/client"
)

// A line of a ledger on disk, 20 to 30 bytes without words:
//
//	version (1) kind (1) flags (1)
//	at, ms since 1970 (varint)
//	bytes up, bytes down, ms used (uvarint each)
//	what is left, ms (uvarint)                                with flagTime
//	what is left, bytes (uvarint)                             with flagData
//	from when on the clock was not trusted, ns since 1970     with flagUnsure
//	edits, ms and bytes (varint each)                         with flagEdits
//	why: length (uvarint), UTF-8                              with flagWhy
//	changes: number (uvarint), of each field, old and new     with flagChanges
//	  as length (uvarint) and bytes
//
// The store keeps a checksum with it.
const lineVersion = 1

const (
	flagTime = 1 << iota
	flagData
	flagUnsure
	flagEdits
	flagWhy
	flagChanges
	allFlags = 1<<iota - 1
)

// lineKinds are the kinds by their numbers on disk.
var lineKinds = [...]LineKind{
	1: LineCreate, 2: LineStart, 3: LineResume, 4: LineChain, 5: LinePause, 6: LineTopUp, 7: LineChange, 8: LineUse, 9: LineEnd, 10: LineDelete, 11: LineThrottle,
}

var errLine = errors.New("line of a ledger is damaged")

const ledgerKeys = "l/"

func ledgerKey(id int64) []byte { return append([]byte(ledgerKeys), number(id)...) }
func lineKey(id int64, n uint32) []byte {
	return binary.BigEndian.AppendUint32(ledgerKey(id), n)
}

func isLine(r client.Record) bool { return bytes.HasPrefix(r.Key, []byte(ledgerKeys)) }

// lineOf returns the session and the number of a line's key.
func lineOf(key []byte) (id int64, n uint32, err error) {
	const at = len(ledgerKeys)
	if len(key) != at+12 {
		return 0, 0, fmt.Errorf("%w: key %q", errLine, key)
	}
	id, _ = numberOf(key[at : at+8])
	return id, binary.BigEndian.Uint32(key[at+8:]), nil
}

func (x *line) record(id int64) client.Record {
	return client.Record{Key: lineKey(id, x.number), Value: x.pack()}
}

func (x *line) pack() []byte {
	flags := byte(0)
	for i, set := range []bool{x.hasTime, x.hasData, !x.unsure.IsZero(), x.timeEdit != 0 || x.dataEdit != 0, x.why != "", len(x.changed) > 0} {
		if set {
			flags |= 1 << i
		}
	}
	b := append(make([]byte, 0, 48+len(x.why)), lineVersion, byte(slices.Index(lineKinds[:], x.kind)), flags)
	b = binary.AppendVarint(b, x.at.UnixMilli())
	b = binary.AppendUvarint(b, x.use.up)
	b = binary.AppendUvarint(b, x.use.down)
	b = binary.AppendUvarint(b, uint64(x.use.time/time.Millisecond))
	if x.hasTime {
		b = binary.AppendUvarint(b, uint64(x.timeLeft/time.Millisecond))
	}
	if x.hasData {
		b = binary.AppendUvarint(b, uint64(x.dataLeft))
	}
	if !x.unsure.IsZero() {
		b = binary.AppendVarint(b, x.unsure.UnixNano())
	}
	if flags&flagEdits != 0 {
		b = binary.AppendVarint(b, int64(x.timeEdit/time.Millisecond))
		b = binary.AppendVarint(b, x.dataEdit)
	}
	if x.why != "" {
		b = appendText(b, x.why)
	}
	if len(x.changed) > 0 {
		b = binary.AppendUvarint(b, uint64(len(x.changed)))
		for _, c := range x.changed {
			b = appendText(appendText(appendText(b, c.Field), c.Old), c.New)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// readLine decodes a line; errLine when it is not whole.
func readLine(r client.Record) (x line, err error) {
	id, n, err := lineOf(r.Key)
	if err != nil {
		return line{}, err
	}
	p := parts{rest: r.Value}
	x = p.line()
	if x.number = n; p.bad || len(p.rest) > 0 {
		return line{}, fmt.Errorf("%w: line %d of session %d", errLine, n, id)
	}
	return x, nil
}

// parts takes a value apart. What is missing or out of its range makes it bad,
// and all that follows zero.
type parts struct {
	rest []byte
	bad  bool
}

func (p *parts) line() (x line) {
	version, kind, flags := p.octet(), p.octet(), p.octet()
	if version != lineVersion || kind == 0 || int(kind) >= len(lineKinds) || flags > allFlags {
		p.bad = true
		return x
	}
	x.kind = lineKinds[kind]
	x.hasTime, x.hasData = flags&flagTime != 0, flags&flagData != 0
	x.at = p.moment()
	x.use = use{p.number(math.MaxUint64), p.number(math.MaxUint64), p.millis()}
	if x.hasTime {
		x.timeLeft = p.millis()
	}
	if x.hasData {
		x.dataLeft = int64(p.number(math.MaxInt64))
	}
	if flags&flagUnsure != 0 {
		x.unsure = time.Unix(0, p.varint()).UTC()
	}
	if flags&flagEdits != 0 {
		ms := p.varint()
		if most := int64(math.MaxInt64 / time.Millisecond); ms > most || ms < -most {
			p.bad = true
		}
		x.timeEdit, x.dataEdit = time.Duration(ms)*time.Millisecond, p.varint()
	}
	if flags&flagWhy != 0 {
		x.why = p.text()
	}
	if flags&flagChanges != 0 {
		for range min(p.number(math.MaxInt32), uint64(len(p.rest))) { // each takes some
			x.changed = append(x.changed, LineChanged{p.text(), p.text(), p.text()})
		}
	}
	return x
}

func (p *parts) octet() byte {
	if p.bad || len(p.rest) == 0 {
		p.bad = true
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

// take moves on by n bytes; n as binary's readers return it.
func (p *parts) take(n int) {
	if n <= 0 {
		p.bad = true
		return
	}
	p.rest = p.rest[n:]
}

func (p *parts) number(most uint64) uint64 {
	if p.bad {
		return 0
	}
	v, n := binary.Uvarint(p.rest)
	if p.take(n); p.bad || v > most {
		p.bad = true
		return 0
	}
	return v
}

func (p *parts) varint() int64 {
	if p.bad {
		return 0
	}
	v, n := binary.Varint(p.rest)
	if p.take(n); p.bad {
		return 0
	}
	return v
}

// moment reads ms since 1970, of a year that JSON can say.
func (p *parts) moment() time.Time {
	at := time.UnixMilli(p.varint()).UTC()
	if y := at.Year(); y < 1 || y > 9999 {
		p.bad = true
		return time.Time{}
	}
	return at
}

func (p *parts) millis() time.Duration {
	return time.Duration(p.number(math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func (p *parts) text() string {
	n := p.number(uint64(len(p.rest)))
	if p.bad || n > uint64(len(p.rest)) {
		p.bad = true
		return ""
	}
	s := string(p.rest[:n])
	p.rest = p.rest[n:]
	p.bad = p.bad || !utf8.ValidString(s)
	return s
}
