package sessions

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"time"
)

// A session record is packed where it can be, a fifth of its JSON: most of what is on
// disk are these. One with a field that packing does not know is JSON, as all once were.
//
//	packedSession (1), which fields are not zero (uvarint, a bit each), these in the
//	order of packedFields: numbers as varint, those without a sign as uvarint, times
//	as ns since 1970, true as its bit alone
const packedSession = 1

var errPacked = errors.New("packed session record is damaged")

// packedFields calls f with each field of a record that packing knows, in a fixed order,
// to which new ones are added at the end.
func packedFields(v *sessionRecord, f func(field any)) {
	for _, field := range []any{
		&v.Type, &v.Time, &v.Data, &v.ExpDays, &v.Down, &v.Up, &v.Global, &v.Created, &v.Started, &v.Unsure,
		&v.UsedUp, &v.UsedDown, &v.UsedTime, &v.TimeEdit, &v.DataEdit, &v.Running, &v.Spent, &v.Sequenced,
		&v.Lines, &v.Open, &v.Closed, &v.Paused,
		&v.Weight, &v.SlowDown, &v.SlowUp, &v.Slowed,
	} {
		f(field)
	}
}

// packSession encodes a record; nil when it has to be JSON.
func packSession(v sessionRecord) []byte {
	if !packable(v) {
		return nil
	}
	var fields uint64
	var values []byte
	bit := uint64(1)
	packedFields(&v, func(field any) {
		if !reflect.ValueOf(field).Elem().IsZero() {
			fields |= bit
			values = appendField(values, field)
		}
		bit <<= 1
	})
	return append(binary.AppendUvarint([]byte{packedSession}, fields), values...)
}

func appendField(b []byte, field any) []byte {
	switch p := field.(type) {
	case *Type:
		return binary.AppendUvarint(b, uint64(*p))
	case *pauseReason:
		return binary.AppendUvarint(b, uint64(*p))
	case *time.Time:
		return binary.AppendVarint(b, p.UnixNano())
	case **uint:
		return binary.AppendUvarint(b, uint64(**p))
	case *uint64:
		return binary.AppendUvarint(b, *p)
	case *uint32:
		return binary.AppendUvarint(b, uint64(*p))
	case *int:
		return binary.AppendVarint(b, int64(*p))
	case *int64:
		return binary.AppendVarint(b, *p)
	case *time.Duration:
		return binary.AppendVarint(b, int64(*p))
	}
	return b // a bool is its bit
}

// packable says whether packing loses nothing of a record.
func packable(v sessionRecord) bool {
	exact := true
	rest := v
	packedFields(&rest, func(field any) {
		if t, is := field.(*time.Time); is && !t.IsZero() {
			exact = exact && t.Location() == time.UTC && time.Unix(0, t.UnixNano()).Equal(*t)
		}
		reflect.ValueOf(field).Elem().SetZero()
	})
	return exact && reflect.ValueOf(rest).IsZero()
}

// unpackSession decodes a record, packed or JSON.
func unpackSession(b []byte) (v sessionRecord, err error) {
	if len(b) == 0 || b[0] != packedSession {
		return v, json.Unmarshal(b, &v)
	}
	rest, good := b[1:], true
	take := func(n int) {
		if good = good && n > 0; good {
			rest = rest[n:]
		}
	}
	unsigned := func() uint64 {
		n, size := binary.Uvarint(rest)
		take(size)
		return n
	}
	signed := func() int64 {
		n, size := binary.Varint(rest)
		take(size)
		return n
	}
	fields := unsigned()
	packedFields(&v, func(field any) {
		there := fields&1 == 1
		if fields >>= 1; !there || !good {
			return
		}
		switch p := field.(type) {
		case *Type:
			*p = Type(unsigned())
			good = good && int(*p) < len(typeNames)
		case *pauseReason:
			*p = knownReason(unsigned())
		case *bool:
			*p = true
		case *time.Time:
			*p = time.Unix(0, signed()).UTC()
		case **uint:
			n := uint(unsigned())
			*p = &n
		case *uint64:
			*p = unsigned()
		case *uint32:
			n := unsigned()
			*p, good = uint32(n), good && n <= math.MaxUint32
		case *int:
			*p = int(signed())
		case *int64:
			*p = signed()
		case *time.Duration:
			*p = time.Duration(signed())
		}
	})
	if !good || fields != 0 || len(rest) > 0 {
		return sessionRecord{}, errPacked
	}
	return v, nil
}
