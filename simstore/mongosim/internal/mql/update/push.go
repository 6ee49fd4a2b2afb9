package update

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// push is $push with its modifiers.
type push struct {
	values   []bson.RawValue
	position *int64
	slice    *int64
	sort     func(a, b bson.RawValue) int
}

func parsePush(arg bson.RawValue) (operator, error) {
	if arg.Type != bson.TypeEmbeddedDocument || value.Field(arg.Value, "$each").Type == 0 {
		return &push{values: []bson.RawValue{arg}}, nil
	}
	clauses := map[string]bson.RawValue{}
	for name, v := range value.Fields(arg.Value) {
		switch name {
		case "$each", "$slice", "$sort", "$position":
		default:
			return nil, mongoerr.New(mongoerr.BadValue, "Unrecognized clause in $push: %s", name)
		}
		if _, twice := clauses[name]; twice {
			return nil, mongoerr.New(mongoerr.BadValue, "Only one %s is supported.", name)
		}
		clauses[name] = v
	}
	each := clauses["$each"]
	if each.Type != bson.TypeArray {
		return nil, mongoerr.New(mongoerr.BadValue,
			"The argument to $each in $push must be an array but it was of type: %s", value.TypeName(each.Type))
	}
	p := &push{values: value.Slice(each)}
	if v, ok := clauses["$slice"]; ok {
		n, whole := value.Int64Exact(v)
		if !whole {
			return nil, mongoerr.New(mongoerr.BadValue,
				"The value for $slice must be an integer value but was given type: %s", value.TypeName(v.Type))
		}
		p.slice = &n
	}
	if v, ok := clauses["$sort"]; ok {
		compare, err := parsePushSort(v)
		if err != nil {
			return nil, err
		}
		p.sort = compare
	}
	if v, ok := clauses["$position"]; ok {
		n, whole := value.Int64Exact(v)
		if !whole {
			return nil, mongoerr.New(mongoerr.BadValue,
				"The value for $position must be an integer value, not of type: %s", value.TypeName(v.Type))
		}
		p.position = &n
	}
	return p, nil
}

func isDirection(v bson.RawValue) bool {
	f := value.ToDouble(v)
	return f == 1 || f == -1
}

// parsePushSort reads $sort: by the whole element, or by fields of it. Unlike
// a query's sort it doesn't look into arrays.
func parsePushSort(v bson.RawValue) (func(a, b bson.RawValue) int, error) {
	errDirection := mongoerr.New(mongoerr.BadValue, "The $sort element value must be either 1 or -1")
	switch {
	case value.IsNumber(v):
		if !isDirection(v) {
			return nil, errDirection
		}
		direction := int(value.ToDouble(v))
		return func(a, b bson.RawValue) int { return direction * value.Compare(a, b) }, nil
	case v.Type != bson.TypeEmbeddedDocument:
		return nil, mongoerr.New(mongoerr.BadValue,
			"The $sort is invalid: use 1/-1 to sort the whole element, or {field:1/-1} to sort embedded fields")
	case value.IsEmpty(v.Value):
		return nil, mongoerr.New(mongoerr.BadValue, "The $sort pattern is empty when it should be a set of fields.")
	}
	type key struct {
		parts     []string
		direction int
	}
	var keys []key
	for field, dir := range value.Fields(v.Value) {
		if !isDirection(dir) {
			return nil, errDirection
		}
		if field == "" {
			return nil, mongoerr.New(mongoerr.BadValue, "The $sort field cannot be empty")
		}
		parts := strings.Split(field, ".")
		if slices.Contains(parts, "") {
			return nil, mongoerr.New(mongoerr.BadValue, "The $sort field is a dotted field but has an empty part: %s", field)
		}
		keys = append(keys, key{parts, int(value.ToDouble(dir))})
	}
	return func(a, b bson.RawValue) int {
		for _, k := range keys {
			if c := value.Compare(sortField(a, k.parts), sortField(b, k.parts)); c != 0 {
				return c * k.direction
			}
		}
		return 0
	}, nil
}

// sortField gives the field of a document in a pushed array, null if it has
// none. Positions in arrays are names like any other.
func sortField(v bson.RawValue, parts []string) bson.RawValue {
	if v.Type != bson.TypeEmbeddedDocument {
		return value.Null()
	}
	for _, name := range parts {
		if v.Type != bson.TypeEmbeddedDocument && v.Type != bson.TypeArray {
			return value.Null()
		}
		v = value.Field(v.Value, name)
	}
	if v.Type == 0 {
		return value.Null()
	}
	return v
}

func (p *push) update(r *run, e *element) (outcome, error) {
	if !e.isArray() {
		return unchanged, mongoerr.New(mongoerr.BadValue, "The field '%s' must be an array but is of type %s in document {%s}",
			r.dotted(), value.TypeName(e.typ()), e.describeID())
	}
	return p.perform(e), nil
}

func (p *push) create(*run) (bson.RawValue, error) {
	e := &element{v: value.ArrayOf()}
	p.perform(e)
	return e.value(), nil
}

// perform adds, sorts and cuts. The array counts as changed whenever it was
// sorted, as for the server.
func (p *push) perform(e *element) outcome {
	did := p.insert(e)
	if p.sort != nil {
		did = changed
		slices.SortStableFunc(e.kids, func(a, b *element) int { return p.sort(a.value(), b.value()) })
	}
	if p.slice == nil {
		return did
	}
	keep, n := magnitude(*p.slice), int64(len(e.kids))
	if n > keep {
		did = changed
		if *p.slice >= 0 {
			e.kids = e.kids[:keep]
		} else {
			e.kids = e.kids[n-keep:]
		}
	}
	return did
}

func (p *push) insert(e *element) outcome {
	n := int64(len(e.open()))
	if len(p.values) == 0 {
		return unchanged
	}
	did, at := changed, int64(0)
	switch {
	case n == 0:
	case p.position == nil || *p.position > n:
		did, at = appended, n
	case *p.position > 0:
		at = *p.position
	case *p.position < 0 && magnitude(*p.position) < n:
		at = n - magnitude(*p.position)
	}
	room := make([]element, len(p.values))
	added := make([]*element, len(p.values))
	for i, v := range p.values {
		room[i] = element{v: v, parent: e}
		added[i] = &room[i]
	}
	e.kids = slices.Insert(e.kids, int(at), added...)
	return did
}

// magnitude is the absolute value, of the smallest integer one less.
func magnitude(n int64) int64 {
	if n < 0 {
		return max(-n, -(n + 1))
	}
	return n
}

// addToSet is $addToSet.
type addToSet struct{ values []bson.RawValue }

func parseAddToSet(arg bson.RawValue) (operator, error) {
	values := []bson.RawValue{arg}
	if first, each, _, ok := value.Next(value.Body(arg.Value)); arg.Type == bson.TypeEmbeddedDocument && ok && first == "$each" {
		if each.Type != bson.TypeArray {
			return nil, mongoerr.New(mongoerr.TypeMismatch,
				"The argument to $each in $addToSet must be an array but it was of type %s", value.TypeName(each.Type))
		}
		if value.Len(arg) > 1 {
			return nil, mongoerr.New(mongoerr.BadValue, "Found unexpected fields after $each in $addToSet: %s", show(arg))
		}
		values = value.Slice(each)
	}
	a := addToSet{}
	for _, v := range values {
		if !containsValue(a.values, v) {
			a.values = append(a.values, v)
		}
	}
	return a, nil
}

func containsValue(vs []bson.RawValue, v bson.RawValue) bool {
	return slices.ContainsFunc(vs, func(x bson.RawValue) bool { return value.Compare(x, v) == 0 })
}

func (a addToSet) update(_ *run, e *element) (outcome, error) {
	if !e.isArray() {
		return unchanged, mongoerr.New(mongoerr.BadValue,
			"Cannot apply $addToSet to non-array field. Field named '%s' has non-array type %s", e.key, value.TypeName(e.typ()))
	}
	have := value.Slice(e.value())
	did := unchanged
	for _, v := range a.values {
		if !containsValue(have, v) {
			e.push("", v)
			did = changed
		}
	}
	return did, nil
}

func (a addToSet) create(*run) (bson.RawValue, error) { return value.ArrayOf(a.values...), nil }
