package value

import (
	"math"
	"math/bits"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Widest is the type in which arithmetic of two numeric types takes place:
// decimal128 over double over int64 over int32.
func Widest(a, b bson.Type) bson.Type {
	for _, t := range [...]bson.Type{bson.TypeDecimal128, bson.TypeDouble, bson.TypeInt64} {
		if a == t || b == t {
			return t
		}
	}
	return bson.TypeInt32
}

// ToDouble converts a number, rounding; what is no number gives 0.
func ToDouble(v bson.RawValue) float64 {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return float64(AsInt64(v))
	case bson.TypeDouble:
		return AsDouble(v)
	case bson.TypeDecimal128:
		return AsDecimal(v).Float64()
	default:
		return 0
	}
}

// ToDecimal converts a number; doubles to 15 digits, as the server does.
func ToDecimal(v bson.RawValue) Decimal {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return DecimalFromInt(AsInt64(v))
	case bson.TypeDouble:
		return DecimalFromDouble(AsDouble(v))
	default:
		return AsDecimal(v)
	}
}

// Int64Exact gives a number as an int64 if it is whole and fits.
func Int64Exact(v bson.RawValue) (int64, bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return AsInt64(v), true
	case bson.TypeDouble:
		f := AsDouble(v)
		if f != math.Trunc(f) || f < math.MinInt64 || f >= 1<<63 {
			return 0, false
		}
		return int64(f), true
	case bson.TypeDecimal128:
		n, exact, ok := AsDecimal(v).Int64(HalfEven)
		return n, exact && ok
	default:
		return 0, false
	}
}

// Int32Exact gives a number as an int32 if it is whole and fits.
func Int32Exact(v bson.RawValue) (int32, bool) {
	n, ok := Int64Exact(v)
	return int32(n), ok && int64(int32(n)) == n
}

// ClampInt64 truncates a number to an int64; NaN becomes 0 and what is too
// large or too small the nearest int64. This is how the server reads numbers
// in options.
func ClampInt64(v bson.RawValue) int64 {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return AsInt64(v)
	case bson.TypeDouble:
		f := AsDouble(v)
		switch {
		case f != f:
			return 0
		case f >= 1<<63:
			return math.MaxInt64
		case f < math.MinInt64:
			return math.MinInt64
		}
		return int64(f)
	case bson.TypeDecimal128:
		d := AsDecimal(v)
		n, _, ok := d.Int64(TowardZero)
		switch {
		case ok || d.IsNaN():
			return n
		case d.Negative():
			return math.MinInt64
		default:
			return math.MaxInt64
		}
	default:
		return 0
	}
}

// Add adds two numbers in the wider of their types; int32 that overflows
// becomes int64. ok is false if an operand is no number or an int64 overflows.
func Add(a, b bson.RawValue) (sum bson.RawValue, ok bool) {
	if !IsNumber(a) || !IsNumber(b) {
		return bson.RawValue{}, false
	}
	switch Widest(a.Type, b.Type) {
	case bson.TypeDecimal128:
		return ToDecimal(a).Add(ToDecimal(b)).Value(), true
	case bson.TypeDouble:
		return Double(ToDouble(a) + ToDouble(b)), true
	case bson.TypeInt64:
		s, fits := AddInt64(AsInt64(a), AsInt64(b))
		if !fits {
			return bson.RawValue{}, false
		}
		return Int64(s), true
	default:
		return Int(AsInt64(a) + AsInt64(b)), true
	}
}

// Multiply multiplies two numbers as Add adds them.
func Multiply(a, b bson.RawValue) (product bson.RawValue, ok bool) {
	if !IsNumber(a) || !IsNumber(b) {
		return bson.RawValue{}, false
	}
	switch Widest(a.Type, b.Type) {
	case bson.TypeDecimal128:
		return ToDecimal(a).Mul(ToDecimal(b)).Value(), true
	case bson.TypeDouble:
		return Double(ToDouble(a) * ToDouble(b)), true
	case bson.TypeInt64:
		p, fits := MulInt64(AsInt64(a), AsInt64(b))
		if !fits {
			return bson.RawValue{}, false
		}
		return Int64(p), true
	default:
		return Int(AsInt64(a) * AsInt64(b)), true
	}
}

// AddInt64 adds; fits is false on overflow.
func AddInt64(a, b int64) (sum int64, fits bool) {
	s := a + b
	return s, (a^s)&(b^s) >= 0
}

// MulInt64 multiplies; fits is false on overflow.
func MulInt64(a, b int64) (product int64, fits bool) {
	hi, lo := bits.Mul64(abs(a), abs(b))
	neg := (a < 0) != (b < 0)
	limit := uint64(math.MaxInt64)
	if neg {
		limit++
	}
	return a * b, hi == 0 && lo <= limit
}

func abs(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}
