package value

import (
	"encoding/binary"
	"math"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Missing is what a path that leads nowhere gives.
func Missing() bson.RawValue { return bson.RawValue{} }

// IsMissing tells whether there is no value.
func IsMissing(v bson.RawValue) bool { return v.Type == 0 }

// Nullish tells whether v is missing, null or undefined.
func Nullish(v bson.RawValue) bool {
	return v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined
}

// IsArray tells whether v is an array.
func IsArray(v bson.RawValue) bool { return v.Type == bson.TypeArray }

// IsDoc tells whether v is a document.
func IsDoc(v bson.RawValue) bool { return v.Type == bson.TypeEmbeddedDocument }

// IsNumber tells whether v is an int32, int64, double or decimal128.
func IsNumber(v bson.RawValue) bool { return numeric(v.Type) }

func numeric(t bson.Type) bool {
	return t == bson.TypeInt32 || t == bson.TypeInt64 || t == bson.TypeDouble || t == bson.TypeDecimal128
}

// Null is the null value.
func Null() bson.RawValue { return bson.RawValue{Type: bson.TypeNull} }

// MinKey sorts before everything else.
func MinKey() bson.RawValue { return bson.RawValue{Type: bson.TypeMinKey} }

// MaxKey sorts after everything else.
func MaxKey() bson.RawValue { return bson.RawValue{Type: bson.TypeMaxKey} }

// Bool makes a boolean.
func Bool(b bool) bson.RawValue {
	if b {
		return bson.RawValue{Type: bson.TypeBoolean, Value: []byte{1}}
	}
	return bson.RawValue{Type: bson.TypeBoolean, Value: []byte{0}}
}

// Int32 makes an int32.
func Int32(n int32) bson.RawValue {
	return bson.RawValue{Type: bson.TypeInt32, Value: binary.LittleEndian.AppendUint32(nil, uint32(n))}
}

// Int64 makes an int64.
func Int64(n int64) bson.RawValue {
	return bson.RawValue{Type: bson.TypeInt64, Value: binary.LittleEndian.AppendUint64(nil, uint64(n))}
}

// Int makes an int32 if n fits into one, an int64 otherwise.
func Int(n int64) bson.RawValue {
	if int64(int32(n)) == n {
		return Int32(int32(n))
	}
	return Int64(n)
}

// Double makes a double.
func Double(f float64) bson.RawValue {
	return bson.RawValue{Type: bson.TypeDouble, Value: binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))}
}

// String makes a string.
func String(s string) bson.RawValue {
	return bson.RawValue{Type: bson.TypeString, Value: appendString(make([]byte, 0, len(s)+5), s)}
}

func appendString(dst []byte, s string) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s)+1))
	dst = append(dst, s...)
	return append(dst, 0)
}

// Doc makes a value of a document.
func Doc(d bson.Raw) bson.RawValue {
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: d}
}

// ArrayOf makes an array of the values; missing ones become null.
func ArrayOf(vs ...bson.RawValue) bson.RawValue {
	var a Arr
	for _, v := range vs {
		a.Add(v)
	}
	return a.Value()
}

// Date makes a date of the milliseconds since 1970.
func Date(ms int64) bson.RawValue {
	return bson.RawValue{Type: bson.TypeDateTime, Value: binary.LittleEndian.AppendUint64(nil, uint64(ms))}
}

// Time makes a date of t, cut to milliseconds.
func Time(t time.Time) bson.RawValue { return Date(t.UnixMilli()) }

// Timestamp makes a timestamp of seconds and increment.
func Timestamp(t, i uint32) bson.RawValue {
	return bson.RawValue{Type: bson.TypeTimestamp, Value: binary.LittleEndian.AppendUint64(nil, uint64(t)<<32|uint64(i))}
}

// ObjectID makes an ObjectId.
func ObjectID(id bson.ObjectID) bson.RawValue {
	return bson.RawValue{Type: bson.TypeObjectID, Value: append([]byte(nil), id[:]...)}
}

// Regex makes a regular expression.
func Regex(pattern, options string) bson.RawValue {
	b := make([]byte, 0, len(pattern)+len(options)+2)
	b = append(append(b, pattern...), 0)
	b = append(append(b, options...), 0)
	return bson.RawValue{Type: bson.TypeRegex, Value: b}
}

// Binary makes binary data of a subtype.
func Binary(subtype byte, data []byte) bson.RawValue {
	b := make([]byte, 0, len(data)+5)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, subtype)
	return bson.RawValue{Type: bson.TypeBinary, Value: append(b, data...)}
}

// AsBool reads a boolean; anything else is false.
func AsBool(v bson.RawValue) bool {
	return v.Type == bson.TypeBoolean && len(v.Value) > 0 && v.Value[0] != 0
}

// AsInt32 reads an int32.
func AsInt32(v bson.RawValue) int32 {
	if len(v.Value) < 4 {
		return 0
	}
	return int32(binary.LittleEndian.Uint32(v.Value))
}

// AsInt64 reads the eight bytes of an int64, date or timestamp, or an int32.
func AsInt64(v bson.RawValue) int64 {
	if v.Type == bson.TypeInt32 {
		return int64(AsInt32(v))
	}
	return int64(raw64(v))
}

func raw64(v bson.RawValue) uint64 {
	if len(v.Value) < 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(v.Value)
}

// AsDouble reads a double.
func AsDouble(v bson.RawValue) float64 { return math.Float64frombits(raw64(v)) }

// AsDate reads the milliseconds since 1970 of a date.
func AsDate(v bson.RawValue) int64 { return int64(raw64(v)) }

// AsTimestamp reads seconds and increment of a timestamp.
func AsTimestamp(v bson.RawValue) (t, i uint32) {
	n := raw64(v)
	return uint32(n >> 32), uint32(n)
}

// AsObjectID reads an ObjectId.
func AsObjectID(v bson.RawValue) (id bson.ObjectID) {
	copy(id[:], v.Value)
	return id
}

// AsString reads a string, symbol or JavaScript code without copying it.
func AsString(v bson.RawValue) string {
	if len(v.Value) < 5 {
		return ""
	}
	return text(v.Value[4 : len(v.Value)-1])
}

// AsRegex reads pattern and options of a regular expression.
func AsRegex(v bson.RawValue) (pattern, options string) {
	p, rest := cstring(v.Value)
	o, _ := cstring(rest)
	return p, o
}

// AsBinary reads binary data without copying it.
func AsBinary(v bson.RawValue) (subtype byte, data []byte) {
	if len(v.Value) < 5 {
		return 0, nil
	}
	return v.Value[4], v.Value[5:]
}

func cstring(b []byte) (s string, rest []byte) {
	for i, c := range b {
		if c == 0 {
			return text(b[:i]), b[i+1:]
		}
	}
	return text(b), nil
}

// codeWithScope splits JavaScript code with scope; malformed parts are empty.
func codeWithScope(v bson.RawValue) (code string, scope bson.Raw) {
	if len(v.Value) < 8 {
		return "", nil
	}
	b := v.Value[4:]
	n := sizeOf(bson.TypeString, b)
	if n < 5 {
		return "", nil
	}
	return text(b[4 : n-1]), bson.Raw(b[n:])
}

// Truthy converts to a boolean as the aggregation language does: false are
// missing, null, undefined, false and zeros; NaN and everything else is true.
func Truthy(v bson.RawValue) bool {
	switch v.Type {
	case 0, bson.TypeNull, bson.TypeUndefined:
		return false
	case bson.TypeBoolean:
		return AsBool(v)
	case bson.TypeInt32:
		return AsInt32(v) != 0
	case bson.TypeInt64:
		return AsInt64(v) != 0
	case bson.TypeDouble:
		return AsDouble(v) != 0
	case bson.TypeDecimal128:
		return !AsDecimal(v).IsZero()
	default:
		return true
	}
}

// TypeName gives the name of a type as $type and error messages use it.
func TypeName(t bson.Type) string {
	switch t {
	case 0:
		return "missing"
	case bson.TypeDouble:
		return "double"
	case bson.TypeString:
		return "string"
	case bson.TypeEmbeddedDocument:
		return "object"
	case bson.TypeArray:
		return "array"
	case bson.TypeBinary:
		return "binData"
	case bson.TypeUndefined:
		return "undefined"
	case bson.TypeObjectID:
		return "objectId"
	case bson.TypeBoolean:
		return "bool"
	case bson.TypeDateTime:
		return "date"
	case bson.TypeNull:
		return "null"
	case bson.TypeRegex:
		return "regex"
	case bson.TypeDBPointer:
		return "dbPointer"
	case bson.TypeJavaScript:
		return "javascript"
	case bson.TypeSymbol:
		return "symbol"
	case bson.TypeCodeWithScope:
		return "javascriptWithScope"
	case bson.TypeInt32:
		return "int"
	case bson.TypeTimestamp:
		return "timestamp"
	case bson.TypeInt64:
		return "long"
	case bson.TypeDecimal128:
		return "decimal"
	case bson.TypeMinKey:
		return "minKey"
	case bson.TypeMaxKey:
		return "maxKey"
	default:
		return "invalid"
	}
}

// TypeByName is the inverse of TypeName for types that can be stored.
func TypeByName(name string) (bson.Type, bool) {
	for _, t := range [...]bson.Type{
		bson.TypeDouble, bson.TypeString, bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeBinary,
		bson.TypeUndefined, bson.TypeObjectID, bson.TypeBoolean, bson.TypeDateTime, bson.TypeNull,
		bson.TypeRegex, bson.TypeDBPointer, bson.TypeJavaScript, bson.TypeSymbol, bson.TypeCodeWithScope,
		bson.TypeInt32, bson.TypeTimestamp, bson.TypeInt64, bson.TypeDecimal128, bson.TypeMinKey, bson.TypeMaxKey,
	} {
		if TypeName(t) == name {
			return t, true
		}
	}
	return 0, false
}
