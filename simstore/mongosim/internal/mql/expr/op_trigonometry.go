package expr

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func trigonometricOperators() map[string]*operator {
	whole := math.Inf(1)
	return map[string]*operator{
		"$sin":              bounded("sin", "(", -whole, whole, ")"),
		"$cos":              bounded("cos", "(", -whole, whole, ")"),
		"$tan":              bounded("tan", "(", -whole, whole, ")"),
		"$asin":             bounded("asin", "[", -1, 1, "]"),
		"$acos":             bounded("acos", "[", -1, 1, "]"),
		"$atanh":            bounded("atanh", "[", -1, 1, "]"),
		"$acosh":            bounded("acosh", "[", 1, whole, "]"),
		"$atan":             numeric("$atan", trigonometric("atan")),
		"$asinh":            numeric("$asinh", trigonometric("asinh")),
		"$sinh":             numeric("$sinh", trigonometric("sinh")),
		"$cosh":             numeric("$cosh", trigonometric("cosh")),
		"$tanh":             numeric("$tanh", trigonometric("tanh")),
		"$atan2":            {least: 2, most: 2, eval: atan2},
		"$degreesToRadians": numeric("$degreesToRadians", degreesToRadians),
		"$radiansToDegrees": numeric("$radiansToDegrees", radiansToDegrees),
	}
}

func trigonometric(name string) func(bson.RawValue) (bson.RawValue, error) {
	return func(v bson.RawValue) (bson.RawValue, error) {
		if v.Type == bson.TypeDecimal128 {
			return value.AsDecimal(v).Trigonometric(name).Value(), nil
		}
		return value.Double(value.Trigonometric(name, value.ToDouble(v))), nil
	}
}

// bounded refuses arguments outside an interval, which round brackets leave
// open.
func bounded(name, left string, low, high float64, right string) *operator {
	apply := trigonometric(name)
	return numeric("$"+name, func(v bson.RawValue) (bson.RawValue, error) {
		if math.IsNaN(value.ToDouble(v)) {
			return v, nil
		}
		fromLow, fromHigh := value.Compare(v, value.Double(low)), value.Compare(v, value.Double(high))
		if left == "[" {
			fromLow++ // at the bound is fine
			fromHigh--
		}
		if fromLow <= 0 || fromHigh >= 0 {
			return bson.RawValue{}, fail(50989, "cannot apply $%s to %s, value must in %s%s,%s%s", name, show(v), left, formatDouble(low), formatDouble(high), right)
		}
		return apply(v)
	})
}

func atan2(s *scope, args []node) (bson.RawValue, error) {
	y, null, err := numberOrNull(s, args[0], 51044)
	if err != nil || null {
		return value.Null(), err
	}
	x, null, err := numberOrNull(s, args[1], 51045)
	if err != nil || null {
		return value.Null(), err
	}
	if value.Widest(x.Type, y.Type) == bson.TypeDecimal128 {
		return value.ToDecimal(y).Atan2(value.ToDecimal(x)).Value(), nil
	}
	return value.Double(value.Atan2(value.ToDouble(y), value.ToDouble(x))), nil
}

func numberOrNull(s *scope, n node, code mongoerr.Code) (v bson.RawValue, null bool, err error) {
	v, err = n.eval(s)
	switch {
	case err != nil:
		return v, false, err
	case value.Nullish(v):
		return v, true, nil
	case !value.IsNumber(v):
		return v, false, fail(code, "$atan2 only supports numeric types, not %s", value.TypeName(v.Type))
	}
	return v, false, nil
}

func degreesToRadians(v bson.RawValue) (bson.RawValue, error) {
	if v.Type == bson.TypeDecimal128 {
		return value.AsDecimal(v).DegreesToRadians().Value(), nil
	}
	const factor = float64(math.Pi) / 180
	return value.Double(value.ToDouble(v) * factor), nil
}

func radiansToDegrees(v bson.RawValue) (bson.RawValue, error) {
	if v.Type == bson.TypeDecimal128 {
		return value.AsDecimal(v).RadiansToDegrees().Value(), nil
	}
	factor := 180 / float64(math.Pi)
	return value.Double(value.ToDouble(v) * factor), nil
}
