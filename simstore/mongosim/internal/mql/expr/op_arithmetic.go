package expr

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func arithmeticOperators() map[string]*operator {
	return map[string]*operator{
		"$add":      {most: -1, eval: add, associative: true, commutative: true},
		"$subtract": binary(subtract),
		"$multiply": {most: -1, eval: multiply, associative: true, commutative: true},
		"$divide":   binary(divide),
		"$mod":      binary(modulo),
		"$abs":      numeric("$abs", absolute),
		"$sqrt":     numeric("$sqrt", squareRoot),
		"$exp":      numeric("$exp", exponential),
		"$ln":       numeric("$ln", naturalLog),
		"$log10":    numeric("$log10", log10),
		"$log":      binary(logarithm),
		"$pow":      binary(power),
		"$rand":     {parse: parseRand},
	}
}

// numeric is an operator of one number; nullish gives null.
func numeric(name string, f func(v bson.RawValue) (bson.RawValue, error)) *operator {
	return unary(func(v bson.RawValue) (bson.RawValue, error) {
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if !value.IsNumber(v) {
			return bson.RawValue{}, fail(28765, "%s only supports numeric types, not %s", name, value.TypeName(v.Type))
		}
		return f(v)
	})
}

func add(s *scope, args []node) (bson.RawValue, error) {
	t, date := newTotal(), false
	for _, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		switch {
		case value.IsNumber(v):
			t.add(v)
		case v.Type == bson.TypeDateTime:
			if date {
				return bson.RawValue{}, fail(16612, "only one date allowed in an $add expression")
			}
			date = true
			t.inexact.addInt(value.AsDate(v))
		case value.Nullish(v):
			return value.Null(), nil
		default:
			return bson.RawValue{}, fail(16554, "$add only supports numeric or date types, not %s", value.TypeName(v.Type))
		}
	}
	if date {
		ms, err := t.date()
		return value.Date(ms), err
	}
	return t.value(), nil
}

func subtract(a, b bson.RawValue) (bson.RawValue, error) {
	switch {
	case value.IsNumber(a) && value.IsNumber(b):
		return difference(a, b), nil
	case value.Nullish(a) || value.Nullish(b):
		return value.Null(), nil
	case a.Type != bson.TypeDateTime:
		return bson.RawValue{}, fail(16556, "cant $subtract a %s from a %s", value.TypeName(b.Type), value.TypeName(a.Type))
	case b.Type == bson.TypeDateTime:
		d := value.AsDate(a) - value.AsDate(b)
		if (d < value.AsDate(a)) != (value.AsDate(b) > 0) {
			return bson.RawValue{}, fail(mongoerr.DurationOverflow, "Overflow casting from a lower-precision duration to a higher-precision duration")
		}
		return value.Int64(d), nil
	case value.IsNumber(b):
		ms, err := coerceInt64(b)
		if err != nil {
			return bson.RawValue{}, err
		}
		return value.Date(value.AsDate(a) - ms), nil
	default:
		return bson.RawValue{}, fail(16613, "cant $subtract a %s from a Date", value.TypeName(b.Type))
	}
}

func difference(a, b bson.RawValue) bson.RawValue {
	switch value.Widest(a.Type, b.Type) {
	case bson.TypeDecimal128:
		return value.ToDecimal(a).Sub(value.ToDecimal(b)).Value()
	case bson.TypeDouble:
		return value.Double(value.ToDouble(a) - value.ToDouble(b))
	case bson.TypeInt64:
		x, y := value.AsInt64(a), value.AsInt64(b)
		d := x - y
		if (d < x) != (y > 0) {
			return value.Double(float64(x) - float64(y))
		}
		return value.Int64(d)
	default:
		return value.Int(value.AsInt64(a) - value.AsInt64(b))
	}
}

// multiply keeps a product of doubles and one of integers until it is known
// which of them is wanted: an int64 that overflows becomes a double.
func multiply(s *scope, args []node) (bson.RawValue, error) {
	product, whole, t := 1.0, int64(1), bson.TypeInt32
	var decimal value.Decimal
	for _, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if !value.IsNumber(v) {
			return bson.RawValue{}, fail(16555, "$multiply only supports numeric types, not %s", value.TypeName(v.Type))
		}
		before := t
		t = value.Widest(t, v.Type)
		if t == bson.TypeDecimal128 {
			switch before {
			case bson.TypeDecimal128:
			case bson.TypeDouble:
				decimal = value.DecimalFromDouble(product)
			default:
				decimal = value.DecimalFromInt(whole)
			}
			decimal = decimal.Mul(value.ToDecimal(v))
			continue
		}
		f := value.ToDouble(v)
		product *= f
		if math.IsNaN(f) || math.IsInf(f, 0) {
			t = bson.TypeDouble
			continue
		}
		i, err := coerceInt64(v)
		if err != nil {
			return bson.RawValue{}, err
		}
		var fits bool
		if whole, fits = value.MulInt64(whole, i); !fits {
			t = bson.TypeDouble
		}
	}
	switch t {
	case bson.TypeDecimal128:
		return decimal.Value(), nil
	case bson.TypeDouble:
		return value.Double(product), nil
	case bson.TypeInt64:
		return value.Int64(whole), nil
	default:
		return value.Int(whole), nil
	}
}

func divide(a, b bson.RawValue) (bson.RawValue, error) {
	if !value.IsNumber(a) || !value.IsNumber(b) {
		if value.Nullish(a) || value.Nullish(b) {
			return value.Null(), nil
		}
		return bson.RawValue{}, fail(16609, "$divide only supports numeric types, not %s and %s", value.TypeName(a.Type), value.TypeName(b.Type))
	}
	if isZero(b) {
		return bson.RawValue{}, fail(16608, "can't $divide by zero")
	}
	if value.Widest(a.Type, b.Type) == bson.TypeDecimal128 {
		return value.ToDecimal(a).Quo(value.ToDecimal(b)).Value(), nil
	}
	return value.Double(value.ToDouble(a) / value.ToDouble(b)), nil
}

func isZero(v bson.RawValue) bool { return !value.Truthy(v) }

func modulo(a, b bson.RawValue) (bson.RawValue, error) {
	if !value.IsNumber(a) || !value.IsNumber(b) {
		if value.Nullish(a) || value.Nullish(b) {
			return value.Null(), nil
		}
		return bson.RawValue{}, fail(16611, "$mod only supports numeric types, not %s and %s", value.TypeName(a.Type), value.TypeName(b.Type))
	}
	if isZero(b) {
		return bson.RawValue{}, fail(16610, "can't $mod by zero")
	}
	widest := value.Widest(a.Type, b.Type)
	if widest == bson.TypeDecimal128 {
		return value.ToDecimal(a).Rem(value.ToDecimal(b)).Value(), nil
	}
	_, small := value.Int32Exact(b)
	if a.Type == bson.TypeDouble || b.Type == bson.TypeDouble && !small {
		return value.Double(math.Mod(value.ToDouble(a), value.ToDouble(b))), nil
	}
	x, y := value.AsInt64(a), value.ClampInt64(b)
	r := int64(0)
	if y != -1 {
		r = x % y
	}
	if a.Type == bson.TypeInt64 || b.Type == bson.TypeInt64 {
		return value.Int64(r), nil
	}
	return value.Int32(int32(r)), nil
}

func absolute(v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeDouble:
		return value.Double(math.Abs(value.AsDouble(v))), nil
	case bson.TypeDecimal128:
		return value.AsDecimal(v).Abs().Value(), nil
	}
	n := value.AsInt64(v)
	if n == math.MinInt64 {
		return bson.RawValue{}, fail(28680, "can't take $abs of long long min")
	}
	if n >= 0 {
		return v, nil
	}
	if v.Type == bson.TypeInt64 {
		return value.Int64(-n), nil
	}
	return value.Int(-n), nil
}

func squareRoot(v bson.RawValue) (bson.RawValue, error) {
	const negative = "$sqrt's argument must be greater than or equal to 0"
	if v.Type == bson.TypeDecimal128 {
		d := value.AsDecimal(v)
		if d.Negative() && !d.IsZero() {
			return bson.RawValue{}, fail(28714, negative)
		}
		return d.Sqrt().Value(), nil
	}
	f := value.ToDouble(v)
	if f < 0 {
		return bson.RawValue{}, fail(28714, negative)
	}
	return value.Double(math.Sqrt(f)), nil
}

func exponential(v bson.RawValue) (bson.RawValue, error) {
	if v.Type == bson.TypeDecimal128 {
		return value.AsDecimal(v).Exp().Value(), nil
	}
	return value.Double(value.Exp(value.ToDouble(v))), nil
}

func positive(d value.Decimal) bool { return !d.IsNaN() && !d.Negative() && !d.IsZero() }

func naturalLog(v bson.RawValue) (bson.RawValue, error) {
	if v.Type == bson.TypeDecimal128 && positive(value.AsDecimal(v)) {
		return value.AsDecimal(v).Ln().Value(), nil
	}
	f := value.ToDouble(v)
	if f <= 0 {
		return bson.RawValue{}, fail(28766, "$ln's argument must be a positive number, but is %s", formatDouble(f))
	}
	return value.Double(value.Log(f)), nil
}

func log10(v bson.RawValue) (bson.RawValue, error) {
	if v.Type == bson.TypeDecimal128 && positive(value.AsDecimal(v)) {
		return value.AsDecimal(v).Log10().Value(), nil
	}
	f := value.ToDouble(v)
	if f <= 0 {
		return bson.RawValue{}, fail(28761, "$log10's argument must be a positive number, but is %s", formatDouble(f))
	}
	return value.Double(value.Log10(f)), nil
}

// logarithm follows the server for decimals too: for bases other than 2 and
// 10 it divides the natural logarithm by the base itself.
func logarithm(a, b bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(a) || value.Nullish(b) {
		return value.Null(), nil
	}
	if !value.IsNumber(a) {
		return bson.RawValue{}, fail(28756, "$log's argument must be numeric, not %s", value.TypeName(a.Type))
	}
	if !value.IsNumber(b) {
		return bson.RawValue{}, fail(28757, "$log's base must be numeric, not %s", value.TypeName(b.Type))
	}
	if value.Widest(a.Type, b.Type) == bson.TypeDecimal128 {
		x, base := value.ToDecimal(a), value.ToDecimal(b)
		if positive(x) && positive(base) && base.Cmp(value.DecimalFromInt(1)) != 0 {
			switch {
			case base.Cmp(value.DecimalFromInt(2)) == 0:
				return x.Log2().Value(), nil
			case base.Cmp(value.DecimalFromInt(10)) == 0:
				return x.Log10().Value(), nil
			default:
				return x.Ln().Quo(base).Value(), nil
			}
		}
	}
	x, base := value.ToDouble(a), value.ToDouble(b)
	if x <= 0 {
		return bson.RawValue{}, fail(28758, "$log's argument must be a positive number, but is %s", formatDouble(x))
	}
	if base <= 0 || base == 1 {
		return bson.RawValue{}, fail(28759, "$log's base must be a positive number not equal to 1, but is %s", formatDouble(base))
	}
	return value.Double(value.Log(x) / value.Log(base)), nil
}

func power(a, b bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(a) || value.Nullish(b) {
		return value.Null(), nil
	}
	if !value.IsNumber(a) {
		return bson.RawValue{}, fail(28762, "$pow's base must be numeric, not %s", value.TypeName(a.Type))
	}
	if !value.IsNumber(b) {
		return bson.RawValue{}, fail(28763, "$pow's exponent must be numeric, not %s", value.TypeName(b.Type))
	}
	widest := value.Widest(a.Type, b.Type)
	if isZero(a) && isNegative(b) {
		return bson.RawValue{}, fail(28764, "$pow cannot take a base of 0 and a negative exponent")
	}
	switch widest {
	case bson.TypeDecimal128:
		return value.ToDecimal(a).Pow(value.ToDecimal(b)).Value(), nil
	case bson.TypeDouble:
		return value.Double(value.Pow(value.ToDouble(a), value.ToDouble(b))), nil
	}
	base, n := value.AsInt64(a), value.AsInt64(b)
	result, exact := intPower(base, n)
	switch {
	case !exact:
		return value.Double(value.Pow(float64(base), float64(n))), nil
	case widest == bson.TypeInt64:
		return value.Int64(result), nil
	default:
		return value.Int(result), nil
	}
}

// isNegative sees the sign of a decimal zero, as the server's check does.
func isNegative(v bson.RawValue) bool {
	if v.Type == bson.TypeDecimal128 {
		return value.AsDecimal(v).Negative()
	}
	return value.ToDouble(v) < 0
}

// intPower gives base to the n if it is an integer that fits.
func intPower(base, n int64) (result int64, exact bool) {
	switch {
	case base == 0:
		return int64(b2i(n == 0)), true
	case base == 1:
		return 1, true
	case base == -1:
		return 1 - 2*(n&1), true
	case n < 0 || n > 63:
		return 0, false
	}
	result = 1
	for ; n > 0; n-- {
		if result, exact = value.MulInt64(result, base); !exact {
			return 0, false
		}
	}
	return result, true
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// random is $rand.
type random struct{ env *Env }

func (r *random) eval(*scope) (bson.RawValue, error) { return value.Double(r.env.Random()), nil }
func (r *random) fold() (node, error)                { return r, nil }

func parseRand(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if (arg.Type != bson.TypeEmbeddedDocument && arg.Type != bson.TypeArray) || !value.IsEmpty(arg.Value) {
		return nil, fail(3040501, "$rand does not currently accept arguments")
	}
	return &random{p.env}, nil
}
