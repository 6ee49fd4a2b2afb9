package eventstore

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"time"
)

// maxShared is the size of data in bytes up to which the strings decoded from it
// share one copy of it. That is one allocation instead of many; keeping one
// string keeps no more than this.
const maxShared = 1 << 10

// A bsonReader reads validated data.
type bsonReader struct {
	data []byte
	pos  int
	text string // of the whole data, once a string was read
}

func (r *bsonReader) byte() byte {
	r.pos++
	return r.data[r.pos-1]
}

func (r *bsonReader) int32() int32 {
	r.pos += 4
	return int32(binary.LittleEndian.Uint32(r.data[r.pos-4:]))
}

func (r *bsonReader) int64() int64 {
	r.pos += 8
	return int64(binary.LittleEndian.Uint64(r.data[r.pos-8:]))
}

// key reads an element's name, without the NUL. It is part of the data.
func (r *bsonReader) key() []byte {
	rest := r.data[r.pos:]
	n := bytes.IndexByte(rest, 0)
	r.pos += n + 1
	return rest[:n]
}

func (r *bsonReader) string() string {
	n := int(r.int32())
	start := r.pos
	r.pos += n
	if len(r.data) > maxShared {
		return string(r.data[start : start+n-1])
	}
	if r.text == "" {
		r.text = string(r.data)
	}
	return r.text[start : start+n-1]
}

// decode reads a document into a struct.
func (s *bsonStruct) decode(r *bsonReader, typ byte, v reflect.Value) bool {
	if typ != bsonDocument {
		return decodeNull(typ, v)
	}
	r.pos += 4
	for next := 0; ; {
		typ := r.byte()
		if typ == 0 {
			return true
		}
		key := r.key()
		i, ok := s.find(key, next)
		if !ok {
			r.skip(typ)
			continue
		}
		next = i + 1
		f := &s.fields[i]
		if !f.coder.decode(r, typ, v.Field(f.index)) {
			return false
		}
	}
}

// find returns the field of a name. Most documents have their fields in the
// order of the struct's, so the field after the last one is tried first.
func (s *bsonStruct) find(key []byte, next int) (int, bool) {
	if next < len(s.fields) && s.fields[next].name == string(key) {
		return next, true
	}
	if i, ok := s.byName[string(key)]; ok {
		return i, true
	}
	i, ok := s.byName[strings.ToLower(string(key))]
	return i, ok
}

// decodeNull reads null as the zero value, and leaves any other type to the
// driver, which knows more conversions.
func decodeNull(typ byte, v reflect.Value) bool {
	if typ != bsonNull {
		return false
	}
	v.SetZero()
	return true
}

func decodeBool(r *bsonReader, typ byte, v reflect.Value) bool {
	if typ != bsonBoolean {
		return decodeNull(typ, v)
	}
	v.SetBool(r.byte() != 0)
	return true
}

func (r *bsonReader) integer(typ byte) (int64, bool) {
	switch typ {
	case bsonInt32:
		return int64(r.int32()), true
	case bsonInt64:
		return r.int64(), true
	}
	return 0, false
}

func decodeInt(r *bsonReader, typ byte, v reflect.Value) bool {
	n, ok := r.integer(typ)
	if !ok {
		return decodeNull(typ, v)
	}
	if v.OverflowInt(n) {
		return false
	}
	v.SetInt(n)
	return true
}

func decodeUint(r *bsonReader, typ byte, v reflect.Value) bool {
	n, ok := r.integer(typ)
	if !ok {
		return decodeNull(typ, v)
	}
	if n < 0 || v.OverflowUint(uint64(n)) {
		return false
	}
	v.SetUint(uint64(n))
	return true
}

func decodeFloat(r *bsonReader, typ byte, v reflect.Value) bool {
	if typ != bsonDouble {
		return decodeNull(typ, v)
	}
	f := math.Float64frombits(uint64(r.int64()))
	if v.Kind() == reflect.Float32 && float64(float32(f)) != f {
		return false
	}
	v.SetFloat(f)
	return true
}

func decodeString(r *bsonReader, typ byte, v reflect.Value) bool {
	if typ != bsonString {
		return decodeNull(typ, v)
	}
	v.SetString(r.string())
	return true
}

func decodeTime(r *bsonReader, typ byte, v reflect.Value) bool {
	if typ != bsonDateTime {
		return decodeNull(typ, v)
	}
	t, ok := reflect.TypeAssert[*time.Time](v.Addr())
	if ok {
		*t = time.UnixMilli(r.int64()).UTC()
	}
	return ok
}

// binary reads what is stored with the general subtype.
func (r *bsonReader) binary() ([]byte, bool) {
	n := int(r.int32())
	subtype := r.byte()
	start := r.pos
	r.pos += n
	return r.data[start:r.pos], subtype == 0
}

func decodeBytes(r *bsonReader, typ byte, v reflect.Value) bool {
	if typ != bsonBinary {
		return decodeNull(typ, v)
	}
	b, ok := r.binary()
	if ok {
		v.SetBytes(append([]byte{}, b...))
	}
	return ok
}

func decodeByteArray(r *bsonReader, typ byte, v reflect.Value) bool {
	if typ != bsonBinary {
		return decodeNull(typ, v)
	}
	b, ok := r.binary()
	if !ok || len(b) > v.Len() {
		return false
	}
	copy(v.Bytes(), b)
	return true
}

func decodeSlice(r *bsonReader, typ byte, v reflect.Value, elem *bsonCoder) bool {
	if typ != bsonArray {
		return decodeNull(typ, v)
	}
	if !v.IsNil() {
		return false // the document has the key twice
	}
	n := r.count()
	if n == 0 {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	} else {
		v.Grow(n)
		v.SetLen(n)
	}
	r.pos += 4
	for i := range n {
		typ := r.byte()
		r.key()
		if !elem.decode(r, typ, v.Index(i)) {
			return false
		}
	}
	r.pos++
	return true
}

// count returns the number of elements of the array or document that begins
// here.
func (r *bsonReader) count() int {
	ahead := bsonReader{data: r.data, pos: r.pos + 4}
	for n := 0; ; n++ {
		typ := ahead.byte()
		if typ == 0 {
			return n
		}
		ahead.key()
		ahead.skip(typ)
	}
}

func decodeMap(r *bsonReader, typ byte, v reflect.Value, elem *bsonCoder) bool {
	if typ != bsonDocument {
		return decodeNull(typ, v)
	}
	t := v.Type()
	if v.IsNil() {
		v.Set(reflect.MakeMap(t))
	}
	key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
	r.pos += 4
	for {
		typ := r.byte()
		if typ == 0 {
			return true
		}
		key.SetString(string(r.key()))
		value.SetZero()
		if !elem.decode(r, typ, value) {
			return false
		}
		v.SetMapIndex(key, value)
	}
}
