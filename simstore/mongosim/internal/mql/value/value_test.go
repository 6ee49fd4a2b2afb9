package value_test

import (
	"bytes"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// anyNumber draws numbers that are likely to be equal, near each other, or at
// the limits of a type.
func anyNumber(t *rapid.T) bson.RawValue {
	switch rapid.IntRange(0, 3).Draw(t, "number") {
	case 0:
		return value.Int32(rapid.SampledFrom([]int32{0, 1, -1, 7, math.MaxInt32, math.MinInt32}).Draw(t, "int32"))
	case 1:
		near := rapid.SampledFrom([]int64{0, 1 << 53, -1 << 53, math.MaxInt64, math.MinInt64, 10}).Draw(t, "near")
		return value.Int64(near + rapid.Int64Range(-3, 3).Draw(t, "off"))
	case 2:
		if rapid.Bool().Draw(t, "special") {
			return value.Double(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 0.1, 1 << 53, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, 5e-324, 1 << 63, 2.5}).Draw(t, "double"))
		}
		return value.Double(rapid.Float64().Draw(t, "float"))
	default:
		return value.NewDecimal(rapid.Bool().Draw(t, "neg"), big.NewInt(rapid.SampledFrom([]int64{0, 1, 10, 25, 250, 1 << 53, math.MaxInt64, 1<<53 + 1}).Draw(t, "coef")),
			rapid.SampledFrom([]int{0, -1, -2, 1, 30, 6000, -6000, 309, -17}).Draw(t, "exp")).Value()
	}
}

func anyValue(t *rapid.T, depth int) bson.RawValue {
	n := 13
	if depth == 0 {
		n = 11
	}
	switch rapid.IntRange(0, n).Draw(t, "kind") {
	case 0:
		return value.String(rapid.SampledFrom([]string{"", "a", "a\x00", "a\x00b", "ab", "\x00", "é", "\xff"}).Draw(t, "string"))
	case 1:
		return value.Null()
	case 2:
		return value.Bool(rapid.Bool().Draw(t, "bool"))
	case 3:
		return value.Date(rapid.SampledFrom([]int64{0, -1, 1, math.MinInt64, math.MaxInt64}).Draw(t, "date"))
	case 4:
		return value.Timestamp(rapid.Uint32Range(0, 2).Draw(t, "t"), rapid.Uint32().Draw(t, "i"))
	case 5:
		return value.Binary(rapid.SampledFrom([]byte{0, 4}).Draw(t, "subtype"), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "data"))
	case 6:
		return value.Regex(rapid.SampledFrom([]string{"", "a", "ab"}).Draw(t, "pattern"), rapid.SampledFrom([]string{"", "i"}).Draw(t, "options"))
	case 7:
		return rapid.SampledFrom([]bson.RawValue{value.MinKey(), value.MaxKey(), {}, {Type: bson.TypeUndefined}}).Draw(t, "edge")
	case 8:
		return value.ObjectID(bson.ObjectID{rapid.Byte().Draw(t, "id")})
	case 12:
		var a value.Arr
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			a.Add(anyValue(t, depth-1))
		}
		return a.Value()
	case 13:
		var o value.Object
		for range rapid.IntRange(0, 3).Draw(t, "fields") {
			o.Add(rapid.SampledFrom([]string{"a", "b", "ab", ""}).Draw(t, "name"), anyValue(t, depth-1))
		}
		return o.Value()
	default:
		return anyNumber(t)
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestKeysOrderAsValuesDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyValue(t, 2), anyValue(t, 2)
		want := sign(value.Compare(a, b))
		ka, kb := value.AppendKey(nil, a, false), value.AppendKey(nil, b, false)
		assert.Equal(t, want, bytes.Compare(ka, kb), "%s and %s", a, b)
		da, db := value.AppendKey(nil, a, true), value.AppendKey(nil, b, true)
		assert.Equal(t, -want, bytes.Compare(da, db), "descending %s and %s", a, b)
		if want != 0 {
			assert.False(t, bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka), "one key begins with the other: %s and %s", a, b)
		}
		assert.Equal(t, want == 0, value.Equal(a, b))
	})
}

func TestCompareIsAnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyValue(t, 2), anyValue(t, 2), anyValue(t, 2)
		assert.Equal(t, sign(value.Compare(a, b)), -sign(value.Compare(b, a)))
		if value.Compare(a, b) <= 0 && value.Compare(b, c) <= 0 {
			assert.LessOrEqual(t, value.Compare(a, c), 0, "%s %s %s", a, b, c)
		}
	})
}

func TestTypesInOrder(t *testing.T) {
	t.Parallel()
	in := []bson.RawValue{
		value.MinKey(),
		{},
		value.Null(), value.Double(math.NaN()), value.Double(math.Inf(-1)), value.Int32(-5), value.Double(-0.5),
		value.Int64(0), value.Double(0.5), value.Int32(1), value.Int64(1<<53 + 1), value.DecimalFromInt(1 << 60).Value(), value.Double(math.Inf(1)),
		value.String(""), value.String("a"), value.String("b"), value.Doc(bson.Raw{5, 0, 0, 0, 0}), value.ArrayOf(), value.ArrayOf(value.Int32(1)),
		value.Binary(0, nil), value.Binary(0, []byte{1}), value.Binary(1, []byte{0}), value.ObjectID(bson.ObjectID{}), value.Bool(false), value.Bool(true),
		value.Date(-1), value.Date(0), value.Timestamp(0, 1), value.Regex("a", ""), value.MaxKey(),
	}
	for i := range in {
		for j := range in {
			assert.Equal(t, sign(i-j), sign(value.Compare(in[i], in[j])), "%v and %v", in[i], in[j])
		}
	}
}

func decimal(t *testing.T, s string) value.Decimal {
	t.Helper()
	d, _, ok := value.ParseDecimal(s)
	require.True(t, ok, s)
	return d
}

func TestDecimalArithmetic(t *testing.T) {
	t.Parallel()
	add, sub := value.Decimal.Add, value.Decimal.Sub
	mul, quo, rem := value.Decimal.Mul, value.Decimal.Quo, value.Decimal.Rem
	for _, c := range []struct {
		f          func(a, b value.Decimal) value.Decimal
		a, b, want string
	}{
		{add, "2.50", "1", "3.50"},
		{add, "1E+30", "1", "1000000000000000000000000000001"},
		{add, "1E+40", "1", "1.000000000000000000000000000000000E+40"},
		{add, "9999999999999999999999999999999999", "0.5", "1.000000000000000000000000000000000E+34"},
		{add, "9999999999999999999999999999999998", "0.5", "9999999999999999999999999999999998"},
		{add, "Infinity", "-Infinity", "NaN"},
		{sub, "1", "1.00", "0.00"},
		{mul, "2.50", "2", "5.00"},
		{mul, "9E+6111", "10", "9.0E+6112"},
		{mul, "9E+6144", "10", "Infinity"},
		{mul, "1E-6176", "0.1", "0E-6176"},
		{mul, "0", "Infinity", "NaN"},
		{quo, "-7.25", "2", "-3.625"},
		{quo, "1", "3", "0.3333333333333333333333333333333333"},
		{quo, "2", "3", "0.6666666666666666666666666666666667"},
		{quo, "1", "0", "Infinity"},
		{quo, "0", "0", "NaN"},
		{quo, "100", "1E+1", "10.0"},
		{quo, "6", "Infinity", "0E-6176"},
		{rem, "-7.25", "3", "-1.25"},
		{rem, "1E+30", "3", "1"},
		{rem, "1E+6000", "7", "1"},
		{rem, "5", "Infinity", "5"},
		{rem, "5", "0", "NaN"},
	} {
		assert.Equal(t, c.want, c.f(decimal(t, c.a), decimal(t, c.b)).String(), "%s and %s", c.a, c.b)
	}
}

func TestDecimalFunctions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{decimal(t, "2.50").Sqrt().String(), "1.581138830084189665999446772216359"},
		{decimal(t, "1E+30").Sqrt().String(), "1E+15"},
		{decimal(t, "-1").Sqrt().String(), "NaN"},
		{decimal(t, "1E+30").Log10().String(), "30.00000000000000000000000000000000"},
		{decimal(t, "1").Ln().String(), "0"},
		{decimal(t, "10").Ln().String(), "2.302585092994045684017991454684364"},
		{decimal(t, "0").Exp().String(), "1"},
		{decimal(t, "1").Exp().String(), "2.718281828459045235360287471352662"},
		{decimal(t, "1E+9").Exp().String(), "Infinity"},
		{decimal(t, "-7.25").Pow(decimal(t, "2")).String(), "52.56250000000000000000000000000000"},
		{decimal(t, "-8").Pow(decimal(t, "0.5")).String(), "NaN"},
		{decimal(t, "-2").Pow(decimal(t, "3")).String(), "-8.000000000000000000000000000000000"},
		{decimal(t, "0").Trigonometric("cos").String(), "1"},
		{decimal(t, "1E-30").Trigonometric("sin").String(), "1.000000000000000000000000000000000E-30"},
		{decimal(t, "1E+20").Trigonometric("sin").String(), "-0.6452512852657808442058117113125230"},
		{decimal(t, "1").Trigonometric("asin").String(), "1.570796326794896619231321691639751"},
		{decimal(t, "2").Trigonometric("acos").String(), "NaN"},
		{decimal(t, "7.25").Quantize(0, value.HalfEven).String(), "7"},
		{decimal(t, "6.5").Quantize(0, value.HalfEven).String(), "6"},
		{decimal(t, "-6.1").Quantize(0, value.TowardNegative).String(), "-7"},
		{decimal(t, "1E+40").Quantize(0, value.TowardZero).String(), "NaN"},
		{value.DecimalFromDouble(2.5).String(), "2.50000000000000"},
		{value.DecimalFromDouble(0.1).String(), "0.100000000000000"},
		{value.DecimalFromDoubleExact(5).String(), "5"},
	} {
		assert.Equal(t, c.want, c.got)
	}
}

// TestDecimalTextAgreesWithTheDriver reads and writes the same as the driver.
func TestDecimalTextAgreesWithTheDriver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 14).Draw(t, "coef"))
		exp := rapid.IntRange(-6176, 6111).Draw(t, "exp")
		driver, ok := bson.ParseDecimal128FromBigInt(c, exp)
		if !ok {
			t.Skip("more than 34 digits")
		}
		ours := value.NewDecimal(false, c, exp)
		assert.Equal(t, driver.String(), ours.String())
		assert.Equal(t, driver, ours.Value().Decimal128())
		back, exact, ok := value.ParseDecimal(ours.String())
		assert.True(t, ok && exact)
		assert.Equal(t, ours.String(), back.String())
	})
}

func TestMalformedBytesEndTheDocument(t *testing.T) {
	t.Parallel()
	good := value.Doc(bson.Raw{5, 0, 0, 0, 0})
	var o value.Object
	o.Add("a", value.String("text"))
	o.Add("b", good)
	doc := o.Doc()
	for n := range doc {
		cut := doc[:n:n]
		for range value.Fields(cut) { //nolint:revive // must not panic
		}
		value.Field(cut, "b")
		value.Compare(value.Doc(cut), value.Doc(doc))
		value.AppendKey(nil, value.Doc(cut), true)
	}
}

func TestWith(t *testing.T) {
	t.Parallel()
	var o value.Object
	o.Add("a", value.Int32(1))
	o.Add("b", value.Int32(2))
	doc := o.Doc()
	assert.JSONEq(t, `{"a": {"$numberInt":"9"},"b": {"$numberInt":"2"}}`, value.With(doc, "a", value.Int32(9)).String())
	assert.JSONEq(t, `{"b": {"$numberInt":"2"}}`, value.With(doc, "a", value.Missing()).String())
	assert.JSONEq(t, `{"a": {"$numberInt":"1"},"b": {"$numberInt":"2"},"c": null}`, value.With(doc, "c", value.Null()).String())
}

func FuzzCompare(f *testing.F) {
	f.Add([]byte{5, 0, 0, 0, 0}, []byte{12, 0, 0, 0, 16, 'a', 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x, y := value.Doc(a), value.Doc(b)
		want := sign(value.Compare(x, y))
		assert.Equal(t, -want, sign(value.Compare(y, x)))
		assert.Equal(t, want, bytes.Compare(value.AppendKey(nil, x, false), value.AppendKey(nil, y, false)))
	})
}
