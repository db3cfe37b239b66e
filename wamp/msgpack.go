package wamp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stack4things/s4t"
)

// Bounds of one message.
const (
	maxDepth = 16      // nested lists and dictionaries
	maxItems = 1 << 14 // values in all: a small message must not become a large structure
)

// The Go types of msgpack (github.com/msgpack/msgpack, spec.md) as WAMP uses
// it: nil, bool, int64, uint64 (above math.MaxInt64 only), float64, string,
// []byte, list and dict. Extensions are refused: WAMP has none.
type (
	list = []any
	dict = map[string]any
)

// First bytes of the formats.
const (
	mpNil      = 0xc0
	mpFalse    = 0xc2
	mpTrue     = 0xc3
	mpBin8     = 0xc4
	mpBin16    = 0xc5
	mpBin32    = 0xc6
	mpFloat32  = 0xca
	mpFloat64  = 0xcb
	mpUint8    = 0xcc
	mpUint16   = 0xcd
	mpUint32   = 0xce
	mpUint64   = 0xcf
	mpInt8     = 0xd0
	mpInt16    = 0xd1
	mpInt32    = 0xd2
	mpInt64    = 0xd3
	mpStr8     = 0xd9
	mpStr16    = 0xda
	mpStr32    = 0xdb
	mpArray16  = 0xdc
	mpArray32  = 0xdd
	mpMap16    = 0xde
	mpMap32    = 0xdf
	mpFixMap   = 0x80 // to 0x8f
	mpFixArray = 0x90 // to 0x9f
	mpFixStr   = 0xa0 // to 0xbf
	mpNegative = 0xe0 // to 0xff
)

// Append appends v in the shortest format of msgpack: nil, bool, int, int64,
// uint64, float64, string, []byte, []any or map[string]any. Another type is a
// programming error: it panics.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, mpNil)
	case bool:
		if v {
			return append(b, mpTrue)
		}
		return append(b, mpFalse)
	case int:
		return appendInt(b, int64(v))
	case int64:
		return appendInt(b, v)
	case uint64:
		return appendUint(b, v)
	case float64:
		return binary.BigEndian.AppendUint64(append(b, mpFloat64), math.Float64bits(v))
	case string:
		return append(appendLength(b, len(v), mpFixStr, 31, mpStr8, mpStr16), v...)
	case []byte:
		return append(appendLength(b, len(v), 0, -1, mpBin8, mpBin16), v...)
	case list:
		b = appendLength(b, len(v), mpFixArray, 15, 0, mpArray16)
		for _, e := range v {
			b = Append(b, e)
		}
		return b
	case dict:
		b = appendLength(b, len(v), mpFixMap, 15, 0, mpMap16)
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys) // the same message is the same bytes
		for _, k := range keys {
			b = Append(Append(b, k), v[k])
		}
		return b
	}
	panic(fmt.Sprintf("wamp: encode %T", v))
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 128:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, mpUint8, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, mpUint16), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, mpUint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, mpUint64), v)
}

func appendInt(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUint(b, uint64(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, mpInt8, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, mpInt16), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, mpInt32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, mpInt64), uint64(v))
}

// appendLength appends a head of a string, array or map: in the first byte up
// to fixMax, then with 1 byte (f8 != 0), 2 or 4 bytes. The formats with 2 and
// 4 bytes are neighbours.
func appendLength(b []byte, n int, fix byte, fixMax int, f8, f16 byte) []byte {
	switch {
	case n <= fixMax:
		return append(b, fix|byte(n))
	case n <= math.MaxUint8 && f8 != 0:
		return append(b, f8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, f16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, f16+1), uint32(n))
}

var (
	errShort = errors.New("message is cut short")
	errDeep  = fmt.Errorf("message is nested deeper than %d", maxDepth)
	errItems = fmt.Errorf("message has more than %d values", maxItems)
)

// decoder reads one message. Nothing it returns aliases b.
type decoder struct {
	b     []byte
	items int // values so far
}

// Decode reads a whole message: one list, and nothing behind it. It is bounded:
// [s4t.MaxMessage] bytes, 16 levels, 16,384 values, string keys that come once,
// no extension. Nothing that it returns aliases b.
func Decode(b []byte) (list, error) {
	if len(b) > s4t.MaxMessage {
		return nil, fmt.Errorf("message has %d bytes, %d are allowed", len(b), s4t.MaxMessage)
	}
	d := decoder{b: b}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if len(d.b) != 0 {
		return nil, errors.New("something follows the message")
	}
	l, ok := v.(list)
	if !ok {
		return nil, errors.New("message is not a list")
	}
	return l, nil
}

func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.b) {
		return nil, errShort
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p, nil
}

// number reads an unsigned big-endian number of n bytes.
func (d *decoder) number(n int) (uint64, error) {
	p, err := d.take(n)
	var v uint64
	for _, c := range p {
		v = v<<8 | uint64(c)
	}
	return v, err
}

func (d *decoder) value(depth int) (any, error) {
	if d.items++; d.items > maxItems {
		return nil, errItems
	}
	first, err := d.number(1)
	if err != nil {
		return nil, err
	}
	switch f := byte(first); {
	case f < mpFixMap:
		return int64(f), nil
	case f < mpFixArray:
		return d.dict(uint64(f&0x0f), depth)
	case f < mpFixStr:
		return d.list(uint64(f&0x0f), depth)
	case f < mpNil:
		return d.text(uint64(f & 0x1f))
	case f >= mpNegative:
		return int64(int8(f)), nil
	case f == mpNil:
		return nil, nil
	case f == mpFalse, f == mpTrue:
		return f == mpTrue, nil
	case f >= mpBin8 && f <= mpBin32:
		n, err := d.number(1 << (f - mpBin8))
		if err != nil || n > uint64(len(d.b)) {
			return nil, errShort
		}
		p, err := d.take(int(n))
		return slices.Clone(p), err
	case f == mpFloat32:
		n, err := d.number(4)
		return float64(math.Float32frombits(uint32(n))), err
	case f == mpFloat64:
		n, err := d.number(8)
		return math.Float64frombits(n), err
	case f >= mpUint8 && f <= mpUint64:
		n, err := d.number(1 << (f - mpUint8))
		if n > math.MaxInt64 {
			return n, err
		}
		return int64(n), err
	case f >= mpInt8 && f <= mpInt64:
		size := 1 << (f - mpInt8)
		n, err := d.number(size)
		shift := 64 - 8*size
		return int64(n<<shift) >> shift, err // sign from the top bit
	case f >= mpStr8 && f <= mpStr32:
		n, err := d.number(1 << (f - mpStr8))
		if err != nil {
			return nil, err
		}
		return d.text(n)
	case f == mpArray16, f == mpArray32:
		n, err := d.number(2 << (f - mpArray16))
		if err != nil {
			return nil, err
		}
		return d.list(n, depth)
	case f == mpMap16, f == mpMap32:
		n, err := d.number(2 << (f - mpMap16))
		if err != nil {
			return nil, err
		}
		return d.dict(n, depth)
	default:
		return nil, fmt.Errorf("format 0x%02x is not WAMP", f)
	}
}

func (d *decoder) text(n uint64) (string, error) {
	if n > uint64(len(d.b)) {
		return "", errShort
	}
	p, err := d.take(int(n))
	return string(p), err
}

func (d *decoder) list(n uint64, depth int) (list, error) {
	if err := d.enter(n, n, depth); err != nil {
		return nil, err
	}
	l := make(list, 0, n)
	for range n {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, nil
}

func (d *decoder) dict(n uint64, depth int) (dict, error) {
	if err := d.enter(n, 2*n, depth); err != nil {
		return nil, err
	}
	m := make(dict, n)
	for range n {
		k, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		key, ok := k.(string)
		if !ok {
			return nil, errors.New("a key is not a string")
		}
		if _, twice := m[key]; twice {
			return nil, errors.New("a key is there twice")
		}
		if m[key], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// enter checks, before anything is allocated, that n elements of in all values
// can still come: each takes a byte at least.
func (d *decoder) enter(n, values uint64, depth int) error {
	switch {
	case depth >= maxDepth:
		return errDeep
	case n > maxItems || d.items+int(values) > maxItems:
		return errItems
	case values > uint64(len(d.b)):
		return errShort
	}
	return nil
}
