package expr

import (
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func conversionOperators() map[string]*operator {
	return map[string]*operator{
		"$convert": {
			eval: convertOperator, notObject: mongoerr.FailedToParse, unknown: mongoerr.FailedToParse,
			params: []param{{"input", mongoerr.FailedToParse}, {"to", mongoerr.FailedToParse}, {"onError", 0}, {"onNull", 0}},
		},
		"$toString":   conversionTo(bson.TypeString),
		"$toObjectId": conversionTo(bson.TypeObjectID),
		"$toDate":     conversionTo(bson.TypeDateTime),
		"$toDouble":   conversionTo(bson.TypeDouble),
		"$toInt":      conversionTo(bson.TypeInt32),
		"$toLong":     conversionTo(bson.TypeInt64),
		"$toDecimal":  conversionTo(bson.TypeDecimal128),
		"$toBool":     conversionTo(bson.TypeBoolean),
	}
}

// conversionTo is $convert with a fixed target.
func conversionTo(t bson.Type) *operator {
	return &operator{
		parse: func(p *parser, op *operator, arg bson.RawValue) (node, error) {
			n, err := p.call(&operator{name: op.name, most: -1, eval: op.eval}, arg)
			if err != nil {
				return nil, err
			}
			if c := n.(*call); len(c.args) != 1 {
				return nil, fail(50723, "%s requires a single argument, got %d", op.name, len(c.args))
			}
			return n, nil
		},
		eval: func(s *scope, args []node) (bson.RawValue, error) {
			v, err := args[0].eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			if value.Nullish(v) {
				return value.Null(), nil
			}
			return convert(v, t)
		},
	}
}

func convertOperator(s *scope, args []node) (bson.RawValue, error) {
	to, err := args[1].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	v, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	var target bson.Type
	if !value.Nullish(to) {
		if target, err = convertTarget(to); err != nil {
			return bson.RawValue{}, err
		}
	}
	switch {
	case value.Nullish(v):
		return evalOr(s, args[3], value.Null())
	case value.Nullish(to):
		return value.Null(), nil
	}
	out, err := convert(v, target)
	if err != nil && args[2] != nil && mongoerr.CodeOf(err) == mongoerr.ConversionFailure {
		return args[2].eval(s)
	}
	return out, err
}

// convertTarget reads a type's name or number.
func convertTarget(v bson.RawValue) (bson.Type, error) {
	if v.Type == bson.TypeString {
		name := value.AsString(v)
		if name == "missing" {
			return 0, nil
		}
		t, ok := value.TypeByName(name)
		if !ok {
			return 0, fail(mongoerr.BadValue, "Unknown type name: %s", name)
		}
		return t, nil
	}
	if !value.IsNumber(v) {
		return 0, fail(mongoerr.FailedToParse, "$convert's 'to' argument must be a string or number, but is %s", value.TypeName(v.Type))
	}
	n, ok := value.Int32Exact(v)
	if !ok {
		return 0, fail(mongoerr.FailedToParse, "In $convert, numeric 'to' argument is not an integer")
	}
	if n != -1 && n != 127 && (n < 0 || n > 19) {
		return 0, fail(mongoerr.FailedToParse, "In $convert, numeric value for 'to' does not correspond to a BSON type: %d", n)
	}
	return bson.Type(byte(n)), nil
}

// convert turns a value that isn't nullish into another type.
func convert(v bson.RawValue, to bson.Type) (bson.RawValue, error) {
	switch to {
	case bson.TypeBoolean:
		return value.Bool(value.Truthy(v)), nil
	case v.Type:
		switch to {
		case bson.TypeDouble, bson.TypeString, bson.TypeObjectID, bson.TypeDateTime, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128:
			return v, nil
		}
	case bson.TypeString:
		return convertToString(v)
	case bson.TypeObjectID:
		if v.Type == bson.TypeString {
			return parseObjectID(value.AsString(v))
		}
	case bson.TypeDateTime:
		return convertToDate(v)
	case bson.TypeDouble:
		return convertToDouble(v)
	case bson.TypeInt32:
		return convertToInt(v, to)
	case bson.TypeInt64:
		return convertToInt(v, to)
	case bson.TypeDecimal128:
		return convertToDecimal(v)
	}
	return unsupportedConversion(v, to)
}

const noOnError = "in $convert with no onError value"

func unsupportedConversion(v bson.RawValue, to bson.Type) (bson.RawValue, error) {
	return bson.RawValue{}, conversion("Unsupported conversion from %s to %s %s", value.TypeName(v.Type), value.TypeName(to), noOnError)
}

func convertToString(v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeDouble:
		f := value.AsDouble(v)
		switch {
		case math.IsNaN(f):
			return value.String("NaN"), nil
		case math.IsInf(f, 1):
			return value.String("Infinity"), nil
		case math.IsInf(f, -1):
			return value.String("-Infinity"), nil
		}
		return value.String(formatDouble(f)), nil
	case bson.TypeObjectID:
		return value.String(value.AsObjectID(v).Hex()), nil
	case bson.TypeBoolean:
		return value.String(strconv.FormatBool(value.AsBool(v))), nil
	case bson.TypeDateTime, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128:
		s, err := coerceString(v)
		if err != nil {
			return bson.RawValue{}, err
		}
		return value.String(s), nil
	default:
		return unsupportedConversion(v, bson.TypeString)
	}
}

func parseObjectID(s string) (bson.RawValue, error) {
	var id bson.ObjectID
	if len(s) != 24 {
		return bson.RawValue{}, conversion("Failed to parse objectId '%s' %s: Invalid string length for parsing to OID, expected 24 but found %d", s, noOnError, len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return bson.RawValue{}, conversion("Failed to parse objectId '%s' %s: Invalid character found in hex string", s, noOnError)
	}
	return value.ObjectID(id), nil
}

func convertToDate(v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeString:
		ms, err := parseDate(value.AsString(v), utc())
		if err != nil {
			return bson.RawValue{}, err
		}
		return value.Date(ms), nil
	case bson.TypeObjectID:
		return value.Time(value.AsObjectID(v).Timestamp()), nil
	case bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		n, err := truncateToInt(v, bson.TypeInt64)
		return value.Date(n), err
	default:
		return unsupportedConversion(v, bson.TypeDateTime)
	}
}

func convertToDouble(v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return value.Double(float64(value.AsInt64(v))), nil
	case bson.TypeBoolean:
		return value.Double(float64(b2i(value.AsBool(v)))), nil
	case bson.TypeDateTime:
		return value.Double(float64(value.AsDate(v))), nil
	case bson.TypeDecimal128:
		d := value.AsDecimal(v)
		f := d.Float64()
		if d.IsFinite() && (math.IsInf(f, 0) || underflows(d, f)) {
			return bson.RawValue{}, conversion("Conversion would overflow target type %s: %s", noOnError, d)
		}
		return value.Double(f), nil
	case bson.TypeString:
		f, err := parseDouble(value.AsString(v))
		return value.Double(f), err
	default:
		return unsupportedConversion(v, bson.TypeDouble)
	}
}

// underflows tells whether a decimal is too small to be a normal double and
// loses digits for it.
func underflows(d value.Decimal, f float64) bool {
	return !d.IsZero() && math.Abs(f) < 0x1p-1022 && value.Compare(d.Value(), value.Double(f)) != 0
}

func convertToInt(v bson.RawValue, to bson.Type) (bson.RawValue, error) {
	make := func(n int64) bson.RawValue {
		if to == bson.TypeInt32 {
			return value.Int32(int32(n))
		}
		return value.Int64(n)
	}
	switch v.Type {
	case bson.TypeDouble, bson.TypeDecimal128, bson.TypeInt32, bson.TypeInt64:
		n, err := truncateToInt(v, to)
		return make(n), err
	case bson.TypeBoolean:
		return make(int64(b2i(value.AsBool(v)))), nil
	case bson.TypeDateTime:
		if to == bson.TypeInt64 {
			return value.Int64(value.AsDate(v)), nil
		}
	case bson.TypeString:
		n, err := parseInt(value.AsString(v), to)
		return make(n), err
	}
	return unsupportedConversion(v, to)
}

func truncateToInt(v bson.RawValue, to bson.Type) (int64, error) {
	least, most := int64(math.MinInt64), int64(math.MaxInt64)
	if to == bson.TypeInt32 {
		least, most = math.MinInt32, math.MaxInt32
	}
	overflow := func() error { return conversion("Conversion would overflow target type %s: %s", noOnError, show(v)) }
	switch v.Type {
	case bson.TypeDouble:
		f := value.AsDouble(v)
		if math.IsNaN(f) {
			return 0, conversion("Attempt to convert NaN value to integer type %s", noOnError)
		}
		if math.IsInf(f, 0) {
			return 0, conversion("Attempt to convert infinity value to integer type %s", noOnError)
		}
		if f < float64(least) || to == bson.TypeInt32 && f > float64(most) || f >= 1<<63 {
			return 0, overflow()
		}
		return int64(f), nil
	case bson.TypeDecimal128:
		d := value.AsDecimal(v)
		if d.IsNaN() {
			return 0, conversion("Attempt to convert NaN value to integer type %s", noOnError)
		}
		if d.IsInf() {
			return 0, conversion("Attempt to convert infinity value to integer type %s", noOnError)
		}
		n, _, ok := d.Int64(value.TowardZero)
		if !ok || n < least || n > most {
			return 0, overflow()
		}
		return n, nil
	default:
		n := value.AsInt64(v)
		if n < least || n > most {
			return 0, overflow()
		}
		return n, nil
	}
}

func convertToDecimal(v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeDouble, bson.TypeInt32, bson.TypeInt64:
		return value.ToDecimal(v).Value(), nil
	case bson.TypeBoolean:
		return value.DecimalFromInt(int64(b2i(value.AsBool(v)))).Value(), nil
	case bson.TypeDateTime:
		return value.DecimalFromInt(value.AsDate(v)).Value(), nil
	case bson.TypeString:
		d, err := parseDecimal(value.AsString(v))
		if err != nil {
			return bson.RawValue{}, err
		}
		return d.Value(), nil
	default:
		return unsupportedConversion(v, bson.TypeDecimal128)
	}
}

func unparsable(s, why string) error {
	if strings.HasPrefix(s, "0x") {
		return conversion("Illegal hexadecimal input %s: %s", noOnError, s)
	}
	return conversion("Failed to parse number '%s' %s: %s", s, noOnError, why)
}

func parseInt(s string, to bson.Type) (int64, error) {
	size := 64
	if to == bson.TypeInt32 {
		size = 32
	}
	n, err := strconv.ParseInt(s, 10, size)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, strconv.ErrRange):
		return 0, unparsable(s, "Overflow")
	default:
		return 0, unparsable(s, "Did not consume whole string.")
	}
}

// parseDouble takes what C's strtod takes, without leading space: decimal
// and, after a sign, hexadecimal numbers, inf, infinity and nan in any case.
func parseDouble(s string) (float64, error) {
	if strings.HasPrefix(s, "0x") || s == "" || strings.Contains(s, "_") {
		return 0, unparsable(s, "Did not consume whole string.")
	}
	text := s
	if low := strings.ToLower(s); strings.HasPrefix(strings.TrimLeft(low, "+-"), "0x") && !strings.Contains(low, "p") {
		text += "p0"
	}
	f, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, unparsable(s, "Out of range")
	}
	if err != nil && strings.EqualFold(strings.TrimLeft(s, "+-"), "nan") && len(s) <= 4 {
		return math.NaN(), nil
	}
	if err != nil {
		return 0, unparsable(s, "Did not consume whole string.")
	}
	if f == 0 && strings.ContainsAny(mantissa(s), "123456789") || f != 0 && math.Abs(f) < 0x1p-1022 {
		return 0, unparsable(s, "Out of range")
	}
	return f, nil
}

func mantissa(s string) string {
	m, _, _ := strings.Cut(strings.ToLower(s), "e")
	return m
}

func parseDecimal(s string) (value.Decimal, error) {
	if strings.HasPrefix(s, "0x") {
		return value.Decimal{}, unparsable(s, "")
	}
	if s == "" {
		return value.Decimal{}, unparsable(s, "Empty string")
	}
	d, _, ok := value.ParseDecimal(s)
	if !ok {
		return value.Decimal{}, unparsable(s, "Failed to parse string to decimal")
	}
	if d.IsInf() && !strings.ContainsAny(s, "nN") {
		return value.Decimal{}, unparsable(s, "Conversion from string to decimal would overflow")
	}
	if d.IsZero() && strings.ContainsAny(mantissa(s), "123456789") {
		return value.Decimal{}, unparsable(s, "Conversion from string to decimal would underflow")
	}
	return d, nil
}
