package expr

import (
	"math"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// coerceInt64 truncates a number to an int64.
func coerceInt64(v bson.RawValue) (int64, error) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return value.AsInt64(v), nil
	case bson.TypeDouble:
		f := value.AsDouble(v)
		if !(f >= math.MinInt64 && f < 1<<63) {
			return 0, fail(31109, "Can't coerce out of range value %s to long", formatDouble(f))
		}
		return int64(f), nil
	case bson.TypeDecimal128:
		// rounds, and gives what the decimal library gives when out of range
		n, _, ok := value.AsDecimal(v).Int64(value.HalfEven)
		if !ok {
			return math.MinInt64, nil
		}
		return n, nil
	default:
		return 0, fail(16004, "can't convert from BSON type %s to long", value.TypeName(v.Type))
	}
}

// coerceDate reads a date, or the time in a timestamp or ObjectId, in
// milliseconds.
func coerceDate(v bson.RawValue) (int64, error) {
	switch v.Type {
	case bson.TypeDateTime:
		return value.AsDate(v), nil
	case bson.TypeTimestamp:
		t, _ := value.AsTimestamp(v)
		return int64(t) * 1000, nil
	case bson.TypeObjectID:
		return value.AsObjectID(v).Timestamp().UnixMilli(), nil
	default:
		return 0, fail(16006, "can't convert from BSON type %s to Date", value.TypeName(v.Type))
	}
}

// coerceString converts what string operators accept beside strings: numbers,
// dates, timestamps, and nullish as the empty string.
func coerceString(v bson.RawValue) (string, error) {
	switch v.Type {
	case bson.TypeDouble:
		return formatDouble(value.AsDouble(v)), nil
	case bson.TypeInt32, bson.TypeInt64:
		return strconv.FormatInt(value.AsInt64(v), 10), nil
	case bson.TypeDecimal128:
		return value.AsDecimal(v).String(), nil
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return value.AsString(v), nil
	case bson.TypeTimestamp:
		t, i := value.AsTimestamp(v)
		return formatTimestamp(t, i), nil
	case bson.TypeDateTime:
		return formatDate(isoFormat, value.AsDate(v), utc())
	case 0, bson.TypeNull, bson.TypeUndefined:
		return "", nil
	default:
		return "", fail(16007, "can't convert from BSON type %s to String", value.TypeName(v.Type))
	}
}

// doubleDigits is how many significant digits the server prints of a double.
const doubleDigits = 6

// formatDouble prints a double as C's %g does.
func formatDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', doubleDigits-1, 64)
	mantissa, e, _ := strings.Cut(s, "e")
	exp, _ := strconv.Atoi(e)
	if exp < -4 || exp >= doubleDigits {
		return trimFraction(mantissa) + "e" + e
	}
	return trimFraction(strconv.FormatFloat(f, 'f', doubleDigits-1-exp, 64))
}

func trimFraction(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
