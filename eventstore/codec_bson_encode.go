package eventstore

import (
	"encoding/binary"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

func appendHead(buf []byte, typ byte, key string) []byte {
	return append(append(buf, typ), key...)
}

func appendInt32(buf []byte, n int32) []byte { return binary.LittleEndian.AppendUint32(buf, uint32(n)) }

func appendInt64(buf []byte, n int64) []byte { return binary.LittleEndian.AppendUint64(buf, uint64(n)) }

// beginDocument leaves room for a document's length, which endDocument fills in.
func beginDocument(buf []byte) ([]byte, int) {
	return append(buf, 0, 0, 0, 0), len(buf)
}

func endDocument(buf []byte, start int) []byte {
	buf = append(buf, 0)
	binary.LittleEndian.PutUint32(buf[start:], uint32(len(buf)-start))
	return buf
}

// encode appends the struct v as a document.
func (s *bsonStruct) encode(buf []byte, v reflect.Value) ([]byte, bool) {
	buf, start := beginDocument(buf)
	for i := range s.fields {
		f := &s.fields[i]
		field := v.Field(f.index)
		if f.omitEmpty && f.coder.empty(field) || f.isZero != nil && f.isZero(field) {
			continue
		}
		var ok bool
		if buf, ok = f.coder.encode(buf, f.key, field); !ok {
			return buf, false
		}
	}
	return endDocument(buf, start), true
}

func encodeBool(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	b := byte(0)
	if v.Bool() {
		b = 1
	}
	return append(appendHead(buf, bsonBoolean, key), b), true
}

func encodeInt32(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	return appendInt32(appendHead(buf, bsonInt32, key), int32(v.Int())), true
}

// encodeInt takes the four bytes that most values of an int need.
func encodeInt(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	if n := v.Int(); n < math.MinInt32 || n > math.MaxInt32 {
		return encodeInt64(buf, key, v)
	}
	return encodeInt32(buf, key, v)
}

func encodeInt64(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	return appendInt64(appendHead(buf, bsonInt64, key), v.Int()), true
}

func encodeUint16(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	return appendInt32(appendHead(buf, bsonInt32, key), int32(v.Uint())), true
}

func encodeUint64(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	n := v.Uint()
	return appendInt64(appendHead(buf, bsonInt64, key), int64(n)), n <= math.MaxInt64
}

func encodeFloat(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	return appendInt64(appendHead(buf, bsonDouble, key), int64(math.Float64bits(v.Float()))), true
}

func encodeString(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	s := v.String()
	buf = appendInt32(appendHead(buf, bsonString, key), int32(len(s)+1))
	return append(append(buf, s...), 0), true
}

func encodeTime(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	t, ok := reflect.TypeAssert[time.Time](v)
	return appendInt64(appendHead(buf, bsonDateTime, key), t.UnixMilli()), ok
}

func isZeroTime(v reflect.Value) bool {
	t, ok := reflect.TypeAssert[time.Time](v)
	return ok && t.IsZero()
}

func encodeBytes(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	if v.IsNil() {
		return appendHead(buf, bsonNull, key), true
	}
	b := v.Bytes()
	buf = appendInt32(appendHead(buf, bsonBinary, key), int32(len(b)))
	return append(append(buf, 0), b...), true
}

func encodeByteArray(buf []byte, key string, v reflect.Value) ([]byte, bool) {
	buf = append(appendInt32(appendHead(buf, bsonBinary, key), int32(v.Len())), 0)
	if v.CanAddr() {
		return append(buf, v.Bytes()...), true
	}
	for i := range v.Len() {
		buf = append(buf, byte(v.Index(i).Uint()))
	}
	return buf, true
}

func encodeSlice(buf []byte, key string, v reflect.Value, elem *bsonCoder) ([]byte, bool) {
	if v.IsNil() {
		return appendHead(buf, bsonNull, key), true
	}
	buf, start := beginDocument(appendHead(buf, bsonArray, key))
	for i := range v.Len() {
		var ok bool
		if buf, ok = elem.encode(buf, arrayKey(i), v.Index(i)); !ok {
			return buf, false
		}
	}
	return endDocument(buf, start), true
}

// arrayKeys are the keys of the first elements of arrays, each ending in NUL.
var arrayKeys = func() (keys [256]string) {
	for i := range keys {
		keys[i] = strconv.Itoa(i) + "\x00"
	}
	return keys
}()

func arrayKey(i int) string {
	if i < len(arrayKeys) {
		return arrayKeys[i]
	}
	return strconv.Itoa(i) + "\x00"
}

// encodeMap appends the map v as a document.
func encodeMap(buf []byte, v reflect.Value, elem *bsonCoder) ([]byte, bool) {
	buf, start := beginDocument(buf)
	for entries := v.MapRange(); entries.Next(); {
		key := entries.Key().String()
		if strings.IndexByte(key, 0) >= 0 {
			return buf, false // an error, which the driver words
		}
		var ok bool
		if buf, ok = elem.encode(buf, key+"\x00", entries.Value()); !ok {
			return buf, false
		}
	}
	return endDocument(buf, start), true
}
