package query

import (
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/internal/literal"
	"github.com/annals-es/annals/query/internal/name"
)

// A Document is a document under construction. It is an immutable value; the
// zero Document is empty. Field names are checked, and a name that comes twice is a
// mistake. Mistakes come out of Build.
type Document struct {
	fields bson.D
	errs   []error
}

// Doc starts a document.
func Doc() Document { return Document{} }

// Field adds a field.
func (d Document) Field(key string, value any) Document {
	v, _, err := literal.Of(value)
	if err != nil {
		return d.fail(invalidf("document: %q: %v", key, err))
	}
	return d.add(key, v)
}

// FieldIf adds a field if the condition holds.
func (d Document) FieldIf(condition bool, key string, value any) Document {
	if !condition {
		return d
	}
	return d.Field(key, value)
}

// Nested adds an embedded document.
func (d Document) Nested(key string, inner Document) Document {
	if len(inner.errs) > 0 {
		return d.fail(invalidf("document: %q: %v", key, errors.Join(inner.errs...)))
	}
	return d.add(key, append(bson.D{}, inner.fields...))
}

// Array adds an array of values, any of which may be a Document.
func (d Document) Array(key string, values ...any) Document {
	list := make(bson.A, len(values))
	for i, value := range values {
		if inner, ok := value.(Document); ok {
			built, err := inner.Build()
			if err != nil {
				return d.fail(invalidf("document: %q: element %d: %v", key, i, err))
			}
			list[i] = built
			continue
		}
		v, _, err := literal.Of(value)
		if err != nil {
			return d.fail(invalidf("document: %q: element %d: %v", key, i, err))
		}
		list[i] = v
	}
	return d.add(key, list)
}

func (d Document) add(key string, v any) Document {
	if err := name.Key(key); err != nil {
		return d.fail(invalidf("document: %v", err))
	}
	for _, e := range d.fields {
		if e.Key == key {
			return d.fail(invalidf("document: %q is given twice", key))
		}
	}
	d.fields = append(slices.Clip(d.fields), bson.E{Key: key, Value: v})
	return d
}

func (d Document) fail(err error) Document {
	d.errs = append(slices.Clip(d.errs), err)
	return d
}

// Build returns the document, or all mistakes in it.
func (d Document) Build() (bson.D, error) {
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	return append(bson.D{}, d.fields...), nil
}

// NotAValue keeps a Document from being taken for a plain value: give Build's result.
func (d Document) NotAValue() string { return "a query.Document" }
