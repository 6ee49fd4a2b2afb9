package simstore

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// patch applies a patch to a document, nil for one that is missing.
func patch(codec eventstore.Codec, data []byte, p projection.Patch) ([]byte, error) {
	doc := map[string]any{}
	if data != nil {
		if err := codec.Unmarshal(data, &doc); err != nil {
			return nil, err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(p.Set)) {
		if err := changeAt(doc, path, func(any, bool) (any, error) { return p.Set[path], nil }); err != nil {
			return nil, err
		}
	}
	for _, path := range p.Unset {
		unset(doc, path)
	}
	for _, path := range slices.Sorted(maps.Keys(p.Add)) {
		if err := changeAt(doc, path, func(old any, ok bool) (any, error) { return sum(old, ok, p.Add[path]) }); err != nil {
			return nil, fmt.Errorf("add to %q: %w", path, err)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(p.Push)) {
		if err := changeAt(doc, path, func(old any, ok bool) (any, error) { return pushed(old, ok, p.Push[path]) }); err != nil {
			return nil, fmt.Errorf("push to %q: %w", path, err)
		}
	}
	return codec.Marshal(doc)
}

// changeAt changes what is at a path, making the documents on the way.
func changeAt(doc map[string]any, path string, fn func(old any, ok bool) (any, error)) error {
	for {
		field, rest, nested := strings.Cut(path, ".")
		if field == "" {
			return fmt.Errorf("a path has an empty part: %q", path)
		}
		old, ok := doc[field]
		if !nested {
			v, err := fn(old, ok)
			doc[field] = v
			return err
		}
		next, isDoc := old.(map[string]any)
		switch {
		case !ok:
			next = map[string]any{}
			doc[field] = next
		case !isDoc:
			return fmt.Errorf("field %q is no document, so nothing can be put at %q in it", field, rest)
		}
		doc, path = next, rest
	}
}

func unset(doc map[string]any, path string) {
	for {
		field, rest, nested := strings.Cut(path, ".")
		if !nested {
			delete(doc, field)
			return
		}
		next, ok := doc[field].(map[string]any)
		if !ok {
			return
		}
		doc, path = next, rest
	}
}

// sum adds numbers as MongoDB does: a double if one of them is, else an integer.
func sum(old any, ok bool, by any) (any, error) {
	if !ok {
		old = int32(0)
	}
	a, aDouble, err := number(old)
	if err != nil {
		return nil, err
	}
	b, bDouble, err := number(by)
	if err != nil {
		return nil, err
	}
	if aDouble != nil || bDouble != nil {
		return asDouble(a, aDouble) + asDouble(b, bDouble), nil
	}
	return a + b, nil
}

func asDouble(n int64, d *float64) float64 {
	if d != nil {
		return *d
	}
	return float64(n)
}

func number(v any) (int64, *float64, error) {
	switch n := v.(type) {
	case int:
		return int64(n), nil, nil
	case int32:
		return int64(n), nil, nil
	case int64:
		return n, nil, nil
	case float64:
		return 0, &n, nil
	}
	return 0, nil, fmt.Errorf("%T is no number", v)
}

// pushed returns an array with an element behind it. Arrays decode as a named
// slice type of the codec's, so any slice of any will do.
func pushed(old any, ok bool, element any) (any, error) {
	if !ok {
		return []any{element}, nil
	}
	array := reflect.ValueOf(old)
	if array.Kind() != reflect.Slice || array.Type().Elem().Kind() != reflect.Interface {
		return nil, fmt.Errorf("%T is no array", old)
	}
	return append(slices.Clone(array.Convert(reflect.TypeFor[[]any]()).Interface().([]any)), element), nil
}
