package match

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// exactLong reads a number that must be whole and fit into 64 bits.
func exactLong(name string, v bson.RawValue) (int64, error) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return value.AsInt64(v), nil
	case bson.TypeDouble:
		f := value.AsDouble(v)
		switch {
		case math.IsNaN(f):
			return 0, mongoerr.New(mongoerr.FailedToParse, "Expected an integer, but found NaN in: %s: %s", name, expr.Show(v))
		case f >= 1<<63 || f < -1<<63:
			return 0, mongoerr.New(mongoerr.FailedToParse, "Cannot represent as a 64-bit integer: %s: %s", name, expr.Show(v))
		case f != math.Trunc(f):
			return 0, mongoerr.New(mongoerr.FailedToParse, "Expected an integer: %s: %s", name, expr.Show(v))
		}
		return int64(f), nil
	case bson.TypeDecimal128:
		n, ok := value.Int64Exact(v)
		if !ok {
			return 0, mongoerr.New(mongoerr.FailedToParse, "Cannot represent as a 64-bit integer: %s: %s", name, expr.Show(v))
		}
		return n, nil
	}
	return 0, mongoerr.New(mongoerr.FailedToParse, "Expected a number in: %s: %s", name, expr.Show(v))
}

// exactNonNegative is exactLong that refuses negative numbers.
func exactNonNegative(name string, v bson.RawValue) (int64, error) {
	n, err := exactLong(name, v)
	if err == nil && n < 0 {
		return 0, mongoerr.New(mongoerr.FailedToParse, "Expected a positive number in: %s: %s", name, expr.Show(v))
	}
	return n, err
}

// exactInt is exactLong that must fit into 32 bits.
func exactInt(name string, v bson.RawValue) (int32, error) {
	n, err := exactLong(name, v)
	if err != nil {
		return 0, err
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		return 0, mongoerr.New(mongoerr.FailedToParse, "Cannot represent %s: %s in an int", name, expr.Show(v))
	}
	return int32(n), nil
}

// truncated reads any number as a 64-bit integer: fractions are cut off, what
// is too large becomes the nearest, NaN becomes 0. A decimal that doesn't fit
// becomes the smallest integer, as the server's decimal library has it.
func truncated(v bson.RawValue) int64 {
	if v.Type != bson.TypeDecimal128 {
		return value.ClampInt64(v)
	}
	n, _, ok := value.AsDecimal(v).Int64(value.TowardZero)
	if !ok {
		return math.MinInt64
	}
	return n
}
