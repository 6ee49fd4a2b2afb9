package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func bitOperators() map[string]*operator {
	bits := func(name string, start int64, f func(a, b int64) int64) *operator {
		return &operator{since: V70, most: -1, associative: true, commutative: true, eval: func(s *scope, args []node) (bson.RawValue, error) {
			acc, long := start, false
			for _, n := range args {
				v, err := n.eval(s)
				if err != nil {
					return bson.RawValue{}, err
				}
				if value.Nullish(v) {
					return value.Null(), nil
				}
				if v.Type != bson.TypeInt32 && v.Type != bson.TypeInt64 {
					return bson.RawValue{}, fail(mongoerr.TypeMismatch, "%s only supports int and long operands.", name)
				}
				long = long || v.Type == bson.TypeInt64
				acc = f(acc, value.AsInt64(v))
			}
			if long {
				return value.Int64(acc), nil
			}
			return value.Int32(int32(acc)), nil
		}}
	}
	return map[string]*operator{
		"$bitAnd": bits("$bitAnd", -1, func(a, b int64) int64 { return a & b }),
		"$bitOr":  bits("$bitOr", 0, func(a, b int64) int64 { return a | b }),
		"$bitXor": bits("$bitXor", 0, func(a, b int64) int64 { return a ^ b }),
		"$bitNot": numeric("$bitNot", bitNot).from(V70),
	}
}

func bitNot(v bson.RawValue) (bson.RawValue, error) {
	switch v.Type {
	case bson.TypeInt32:
		return value.Int32(^value.AsInt32(v)), nil
	case bson.TypeInt64:
		return value.Int64(^value.AsInt64(v)), nil
	default:
		return bson.RawValue{}, fail(28765, "$bitNot only supports int and long, not: %s.", value.TypeName(v.Type))
	}
}
