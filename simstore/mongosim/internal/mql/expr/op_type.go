package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func typeOperators() map[string]*operator {
	return map[string]*operator{
		"$type":        unary(func(v bson.RawValue) (bson.RawValue, error) { return value.String(value.TypeName(v.Type)), nil }),
		"$isNumber":    unary(func(v bson.RawValue) (bson.RawValue, error) { return value.Bool(value.IsNumber(v)), nil }),
		"$tsSecond":    timestampPart("$tsSecond", 5687301, func(t, _ uint32) int64 { return int64(t) }),
		"$tsIncrement": timestampPart("$tsIncrement", 5687302, func(_, i uint32) int64 { return int64(i) }),
	}
}

func timestampPart(name string, code mongoerr.Code, part func(t, i uint32) int64) *operator {
	return unary(func(v bson.RawValue) (bson.RawValue, error) {
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if v.Type != bson.TypeTimestamp {
			return bson.RawValue{}, fail(code, "%s requires a timestamp argument, found: %s", name, value.TypeName(v.Type))
		}
		return value.Int64(part(value.AsTimestamp(v))), nil
	}).from(V50)
}
