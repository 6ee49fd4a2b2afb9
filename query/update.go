package query

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/internal/literal"
	"github.com/annals-es/annals/query/internal/name"
)

// An Update says how documents change. It is an immutable value, put together by
// methods or by With. Values are data and never operators. Two changes of one
// field, or of a field and one inside it, are a mistake that needs no server to
// see. Mistakes come out of Build.
type Update struct {
	changes []change
	filters []bson.D
	stages  bson.A
	errs    []error
}

type change struct {
	op, path string
	value    any
}

// NotAValue keeps an Update from being taken for a value.
func (u Update) NotAValue() string { return "a query.Update" }

// Set sets a field.
func Set(path string, value any) Update { return Update{}.Set(path, value) }

// Unset takes fields out of the document.
func Unset(paths ...string) Update { return Update{}.Unset(paths...) }

// Inc adds to the number in a field.
func Inc(path string, by any) Update { return Update{}.Inc(path, by) }

// Push appends elements to an array.
func Push[E any](path string, elements ...E) Update {
	return Update{}.PushWith(path, PushOptions{}, asAny(elements)...)
}

// AddToSet appends those elements to an array that are not there yet.
func AddToSet[E any](path string, elements ...E) Update {
	return Update{}.AddToSet(path, asAny(elements)...)
}

// Pull removes every element of an array that equals one of the given ones.
func Pull[E any](path string, elements ...E) Update { return Update{}.Pull(path, asAny(elements)...) }

func asAny[E any](elements []E) []any {
	out := make([]any, len(elements))
	for i, e := range elements {
		out[i] = e
	}
	return out
}

// Set ($set) sets a field.
func (u Update) Set(path string, value any) Update { return u.set("$set", path, value) }

// SetOnInsert ($setOnInsert) sets a field if the update inserts the document.
func (u Update) SetOnInsert(path string, value any) Update {
	return u.set("$setOnInsert", path, value)
}

// Unset ($unset) takes fields out of the document.
func (u Update) Unset(paths ...string) Update {
	for _, p := range paths {
		u = u.set("$unset", p, "")
	}
	return u
}

// Inc ($inc) adds to the number in a field; a missing one counts as 0.
func (u Update) Inc(path string, by any) Update { return u.number("$inc", path, by) }

// Mul ($mul) multiplies the number in a field; a missing one counts as 0.
func (u Update) Mul(path string, by any) Update { return u.number("$mul", path, by) }

// Min ($min) sets a field if the value is less than what is there.
func (u Update) Min(path string, value any) Update { return u.set("$min", path, value) }

// Max ($max) sets a field if the value is greater than what is there.
func (u Update) Max(path string, value any) Update { return u.set("$max", path, value) }

// Rename ($rename) gives a field another name.
func (u Update) Rename(from, to string) Update {
	if err := name.UpdatePath(to); err != nil {
		return u.fail(invalidf("update: $rename of %q: %v", from, err))
	}
	if name.Conflict(from, to) {
		return u.fail(invalidf("update: $rename of %q to %q: the names overlap", from, to))
	}
	return u.set("$rename", from, to)
}

// CurrentDate ($currentDate) sets a field to the server's time as a date.
func (u Update) CurrentDate(path string) Update { return u.add("$currentDate", path, true) }

// CurrentTimestamp ($currentDate) sets a field to the server's time as a timestamp.
func (u Update) CurrentTimestamp(path string) Update {
	return u.add("$currentDate", path, bson.D{{Key: "$type", Value: "timestamp"}})
}

// BitAnd ($bit) combines the integer in a field with the mask.
func (u Update) BitAnd(path string, mask int64) Update { return u.bit(path, "and", mask) }

// BitOr ($bit) combines the integer in a field with the mask.
func (u Update) BitOr(path string, mask int64) Update { return u.bit(path, "or", mask) }

// BitXor ($bit) combines the integer in a field with the mask.
func (u Update) BitXor(path string, mask int64) Update { return u.bit(path, "xor", mask) }

func (u Update) bit(path, op string, mask int64) Update {
	return u.add("$bit", path, bson.D{{Key: op, Value: whole(mask)}})
}

// Push ($push) appends elements to an array.
func (u Update) Push(path string, elements ...any) Update {
	return u.PushWith(path, PushOptions{}, elements...)
}

// PushOptions are the modifiers of $push.
type PushOptions struct {
	// Position is where the elements go: nil at the end, 0 at the start, a negative number counts from the end.
	Position *int
	// Slice, if set, cuts the array to its first (or, if negative, last) so many elements afterwards.
	Slice *int
	// Sort orders the array afterwards by fields of its elements.
	Sort []SortKey
	// SortElements orders an array of plain values: 1 ascending, -1 descending, 0 not at all.
	SortElements int
}

// PushWith ($push) appends elements with modifiers.
func (u Update) PushWith(path string, o PushOptions, elements ...any) Update {
	list, document, err := values(elements)
	if err != nil {
		return u.fail(invalidf("update: $push to %q: %v", path, err))
	}
	if o.Position == nil && o.Slice == nil && o.Sort == nil && o.SortElements == 0 && len(list) == 1 && !document {
		return u.add("$push", path, list[0])
	}
	d := bson.D{{Key: "$each", Value: list}}
	if o.Position != nil {
		d = append(d, bson.E{Key: "$position", Value: *o.Position})
	}
	if o.Slice != nil {
		d = append(d, bson.E{Key: "$slice", Value: *o.Slice})
	}
	switch {
	case o.Sort != nil && o.SortElements != 0:
		return u.fail(invalidf("update: $push to %q sorts by fields and by elements, choose one", path))
	case o.Sort != nil:
		s, err := buildSort(o.Sort)
		if err != nil {
			return u.fail(invalidf("update: $push to %q: %v", path, err))
		}
		d = append(d, bson.E{Key: "$sort", Value: s})
	case o.SortElements == 1 || o.SortElements == -1:
		d = append(d, bson.E{Key: "$sort", Value: o.SortElements})
	case o.SortElements != 0:
		return u.fail(invalidf("update: $push to %q: SortElements is %d, want 1 or -1", path, o.SortElements))
	}
	return u.add("$push", path, d)
}

// AddToSet ($addToSet) appends those elements to an array that are not there yet.
func (u Update) AddToSet(path string, elements ...any) Update {
	list, document, err := values(elements)
	switch {
	case err != nil:
		return u.fail(invalidf("update: $addToSet to %q: %v", path, err))
	case len(list) == 1 && !document:
		return u.add("$addToSet", path, list[0])
	}
	return u.add("$addToSet", path, bson.D{{Key: "$each", Value: list}})
}

// Pull ($pullAll) removes every element of an array that equals one of the given ones.
func (u Update) Pull(path string, elements ...any) Update {
	list, _, err := values(elements)
	if err != nil {
		return u.fail(invalidf("update: $pullAll from %q: %v", path, err))
	}
	return u.add("$pullAll", path, list)
}

// PullWhere ($pull) removes every element of an array that meets the conditions, as
// ElemMatch takes them.
func (u Update) PullWhere(path string, conditions ...Filter) Update {
	f := ElemMatch("elements", conditions...)
	if f.broken {
		return u.fail(invalidf("update: $pull from %q: %v", path, f.Err()))
	}
	d, err := f.elements()
	if err != nil {
		return u.fail(invalidf("update: $pull from %q: %v", path, err))
	}
	return u.add("$pull", path, d)
}

// PopFirst ($pop) removes the first element of an array.
func (u Update) PopFirst(path string) Update { return u.add("$pop", path, -1) }

// PopLast ($pop) removes the last element of an array.
func (u Update) PopLast(path string) Update { return u.add("$pop", path, 1) }

// Where says which elements the positional part $[identifier] of a path stands
// for. Field names are those of the elements, Element is the element itself:
//
//	query.Set("lines.$[big].discount", 5).Where("big", query.Gte("qty", 10))
func (u Update) Where(identifier string, conditions ...Filter) Update {
	if err := name.Identifier(identifier); err != nil {
		return u.fail(invalidf("update: %v", err))
	}
	f := And(conditions...)
	if f.broken {
		return u.fail(invalidf("update: array filter %q: %v", identifier, f.Err()))
	}
	if f.IsEverything() {
		return u.fail(invalidf("update: array filter %q has no conditions; write $[] for all elements", identifier))
	}
	if f.uses(func(s *Filter) bool { return s.kind == kindTop || s.kind == kindUnchecked || s.kind == kindNothing }) {
		return u.fail(invalidf("update: array filter %q can hold conditions on fields of the elements and on query.Element only", identifier))
	}
	d, err := f.prefixed(identifier).document()
	if err != nil {
		return u.fail(invalidf("update: array filter %q: %v", identifier, err))
	}
	for _, have := range u.filters {
		if filterIdentifier(have) == identifier {
			return u.fail(invalidf("update: array filter %q is given twice", identifier))
		}
	}
	u.filters = append(slices.Clip(u.filters), d)
	return u
}

// prefixed puts the identifier in front of the field names.
func (f Filter) prefixed(identifier string) Filter {
	switch {
	case f.field == Element:
		f.field = identifier
	case f.field != "" && f.kind != kindTop:
		f.field = identifier + "." + f.field
	}
	if subs := f.subs(); subs != nil && f.kind != kindElem {
		renamed := groupFor(len(subs))
		for _, s := range subs {
			renamed.list = append(renamed.list, s.prefixed(identifier))
		}
		f.value = renamed
	}
	return f
}

// filterIdentifier finds the identifier that an array filter is about.
func filterIdentifier(d bson.D) string {
	if len(d) == 0 {
		return ""
	}
	if list, ok := d[0].Value.(bson.A); ok && strings.HasPrefix(d[0].Key, "$") && len(list) > 0 {
		inner, _ := list[0].(bson.D)
		return filterIdentifier(inner)
	}
	id, _, _ := strings.Cut(d[0].Key, ".")
	return id
}

// With adds the changes of other updates.
func (u Update) With(others ...Update) Update {
	for _, o := range others {
		u.errs = append(slices.Clip(u.errs), o.errs...)
		u.filters = append(slices.Clip(u.filters), o.filters...)
		u.stages = append(slices.Clip(u.stages), o.stages...)
		for _, c := range o.changes {
			u = u.add(c.op, c.path, c.value)
		}
	}
	return u
}

// Compute makes an update that computes fields by expressions over the document
// as it is (an update by pipeline, $set). It can't be combined with the operators.
func Compute(fields ...expr.NamedExpr) Update {
	p := Pipe().Set(fields...)
	return UpdateByPipeline(p)
}

// UpdateByPipeline makes an update out of a pipeline of $set, $unset, $project,
// $replaceRoot and $replaceWith stages.
func UpdateByPipeline(p Pipeline) Update {
	stages, err := p.Build()
	if err != nil {
		return Update{errs: []error{err}}
	}
	if len(stages) == 0 {
		return Update{errs: []error{invalidf("update: the pipeline is empty")}}
	}
	u := Update{}
	for i, s := range stages {
		switch op := s[0].Key; op {
		case "$set", "$addFields", "$unset", "$project", "$replaceRoot", "$replaceWith":
			u.stages = append(u.stages, s)
		default:
			u = u.fail(invalidf("update: stage %d (%s) can't stand in an update", i+1, op))
		}
	}
	return u
}

func (u Update) set(op, path string, value any) Update {
	v, _, err := literal.Of(value)
	if err != nil {
		return u.fail(invalidf("update: %s of %q: %v", op, path, err))
	}
	return u.add(op, path, v)
}

func (u Update) number(op, path string, by any) Update {
	v, _, err := literal.Of(by)
	if err != nil {
		return u.fail(invalidf("update: %s of %q: %v", op, path, err))
	}
	if !isNumber(v) {
		return u.fail(invalidf("update: %s of %q: %T is not a number", op, path, by))
	}
	return u.add(op, path, v)
}

func (u Update) add(op, path string, v any) Update {
	if err := name.UpdatePath(path); err != nil {
		return u.fail(invalidf("update: %s: %v", op, err))
	}
	for _, c := range u.changes {
		if name.Conflict(c.path, path) {
			return u.fail(invalidf("update: %s of %q and %s of %q overlap", c.op, c.path, op, path))
		}
		if to, ok := c.value.(string); ok && c.op == "$rename" && name.Conflict(to, path) {
			return u.fail(invalidf("update: $rename to %q and %s of %q overlap", to, op, path))
		}
	}
	u.changes = append(slices.Clip(u.changes), change{op, path, v})
	return u
}

func (u Update) fail(err error) Update {
	u.errs = append(slices.Clip(u.errs), err)
	return u
}

// IsEmpty reports whether the update changes nothing.
func (u Update) IsEmpty() bool { return len(u.changes) == 0 && len(u.stages) == 0 && len(u.errs) == 0 }

// Build returns the update: a bson.D of operators in the order of their first use,
// or a bson.A of stages. All mistakes come at once, and an update that changes
// nothing is one.
func (u Update) Build() (any, error) {
	errs := u.errs
	switch {
	case len(u.changes) > 0 && len(u.stages) > 0:
		errs = append(slices.Clip(errs), invalidf("update: operators and a pipeline can't be combined"))
	case len(u.changes) == 0 && len(u.stages) == 0 && len(errs) == 0:
		errs = append(slices.Clip(errs), invalidf("update: it changes nothing"))
	}
	errs = append(slices.Clip(errs), u.checkArrayFilters()...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(u.stages) > 0 {
		return u.stages, nil
	}
	var d bson.D
	for _, c := range u.changes {
		i := slices.IndexFunc(d, func(e bson.E) bool { return e.Key == c.op })
		if i < 0 {
			i = len(d)
			d = append(d, bson.E{Key: c.op, Value: bson.D(nil)})
		}
		d[i].Value = append(d[i].Value.(bson.D), bson.E{Key: c.path, Value: c.value})
	}
	return d, nil
}

// checkArrayFilters compares the identifiers in the paths with those of Where.
func (u Update) checkArrayFilters() (errs []error) {
	used := map[string]bool{}
	for _, c := range u.changes {
		for part := range strings.SplitSeq(c.path, ".") {
			if id, ok := strings.CutPrefix(part, "$["); ok && id != "]" {
				used[strings.TrimSuffix(id, "]")] = true
			}
		}
	}
	for _, f := range u.filters {
		id := filterIdentifier(f)
		if !used[id] {
			errs = append(errs, invalidf("update: array filter %q is not used in a path", id))
		}
		delete(used, id)
	}
	for _, c := range u.changes {
		for id := range used {
			if strings.Contains(c.path, "$["+id+"]") {
				errs = append(errs, invalidf("update: %q in %q is not defined by Where", id, c.path))
				delete(used, id)
			}
		}
	}
	return errs
}

// ArrayFilters returns the filters made by Where.
func (u Update) ArrayFilters() []bson.D { return slices.Clone(u.filters) }

// arrayFilters returns them as the driver wants them.
func (u Update) arrayFilters() []any {
	if len(u.filters) == 0 {
		return nil
	}
	out := make([]any, len(u.filters))
	for i, f := range u.filters {
		out[i] = f
	}
	return out
}

// values checks elements; document says that one of them could be taken for modifiers.
func values(elements []any) (list bson.A, document bool, err error) {
	list = make(bson.A, len(elements))
	for i, e := range elements {
		v, class, err := literal.Of(e)
		if err != nil {
			return nil, false, invalidf("element %d: %v", i, err)
		}
		list[i], document = v, document || class == literal.Document
	}
	return list, document, nil
}

func isNumber(v any) bool {
	switch v := v.(type) {
	case int, int8, int16, int32, int64, uint8, uint16, uint32, uint, uint64, float32, float64, bson.Decimal128:
		return true
	case bson.RawValue:
		return v.IsNumber()
	}
	return isNumericKind(v)
}

// isNumericKind knows the named types whose values are numbers.
func isNumericKind(v any) bool {
	rv := reflect.ValueOf(v)
	return rv.IsValid() && (rv.CanInt() || rv.CanUint() || rv.CanFloat())
}
