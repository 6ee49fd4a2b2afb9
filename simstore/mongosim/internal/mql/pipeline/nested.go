package pipeline

import (
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// parsePath checks a dotted path and splits it.
func parsePath(dotted string) ([]string, error) {
	if err := expr.CheckPath(dotted); err != nil {
		return nil, err
	}
	return strings.Split(dotted, "."), nil
}

// withPath returns doc with v at the path. What stands in the way and isn't a
// document is replaced by one. A missing v removes.
func withPath(doc bson.Raw, path []string, v bson.RawValue) bson.Raw {
	if len(path) > 1 {
		below := value.Field(doc, path[0])
		inner := bson.Raw{5, 0, 0, 0, 0}
		if below.Type == bson.TypeEmbeddedDocument {
			inner = below.Value
		}
		v = value.Doc(withPath(inner, path[1:], v))
	}
	return value.With(doc, path[0], v)
}

// visitValues calls f with each value at the path: the elements of an array at
// its end, and what the documents of arrays on the way have; a number names an
// element of an array.
func visitValues(doc bson.Raw, path []string, f func(v bson.RawValue) error) error {
	v := value.Field(doc, path[0])
	for path = path[1:]; len(path) > 0 && v.Type == bson.TypeArray; path = path[1:] {
		i, err := strconv.ParseUint(path[0], 10, 31)
		if err != nil || path[0] != strconv.FormatUint(i, 10) {
			break
		}
		v = value.Index(v, int(i))
	}
	switch {
	case len(path) == 0 && v.Type == bson.TypeArray:
		for _, e := range value.Elements(v) {
			if err := f(e); err != nil {
				return err
			}
		}
		return nil
	case len(path) == 0 && v.Type == 0:
		return nil
	case len(path) == 0:
		return f(v)
	case v.Type == bson.TypeEmbeddedDocument:
		return visitValues(v.Value, path, f)
	}
	for _, e := range value.Elements(v) {
		if e.Type == bson.TypeEmbeddedDocument {
			if err := visitValues(e.Value, path, f); err != nil {
				return err
			}
		}
	}
	return nil
}
