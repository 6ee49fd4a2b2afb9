// Package literal decides how a Go value must be written so that the server
// takes it for data. A string, a number or a date means itself wherever it
// stands; a document could be read as operators, a regular expression as a
// pattern.
package literal

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Class says what a value is to the server.
type Class uint8

const (
	// Scalar values mean themselves in a filter.
	Scalar Class = iota
	// Text is a string: itself in a filter, a field path in an expression when it starts with $.
	Text
	// Array is an array.
	Array
	// Regex is a regular expression: a pattern in a filter.
	Regex
	// Document may be read as operators.
	Document
)

// Expression is implemented by the types of this module that are structure and
// not data: filters, updates, expressions. Passing one as a value is a mistake that Of reports.
type Expression interface{ NotAValue() string }

// maxDepth is the server's limit on nested documents.
const maxDepth = 180

// Of returns the value to store in a command, and its class. Documents, maps
// and slices are copied, so that the caller may change theirs afterwards, and
// the keys of maps are sorted, so that one value always gives the same bytes
// (the server compares documents key by key in order).
func Of(v any) (any, Class, error) { return of(v, 0) }

func of(v any, depth int) (any, Class, error) {
	switch x := v.(type) {
	case string:
		return v, Text, nil
	case uint64:
		return v, Scalar, checkUint(x)
	case uint:
		return v, Scalar, checkUint(uint64(x))
	case nil, bool, int, int8, int16, int32, int64, uint8, uint16, uint32, float32, float64,
		time.Time, bson.ObjectID, bson.DateTime, bson.Decimal128, bson.Timestamp, bson.Null, bson.MinKey, bson.MaxKey:
		return v, Scalar, nil
	case []byte:
		return slices.Clone(x), Scalar, nil
	case bson.Binary:
		x.Data = slices.Clone(x.Data)
		return x, Scalar, nil
	case bson.Symbol:
		return v, Scalar, nil
	case bson.Regex:
		return v, Regex, nil
	case bson.JavaScript, bson.CodeWithScope, bson.DBPointer, bson.Undefined:
		return nil, 0, fmt.Errorf("a value of type %T is not accepted", v)
	case bson.RawValue:
		return ofRaw(x)
	case bson.RawArray:
		// The driver would store it as binary data.
		return ofRaw(bson.RawValue{Type: bson.TypeArray, Value: x})
	case Expression:
		return nil, 0, fmt.Errorf("%s stands where a value belongs", x.NotAValue())
	}
	return ofComposite(v, depth)
}

// checkUint refuses what BSON, whose whole numbers are signed, can't hold.
func checkUint(n uint64) error {
	if n > math.MaxInt64 {
		return fmt.Errorf("the number %d is greater than an int64 can be", n)
	}
	return nil
}

func ofComposite(v any, depth int) (any, Class, error) {
	if depth > maxDepth {
		return nil, 0, fmt.Errorf("a value is nested deeper than %d levels", maxDepth)
	}
	switch x := v.(type) {
	case bson.D:
		out := make(bson.D, len(x))
		for i, e := range x {
			inner, err := nested(e.Value, depth)
			if err != nil {
				return nil, 0, fmt.Errorf("%s: %w", e.Key, err)
			}
			out[i] = bson.E{Key: e.Key, Value: inner}
		}
		return out, Document, nil
	case bson.M:
		return ofMap(x, depth)
	case map[string]any:
		return ofMap(x, depth)
	case bson.A:
		return ofSlice(x, depth)
	case []any:
		return ofSlice(x, depth)
	case bson.Raw:
		return slices.Clone(x), Document, nil
	case bson.Marshaler, bson.ValueMarshaler:
		// What it will be is known only when it is encoded: the careful class is the right one.
		return v, Document, nil
	}
	return ofReflected(reflect.ValueOf(v), depth)
}

func nested(v any, depth int) (any, error) {
	out, _, err := of(v, depth+1)
	return out, err
}

func ofMap(m map[string]any, depth int) (any, Class, error) {
	out := make(bson.D, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		inner, err := nested(m[k], depth)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", k, err)
		}
		out = append(out, bson.E{Key: k, Value: inner})
	}
	return out, Document, nil
}

func ofSlice(s []any, depth int) (any, Class, error) {
	out := make(bson.A, len(s))
	for i, e := range s {
		inner, err := nested(e, depth)
		if err != nil {
			return nil, 0, fmt.Errorf("element %d: %w", i, err)
		}
		out[i] = inner
	}
	return out, Array, nil
}

func ofReflected(rv reflect.Value, depth int) (any, Class, error) {
	switch rv.Kind() {
	case reflect.Uint, reflect.Uint64:
		return rv.Interface(), Scalar, checkUint(rv.Uint())
	case reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return rv.Interface(), Scalar, nil
	case reflect.String:
		return rv.Interface(), Text, nil
	case reflect.Pointer:
		if rv.IsNil() {
			return nil, Scalar, nil
		}
		return of(rv.Elem().Interface(), depth+1)
	case reflect.Slice:
		if rv.IsNil() {
			return rv.Interface(), Array, nil
		}
		if rv.Type().Elem().Kind() == reflect.Uint8 {
			return slices.Clone(rv.Bytes()), Scalar, nil
		}
		return ofReflectedList(rv, depth)
	case reflect.Array:
		return ofReflectedList(rv, depth)
	case reflect.Map:
		return ofReflectedMap(rv, depth)
	case reflect.Struct:
		return rv.Interface(), Document, nil
	default:
		return nil, 0, fmt.Errorf("a value of type %s can't be stored", rv.Type())
	}
}

func ofReflectedList(rv reflect.Value, depth int) (any, Class, error) {
	out := make(bson.A, rv.Len())
	for i := range out {
		inner, err := nested(rv.Index(i).Interface(), depth)
		if err != nil {
			return nil, 0, fmt.Errorf("element %d: %w", i, err)
		}
		out[i] = inner
	}
	return out, Array, nil
}

func ofReflectedMap(rv reflect.Value, depth int) (any, Class, error) {
	if rv.Type().Key().Kind() != reflect.String {
		return rv.Interface(), Document, nil
	}
	keys := rv.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	out := make(bson.D, 0, len(keys))
	for _, k := range keys {
		inner, err := nested(rv.MapIndex(k).Interface(), depth)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", k, err)
		}
		out = append(out, bson.E{Key: k.String(), Value: inner})
	}
	return out, Document, nil
}

func ofRaw(v bson.RawValue) (any, Class, error) {
	if v.IsZero() {
		return nil, Scalar, nil
	}
	v.Value = slices.Clone(v.Value)
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		return v, Document, nil
	case bson.TypeArray:
		return v, Array, nil
	case bson.TypeRegex:
		return v, Regex, nil
	case bson.TypeString:
		return v, Text, nil
	case bson.TypeJavaScript, bson.TypeCodeWithScope, bson.TypeDBPointer, bson.TypeUndefined:
		return nil, 0, fmt.Errorf("a value of BSON type %s is not accepted", v.Type)
	default:
		return v, Scalar, nil
	}
}
