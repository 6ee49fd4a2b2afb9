package update

import (
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// arithmetic is $inc or $mul.
type arithmetic struct {
	name string
	by   bson.RawValue
}

func parseArithmetic(name, field string, arg bson.RawValue) (operator, error) {
	if !value.IsNumber(arg) {
		verb := "increment"
		if name == "$mul" {
			verb = "multiply"
		}
		return nil, mongoerr.New(mongoerr.TypeMismatch, "Cannot %s with non-numeric argument: {%s: %s}", verb, field, show(arg))
	}
	return arithmetic{name, arg}, nil
}

func (a arithmetic) calculate(v bson.RawValue) (bson.RawValue, bool) {
	if a.name == "$mul" {
		return value.Multiply(a.by, v)
	}
	return value.Add(a.by, v)
}

func (a arithmetic) update(_ *run, e *element) (outcome, error) {
	if !value.IsNumber(e.v) {
		return unchanged, mongoerr.New(mongoerr.TypeMismatch,
			"Cannot apply %s to a value of non-numeric type. {%s} has the field '%s' of non-numeric type %s",
			a.name, e.describeID(), e.key, value.TypeName(e.typ()))
	}
	v, ok := a.calculate(e.v)
	if !ok {
		return unchanged, mongoerr.New(mongoerr.BadValue,
			"Failed to apply %s operations to current value (%s) for document {%s}", a.name, numberText(e.v), e.describeID())
	}
	if sameNumber(v, e.v) {
		return unchanged, nil
	}
	e.set(v)
	return changed, nil
}

func (a arithmetic) create(*run) (bson.RawValue, error) {
	if a.name == "$inc" {
		return a.by, nil
	}
	v, ok := value.Multiply(a.by, value.Int32(0))
	if !ok {
		return v, mongoerr.New(mongoerr.BadValue, "Failed to apply $mul operations to current value ((NumberInt)0)")
	}
	return v, nil
}

// sameNumber tells whether two numbers of the same type are equal; NaN never
// is.
func sameNumber(a, b bson.RawValue) bool {
	if a.Type != b.Type {
		return false
	}
	switch a.Type {
	case bson.TypeDouble:
		return value.AsDouble(a) == value.AsDouble(b)
	case bson.TypeDecimal128:
		x := value.AsDecimal(a)
		return !x.IsNaN() && x.Cmp(value.AsDecimal(b)) == 0
	}
	return value.AsInt64(a) == value.AsInt64(b)
}

func numberText(v bson.RawValue) string {
	switch v.Type {
	case bson.TypeInt32:
		return "(NumberInt)" + strconv.Itoa(int(value.AsInt32(v)))
	case bson.TypeInt64:
		return "(NumberLong)" + strconv.FormatInt(value.AsInt64(v), 10)
	case bson.TypeDouble:
		return "(NumberDouble)" + strconv.FormatFloat(value.AsDouble(v), 'g', -1, 64)
	}
	return "(NumberDecimal)" + value.AsDecimal(v).String()
}

// bit is $bit: the operations to carry out one after the other.
type bit struct{ steps []bitStep }

type bitStep struct {
	name    string
	operand bson.RawValue
}

func parseBit(arg bson.RawValue) (operator, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, mongoerr.New(mongoerr.BadValue,
			"The $bit modifier is not compatible with a %s. You must pass in an embedded document: {$bit: {field: {and/or/xor: #}}", value.TypeName(arg.Type))
	}
	b := bit{}
	for name, v := range value.Fields(arg.Value) {
		switch name {
		case "and", "or", "xor":
		default:
			return nil, mongoerr.New(mongoerr.BadValue,
				"The $bit modifier only supports 'and', 'or', and 'xor', not '%s' which is an unknown operator: {%s: %s}", name, name, show(v))
		}
		if v.Type != bson.TypeInt32 && v.Type != bson.TypeInt64 {
			return nil, mongoerr.New(mongoerr.BadValue,
				"The $bit modifier field must be an Integer(32/64 bit); a '%s' is not supported here: {%s: %s}", value.TypeName(v.Type), name, show(v))
		}
		b.steps = append(b.steps, bitStep{name, v})
	}
	if len(b.steps) == 0 {
		return nil, mongoerr.New(mongoerr.BadValue,
			"You must pass in at least one bitwise operation. The format is: {$bit: {field: {and/or/xor: #}}")
	}
	return b, nil
}

func (b bit) calculate(v bson.RawValue) bson.RawValue {
	n, long := value.AsInt64(v), v.Type == bson.TypeInt64
	for _, s := range b.steps {
		m := value.AsInt64(s.operand)
		long = long || s.operand.Type == bson.TypeInt64
		switch s.name {
		case "and":
			n &= m
		case "or":
			n |= m
		default:
			n ^= m
		}
	}
	if long {
		return value.Int64(n)
	}
	return value.Int32(int32(n))
}

func (b bit) update(_ *run, e *element) (outcome, error) {
	if e.typ() != bson.TypeInt32 && e.typ() != bson.TypeInt64 {
		return unchanged, mongoerr.New(mongoerr.BadValue,
			"Cannot apply $bit to a value of non-integral type.%s has the field %s of non-integer type %s",
			e.describeID(), e.key, value.TypeName(e.typ()))
	}
	v := b.calculate(e.v)
	if sameNumber(v, e.v) {
		return unchanged, nil
	}
	e.set(v)
	return changed, nil
}

func (b bit) create(*run) (bson.RawValue, error) { return b.calculate(value.Int32(0)), nil }
