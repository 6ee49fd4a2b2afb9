package expr

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func roundingOperators() map[string]*operator {
	return map[string]*operator{
		"$ceil":  numeric("$ceil", wholeNumber(math.Ceil, value.TowardPositive)),
		"$floor": numeric("$floor", wholeNumber(math.Floor, value.TowardNegative)),
		"$round": {least: 1, most: 2, eval: rounding("$round", value.HalfEven)},
		"$trunc": {least: 1, most: 2, eval: rounding("$trunc", value.TowardZero)},
	}
}

func wholeNumber(f func(float64) float64, mode value.Rounding) func(bson.RawValue) (bson.RawValue, error) {
	return func(v bson.RawValue) (bson.RawValue, error) {
		switch v.Type {
		case bson.TypeDouble:
			return value.Double(f(value.AsDouble(v))), nil
		case bson.TypeDecimal128:
			d := value.AsDecimal(v)
			if d.IsInf() { // an infinity has no digits to round to
				return value.DecimalNaN().Value(), nil
			}
			return d.Quantize(0, mode).Value(), nil
		default:
			return v, nil
		}
	}
}

// rounding rounds to a number of places, which may be negative.
func rounding(name string, mode value.Rounding) evalFunc {
	return func(s *scope, args []node) (bson.RawValue, error) {
		v, err := args[0].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if !value.IsNumber(v) {
			return bson.RawValue{}, fail(51081, "%s only supports numeric types, not %s", name, value.TypeName(v.Type))
		}
		places := int64(0)
		if len(args) > 1 {
			p, err := args[1].eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			if value.Nullish(p) {
				return value.Null(), nil
			}
			if places, err = coerceInt64(p); err != nil {
				return bson.RawValue{}, err
			}
			if _, whole := value.Int32Exact(p); !whole {
				return bson.RawValue{}, fail(51082, "precision argument to  %s must be a integral value", name)
			}
			if places < -20 || places > 100 {
				return bson.RawValue{}, fail(51083, "cannot apply %s with precision value %d value must be in [-20, 100]", name, places)
			}
		}
		return roundTo(name, v, int(places), mode)
	}
}

func roundTo(name string, v bson.RawValue, places int, mode value.Rounding) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeDecimal128:
		d := value.AsDecimal(v)
		if d.IsInf() {
			return v, nil
		}
		return quantize(d, -places, mode).Value(), nil
	case bson.TypeDouble:
		d := value.DecimalFromDoubleExact(value.AsDouble(v))
		if d.IsInf() {
			return v, nil
		}
		return value.Double(quantize(d, -places, mode).Float64()), nil
	}
	if places >= 0 {
		return v, nil
	}
	n, _, ok := quantize(value.DecimalFromInt(value.AsInt64(v)), -places, mode).Int64(value.HalfEven)
	if !ok {
		return bson.RawValue{}, fail(51080, "invalid conversion from Decimal128 result in %s resulting from arguments: [%d, %d]", name, value.AsInt64(v), places)
	}
	if v.Type == bson.TypeInt64 || n > math.MaxInt32 {
		return value.Int64(n), nil
	}
	return value.Int32(int32(n)), nil
}

// quantize leaves a number alone that has too many digits before the place to
// round at, with its coefficient filled up to 34 digits.
func quantize(d value.Decimal, exp int, mode value.Rounding) value.Decimal {
	if !d.IsFinite() {
		return value.DecimalNaN()
	}
	if full := d.Normalize(); full.Exponent()-(exp-33) > 33 {
		return full
	}
	return d.Quantize(exp, mode)
}
