package value

import (
	"encoding/binary"
	"math"
	"math/big"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// AppendKey appends bytes that order as the values do: for any a and b,
// bytes.Compare of their keys is Compare(a, b). Equal numbers of different
// types have the same key. No key is the beginning of another, so keys of
// several values can be concatenated. desc turns the order around. Missing
// and undefined have the same key.
func AppendKey(dst []byte, v bson.RawValue, desc bool) []byte {
	at := len(dst)
	dst = appendKey(dst, v)
	if desc {
		for i := at; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

func appendKey(dst []byte, v bson.RawValue) []byte {
	dst = append(dst, class(v.Type))
	switch v.Type {
	case bson.TypeInt32:
		return append(appendDoubleKey(dst, float64(AsInt32(v))), 0)
	case bson.TypeInt64:
		return appendIntKey(dst, AsInt64(v))
	case bson.TypeDouble:
		return append(appendDoubleKey(dst, AsDouble(v)), 0)
	case bson.TypeDecimal128:
		return appendDecimalKey(dst, AsDecimal(v))
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return appendTextKey(dst, AsString(v))
	case bson.TypeEmbeddedDocument:
		return appendDocKey(dst, bson.Raw(v.Value))
	case bson.TypeArray:
		for _, e := range Elements(v) {
			dst = appendKey(dst, e)
		}
		return append(dst, 0)
	case bson.TypeBinary:
		if len(v.Value) < 5 {
			return append(dst, 0, 0, 0, 0, 0)
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(v.Value)-5))
		return append(dst, v.Value[4:]...)
	case bson.TypeObjectID, bson.TypeBoolean:
		return append(dst, v.Value...)
	case bson.TypeDateTime:
		return binary.BigEndian.AppendUint64(dst, uint64(AsDate(v))^1<<63)
	case bson.TypeTimestamp:
		return binary.BigEndian.AppendUint64(dst, raw64(v))
	case bson.TypeRegex:
		p, o := AsRegex(v)
		return appendTextKey(appendTextKey(dst, p), o)
	case bson.TypeDBPointer:
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(v.Value)))
		return append(dst, v.Value...)
	case bson.TypeCodeWithScope:
		code, scope := codeWithScope(v)
		return appendDocKey(appendTextKey(dst, code), scope)
	default:
		return dst
	}
}

// appendDocKey writes each field's class, name and value, as CompareDocs
// looks at them.
func appendDocKey(dst []byte, doc bson.Raw) []byte {
	for name, e := range Fields(doc) {
		dst = append(dst, class(e.Type))
		dst = appendTextKey(dst, name)
		dst = appendKey(dst, e)
	}
	return append(dst, 0)
}

// appendTextKey ends the text with two zeros; a zero inside becomes 0, 255.
func appendTextKey(dst []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			break
		}
		dst = append(append(dst, s[:i]...), 0, 0xff)
		s = s[i+1:]
	}
	return append(append(dst, s...), 0, 0)
}

// appendDoubleKey writes eight bytes that order as doubles do, NaN first.
func appendDoubleKey(dst []byte, f float64) []byte {
	if f != f {
		return binary.BigEndian.AppendUint64(dst, 0)
	}
	bits := math.Float64bits(f + 0) // -0 + 0 is 0
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(dst, bits)
}

// A number that isn't a double is written as the next smaller double, a one,
// and its own digits; a double as itself and a zero. Those that share a double
// have the same sign, so exponent and digits order them.

func appendIntKey(dst []byte, n int64) []byte {
	f := float64(n)
	c := compareIntDouble(n, f)
	if c == 0 {
		return append(appendDoubleKey(dst, f), 0)
	}
	if c < 0 {
		f = math.Nextafter(f, math.Inf(-1))
	}
	return appendDigits(appendDoubleKey(dst, f), DecimalFromInt(n))
}

func appendDecimalKey(dst []byte, d Decimal) []byte {
	f := d.Float64()
	if !d.IsFinite() {
		return append(appendDoubleKey(dst, f), 0)
	}
	c := d.cmpDouble(f)
	if c == 0 {
		return append(appendDoubleKey(dst, f), 0)
	}
	if c < 0 {
		f = math.Nextafter(f, math.Inf(-1))
	}
	return appendDigits(appendDoubleKey(dst, f), d)
}

func appendDigits(dst []byte, d Decimal) []byte {
	dst = append(dst, 1)
	at := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, uint16(d.adjusted()+1<<15))
	c := new(big.Int).Mul(d.coef, pow10(decimalDigits-digits(d.coef)))
	var b [15]byte // 10^34 has 113 bits
	dst = append(dst, c.FillBytes(b[:])...)
	if d.neg {
		for i := at; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}
