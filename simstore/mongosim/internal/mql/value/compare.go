package value

import (
	"bytes"
	"cmp"
	"math"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// class is where a type stands in the order of types; types of one class are
// compared by value. The numbers are never zero, so that zero can end a list
// in a key.
func class(t bson.Type) byte {
	switch t {
	case bson.TypeMinKey:
		return 1
	case 0, bson.TypeUndefined:
		return 2
	case bson.TypeNull:
		return 5
	case bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128:
		return 10
	case bson.TypeString, bson.TypeSymbol:
		return 15
	case bson.TypeEmbeddedDocument:
		return 20
	case bson.TypeArray:
		return 25
	case bson.TypeBinary:
		return 30
	case bson.TypeObjectID:
		return 35
	case bson.TypeBoolean:
		return 40
	case bson.TypeDateTime:
		return 45
	case bson.TypeTimestamp:
		return 47
	case bson.TypeRegex:
		return 50
	case bson.TypeDBPointer:
		return 55
	case bson.TypeJavaScript:
		return 60
	case bson.TypeCodeWithScope:
		return 65
	default:
		return 127
	}
}

// CompareTypes orders two types as Compare orders values of them; types that
// compare by value with each other (the numbers, string and symbol, undefined
// and missing) are equal.
func CompareTypes(a, b bson.Type) int { return int(class(a)) - int(class(b)) }

// Compare orders values of all types as the server does: by type first
// (MinKey, undefined and missing, null, numbers, strings, objects, arrays,
// binary, ObjectId, booleans, dates, timestamps, regular expressions,
// DBPointers, code, code with scope, MaxKey), then by value. Numbers compare
// by what they stand for, whatever their types, NaN first.
func Compare(a, b bson.RawValue) int {
	if a.Type == b.Type {
		switch a.Type {
		case bson.TypeInt32:
			return cmp.Compare(AsInt32(a), AsInt32(b))
		case bson.TypeString:
			return strings.Compare(AsString(a), AsString(b))
		}
	} else if c := CompareTypes(a.Type, b.Type); c != 0 {
		return c
	}
	switch a.Type {
	case bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128:
		return compareNumbers(a, b)
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return strings.Compare(AsString(a), AsString(b))
	case bson.TypeEmbeddedDocument:
		return CompareDocs(a.Value, b.Value)
	case bson.TypeArray:
		return compareArrays(a.Value, b.Value)
	case bson.TypeBinary:
		if c := cmp.Compare(len(a.Value), len(b.Value)); c != 0 {
			return c
		}
		return bytes.Compare(a.Value, b.Value)
	case bson.TypeObjectID, bson.TypeBoolean:
		return bytes.Compare(a.Value, b.Value)
	case bson.TypeDateTime:
		return cmp.Compare(AsDate(a), AsDate(b))
	case bson.TypeTimestamp:
		return cmp.Compare(raw64(a), raw64(b))
	case bson.TypeRegex:
		p, o := AsRegex(a)
		q, r := AsRegex(b)
		if c := strings.Compare(p, q); c != 0 {
			return c
		}
		return strings.Compare(o, r)
	case bson.TypeDBPointer:
		if c := cmp.Compare(len(a.Value), len(b.Value)); c != 0 {
			return c
		}
		return bytes.Compare(a.Value, b.Value)
	case bson.TypeCodeWithScope:
		p, s := codeWithScope(a)
		q, t := codeWithScope(b)
		if c := strings.Compare(p, q); c != 0 {
			return c
		}
		return CompareDocs(s, t)
	default:
		return 0
	}
}

// Equal tells whether Compare gives zero.
func Equal(a, b bson.RawValue) bool {
	if a.Type == b.Type && bytes.Equal(a.Value, b.Value) {
		return true // NaN too
	}
	return Compare(a, b) == 0
}

// Identical tells whether type and bytes are the same, so that 1 and 1.0, or
// 0.0 and -0.0, differ.
func Identical(a, b bson.RawValue) bool {
	return a.Type == b.Type && bytes.Equal(a.Value, b.Value)
}

// CompareDocs compares documents field by field: type, then name, then value;
// of two where one is the other's beginning the shorter comes first.
func CompareDocs(a, b bson.Raw) int {
	l, r := Body(a), Body(b)
	for {
		ln, lv, lt, lok := Next(l)
		rn, rv, rt, rok := Next(r)
		if !lok || !rok {
			return b2i(lok) - b2i(rok)
		}
		if c := CompareTypes(lv.Type, rv.Type); c != 0 {
			return c
		}
		if c := strings.Compare(ln, rn); c != 0 {
			return c
		}
		if c := Compare(lv, rv); c != 0 {
			return c
		}
		l, r = lt, rt
	}
}

func compareArrays(a, b []byte) int {
	l, r := Body(a), Body(b)
	for {
		_, lv, lt, lok := Next(l)
		_, rv, rt, rok := Next(r)
		if !lok || !rok {
			return b2i(lok) - b2i(rok)
		}
		if c := Compare(lv, rv); c != 0 {
			return c
		}
		l, r = lt, rt
	}
}

func compareNumbers(a, b bson.RawValue) int {
	switch {
	case a.Type == bson.TypeDecimal128 && b.Type == bson.TypeDecimal128:
		return AsDecimal(a).Cmp(AsDecimal(b))
	case a.Type == bson.TypeDecimal128:
		if b.Type == bson.TypeDouble {
			return AsDecimal(a).cmpDouble(AsDouble(b))
		}
		return AsDecimal(a).Cmp(DecimalFromInt(AsInt64(b)))
	case b.Type == bson.TypeDecimal128:
		return -compareNumbers(b, a)
	case a.Type == bson.TypeDouble && b.Type == bson.TypeDouble:
		return cmp.Compare(AsDouble(a), AsDouble(b)) // NaN equals NaN and comes first, -0 equals 0
	case a.Type == bson.TypeDouble:
		return -compareIntDouble(AsInt64(b), AsDouble(a))
	case b.Type == bson.TypeDouble:
		return compareIntDouble(AsInt64(a), AsDouble(b))
	default:
		return cmp.Compare(AsInt64(a), AsInt64(b))
	}
}

func compareIntDouble(n int64, f float64) int {
	const exact = 1 << 53
	switch {
	case f != f:
		return 1
	case -exact <= n && n <= exact:
		return cmp.Compare(float64(n), f)
	case f >= 1<<63:
		return -1
	case f < math.MinInt64:
		return 1
	default: // between 2^53 and 2^63 a double is whole; below, truncation keeps the order
		return cmp.Compare(n, int64(f))
	}
}
