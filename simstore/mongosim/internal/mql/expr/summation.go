package expr

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A doubleSum adds doubles and integers in two doubles, the second holding
// what the first can't, so that integers add up exactly and the order of
// summands hardly matters. The steps are those of the server, so that the last
// bit of a sum is as well.
type doubleSum struct {
	sum, rest float64
	plain     float64 // without compensation, for infinities
}

func (d *doubleSum) add(x float64) {
	d.plain += x
	x, d.rest = fastTwoSum(x, d.rest)
	d.sum, x = twoSum(d.sum, x)
	d.rest += x
}

func (d *doubleSum) addInt(n int64) {
	high := n / (1 << 32) * (1 << 32)
	d.add(float64(n - high))
	d.add(float64(high))
}

// The conversions keep the compiler from fusing multiplications, of which
// there are none, and document that every step rounds.

func fastTwoSum(a, b float64) (s, t float64) {
	s = float64(a + b)
	z := float64(s - a)
	return s, float64(b - z)
}

func twoSum(a, b float64) (s, t float64) {
	s = float64(a + b)
	aPrime := float64(s - b)
	bPrime := float64(s - aPrime)
	return s, float64(a-aPrime) + float64(b-bPrime)
}

func (d *doubleSum) double() float64 {
	if math.IsNaN(d.sum) {
		return d.plain
	}
	return d.sum
}

func (d *doubleSum) decimal() value.Decimal {
	if math.IsNaN(d.sum) || math.IsInf(d.sum, 0) {
		return value.DecimalFromDoubleExact(d.plain)
	}
	return value.DecimalFromDoubleExact(d.sum).Add(value.DecimalFromDoubleExact(d.rest))
}

func (d *doubleSum) fitsInt64() bool {
	const limit = 1 << 63
	switch {
	case -limit < d.sum && d.sum < limit:
		return true
	case d.sum == limit:
		return d.rest < -0.5
	case d.sum == -limit:
		return d.rest >= -0.5
	default:
		return false
	}
}

func (d *doubleSum) int64() int64 {
	if d.sum == 1<<63 {
		return int64(math.Round(d.rest)) + math.MinInt64
	}
	n := int64(math.Round(d.sum))
	return n + int64(math.Round(d.sum-float64(n)+d.rest))
}

// A total adds numbers of all types; its type is the widest among them.
type total struct {
	inexact doubleSum
	decimal value.Decimal
	widest  bson.Type
}

func newTotal() total {
	return total{decimal: value.DecimalFromInt(0), widest: bson.TypeInt32}
}

// add adds a number; what is none is ignored.
func (t *total) add(v bson.RawValue) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		t.inexact.addInt(value.AsInt64(v))
	case bson.TypeDouble:
		t.inexact.add(value.AsDouble(v))
	case bson.TypeDecimal128:
		t.decimal = t.decimal.Add(value.AsDecimal(v))
	default:
		return
	}
	t.widest = value.Widest(t.widest, v.Type)
}

func (t *total) asDecimal() value.Decimal { return t.decimal.Add(t.inexact.decimal()) }

// value gives the sum: an int32 that overflows becomes an int64, an int64 a
// double.
func (t *total) value() bson.RawValue {
	switch {
	case t.widest == bson.TypeDecimal128:
		return t.asDecimal().Value()
	case t.widest == bson.TypeDouble || !t.inexact.fitsInt64():
		return value.Double(t.inexact.double())
	case t.widest == bson.TypeInt64:
		return value.Int64(t.inexact.int64())
	default:
		return value.Int(t.inexact.int64())
	}
}

// date gives the sum as milliseconds.
func (t *total) date() (int64, error) {
	if t.widest == bson.TypeDecimal128 {
		n, _, ok := t.asDecimal().Int64(value.HalfEven)
		if !ok {
			return math.MinInt64, nil
		}
		return n, nil
	}
	if !t.inexact.fitsInt64() {
		return 0, fail(mongoerr.Overflow, "date overflow in $add")
	}
	return t.inexact.int64(), nil
}
