package match

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A typeSet is a set of BSON types.
type typeSet struct {
	bits [4]uint64
	n    int
}

func (s *typeSet) add(ts ...bson.Type) {
	for _, t := range ts {
		if !s.has(t) {
			s.bits[t>>6] |= 1 << (t & 63)
			s.n++
		}
	}
}

func (s *typeSet) has(t bson.Type) bool { return s.bits[t>>6]&(1<<(t&63)) != 0 }

func (s *typeSet) test(v bson.RawValue, _ *state) bool { return v.Type != 0 && s.has(v.Type) }

func numbers() []bson.Type {
	return []bson.Type{bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128}
}

// addAlias adds the types of a name that find resolves; "number" is every
// numeric type.
func (s *typeSet) addAlias(name string, find func(string) (bson.Type, bool)) error {
	if name == "number" {
		s.add(numbers()...)
		return nil
	}
	t, ok := find(name)
	switch {
	case ok:
		s.add(t)
		return nil
	case name == "missing":
		return mongoerr.New(mongoerr.BadValue,
			"'missing' is not a legal type name. To query for non-existence of a field, use {$exists:false}.")
	}
	return mongoerr.New(mongoerr.BadValue, "Unknown type name alias: %s", name)
}

// parseTypes reads the operand of $type.
func parseTypes(path string, operand bson.RawValue) (*typeSet, error) {
	s := &typeSet{}
	if operand.Type != bson.TypeArray {
		return s, s.addOperand(operand)
	}
	for _, v := range value.Elements(operand) {
		if err := s.addOperand(v); err != nil {
			return nil, err
		}
	}
	if s.n == 0 {
		return nil, mongoerr.New(mongoerr.FailedToParse, "%s must match at least one type", path)
	}
	return s, nil
}

func (s *typeSet) addOperand(v bson.RawValue) error {
	if v.Type == bson.TypeString {
		return s.addAlias(value.AsString(v), value.TypeByName)
	}
	if !value.IsNumber(v) {
		return mongoerr.New(mongoerr.TypeMismatch, "type must be represented as a number or a string")
	}
	n, err := exactInt("$type", v)
	if err != nil {
		return mongoerr.New(mongoerr.BadValue, "Invalid numerical type code: %s", expr.Show(v))
	}
	switch {
	case n == 0:
		return mongoerr.New(mongoerr.BadValue, "Invalid numerical type code: 0. Instead use {$exists:false}.")
	case n >= 1 && n <= 19, n == 127:
		s.add(bson.Type(n))
	case n == -1:
		s.add(bson.TypeMinKey)
	default:
		return mongoerr.New(mongoerr.BadValue, "Invalid numerical type code: %d", n)
	}
	return nil
}
