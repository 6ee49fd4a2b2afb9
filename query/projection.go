package query

import (
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/internal/name"
)

// A Projection says which fields of the matching documents come back. It is an
// immutable value; the zero Projection asks for whole documents. A projection
// either includes or excludes; only _id may be excluded from an including one.
type Projection struct {
	fields bson.D
	// mode is 1 once something is included, -1 once something other than _id is excluded.
	mode int
	errs []error
}

// Include asks for the given fields, and _id.
func Include(fields ...string) Projection { return Projection{}.Include(fields...) }

// Exclude asks for all but the given fields.
func Exclude(fields ...string) Projection { return Projection{}.Exclude(fields...) }

// Include adds fields to ask for.
func (p Projection) Include(fields ...string) Projection {
	for _, f := range fields {
		p = p.add(f, 1, 1)
	}
	return p
}

// Exclude adds fields to leave out.
func (p Projection) Exclude(fields ...string) Projection {
	for _, f := range fields {
		mode := -1
		if f == "_id" {
			mode = 0
		}
		p = p.add(f, mode, 0)
	}
	return p
}

// NoID leaves out _id.
func (p Projection) NoID() Projection { return p.Exclude("_id") }

// Compute adds a field computed by an expression.
func (p Projection) Compute(field string, e any) Projection {
	v, err := expr.Of(e).Projected()
	if err != nil {
		return p.fail(invalidf("projection of %q: %v", field, err))
	}
	return p.add(field, 1, v)
}

// Slice asks for the first n elements of an array, or the last -n. By itself it neither includes
// nor excludes other fields.
func (p Projection) Slice(field string, n int) Projection {
	return p.add(field, 0, bson.D{{Key: "$slice", Value: n}})
}

// SliceFrom asks for n elements of an array after skipping some (negative: from the end).
func (p Projection) SliceFrom(field string, skip, n int) Projection {
	if n <= 0 {
		return p.fail(invalidf("projection of %q: a slice of %d elements", field, n))
	}
	return p.add(field, 0, bson.D{{Key: "$slice", Value: bson.A{skip, n}}})
}

// FirstMatch asks for the first element of an array that meets the conditions, as
// ElemMatch takes them.
func (p Projection) FirstMatch(field string, conditions ...Filter) Projection {
	f := ElemMatch(field, conditions...)
	if f.broken {
		return p.fail(f.Err())
	}
	d, err := f.elements()
	if err != nil {
		return p.fail(err)
	}
	return p.add(field, 1, bson.D{{Key: "$elemMatch", Value: d}})
}

// Meta adds a field with something that the server knows of the document besides
// its content, such as "textScore".
func (p Projection) Meta(field, keyword string) Projection {
	v, err := expr.Meta(keyword).Build()
	if err != nil {
		return p.fail(invalidf("projection of %q: %v", field, err))
	}
	return p.add(field, 0, v)
}

func (p Projection) add(field string, mode int, v any) Projection {
	if err := name.Path(field); err != nil {
		return p.fail(invalidf("projection: %v", err))
	}
	for _, e := range p.fields {
		if e.Key == field {
			return p.fail(invalidf("projection: %q is given twice", field))
		}
		if name.Conflict(e.Key, field) {
			return p.fail(invalidf("projection: %q and %q overlap", e.Key, field))
		}
	}
	if mode != 0 && p.mode != 0 && mode != p.mode {
		return p.fail(invalidf("projection: %q: a projection includes or excludes, it can't do both", field))
	}
	if mode != 0 {
		p.mode = mode
	}
	p.fields = append(slices.Clip(p.fields), bson.E{Key: field, Value: v})
	return p
}

func (p Projection) fail(err error) Projection {
	p.errs = append(slices.Clip(p.errs), err)
	return p
}

// Build returns the projection document, nil for whole documents.
func (p Projection) Build() (bson.D, error) {
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	if len(p.fields) == 0 {
		return nil, nil
	}
	return append(bson.D(nil), p.fields...), nil
}

// NotAValue keeps a Projection from being taken for a value.
func (p Projection) NotAValue() string { return "a query.Projection" }

// with makes sure that the paths come back too, as cursors need the sort keys.
func (p Projection) with(paths []string) (Projection, error) {
	for _, path := range paths {
		if p.mode <= 0 {
			for _, e := range p.fields {
				if e.Value == 0 && name.Conflict(e.Key, path) {
					return p, invalidf("projection: keyset pages need the sort key %q, which is excluded", path)
				}
			}
			continue
		}
		if path == "_id" {
			for _, e := range p.fields {
				if e.Key == "_id" && e.Value == 0 {
					return p, invalidf("projection: keyset pages need _id, which is excluded")
				}
			}
			continue
		}
		p = p.withPath(path)
		if len(p.errs) > 0 {
			return p, errors.Join(p.errs...)
		}
	}
	return p, nil
}

func (p Projection) withPath(path string) Projection {
	for _, e := range p.fields {
		if !name.Conflict(e.Key, path) {
			continue
		}
		if e.Value == 1 && len(e.Key) <= len(path) {
			return p
		}
		return p.fail(invalidf("projection: keyset pages need the sort key %q as it is stored, but %q is projected", path, e.Key))
	}
	return p.add(path, 1, 1)
}

// checkPath checks a path given by itself.
func checkPath(path string) error {
	if err := name.Path(path); err != nil {
		return invalidf("%v", err)
	}
	return nil
}
