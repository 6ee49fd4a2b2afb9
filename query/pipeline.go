package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/internal/literal"
	"github.com/annals-es/annals/query/internal/name"
)

// A Pipeline is an aggregation pipeline. It is an immutable value: every method
// returns a longer one and leaves the receiver as it was, so a common start can be
// shared. Mistakes that can be seen without a server are kept, each naming its
// stage, and come out of Build all at once.
type Pipeline struct {
	stages []bson.D
	errs   []error
}

// Pipe starts an empty pipeline.
func Pipe() Pipeline { return Pipeline{} }

// Match starts a pipeline with a filter.
func Match(filters ...Filter) Pipeline { return Pipe().Match(filters...) }

// NotAValue keeps a Pipeline from being taken for a value.
func (p Pipeline) NotAValue() string { return "a query.Pipeline" }

// Build returns the stages, or all mistakes in them. Each mistake matches
// ErrInvalid and names its stage.
func (p Pipeline) Build() ([]bson.D, error) {
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return append([]bson.D{}, p.stages...), nil
}

// Len returns the number of stages.
func (p Pipeline) Len() int { return len(p.stages) }

// Writes reports whether the pipeline ends in $out or $merge.
func (p Pipeline) Writes() bool {
	return len(p.stages) > 0 && isWriting(p.stages[len(p.stages)-1])
}

func isWriting(stage bson.D) bool {
	return len(stage) == 1 && (stage[0].Key == "$out" || stage[0].Key == "$merge")
}

// Append adds the stages of other pipelines.
func (p Pipeline) Append(others ...Pipeline) Pipeline {
	for _, o := range others {
		for _, s := range o.stages {
			p = p.add(s[0].Key, s[0].Value)
		}
		p.errs = append(slices.Clip(p.errs), o.errs...)
	}
	return p
}

// Stage adds a stage that this package doesn't know, as it is. It must be
// written by the programmer. Operators that run JavaScript are refused.
func (p Pipeline) Stage(stage bson.D) Pipeline {
	if len(stage) != 1 || !strings.HasPrefix(stage[0].Key, "$") {
		return p.fail("Stage", "want a document with one key that starts with $")
	}
	v, _, err := literal.Of(stage)
	if err != nil {
		return p.fail(stage[0].Key, "%v", err)
	}
	if err := literal.RefuseJavaScript(v); err != nil {
		return p.fail(stage[0].Key, "%v", err)
	}
	return p.add(stage[0].Key, v.(bson.D)[0].Value)
}

// firstOnly are the stages that must stand at the start.
var firstOnly = map[string]bool{
	"$geoNear": true, "$indexStats": true, "$collStats": true, "$documents": true, "$changeStream": true,
	"$search": true, "$searchMeta": true, "$vectorSearch": true, "$planCacheStats": true, "$listSessions": true,
}

func (p Pipeline) add(op string, v any) Pipeline {
	switch {
	case p.Writes():
		p = p.fail(op, "no stage can follow %s", p.stages[len(p.stages)-1][0].Key)
	case firstOnly[op] && len(p.stages) > 0:
		p = p.fail(op, "it must be the first stage")
	}
	p.stages = append(slices.Clip(p.stages), bson.D{{Key: op, Value: v}})
	return p
}

// fail records a mistake of the stage that would come next.
func (p Pipeline) fail(op, format string, args ...any) Pipeline {
	err := invalidf("pipeline: stage %d (%s): %s", len(p.stages)+1, op, fmt.Sprintf(format, args...))
	p.errs = append(slices.Clip(p.errs), err)
	return p
}

// broken records a mistake and keeps the place of the stage, so that later ones
// are counted right.
func (p Pipeline) broken(op string, err error) Pipeline {
	return p.fail(op, "%v", err).add(op, nil)
}

// Match ($match) keeps the documents that the filters match.
func (p Pipeline) Match(filters ...Filter) Pipeline {
	f := And(filters...)
	d, err := f.Build()
	if err != nil {
		return p.broken("$match", err)
	}
	if f.uses(func(s *Filter) bool { return s.kind == kindNear }) {
		return p.broken("$match", errors.New("Near can't stand in a pipeline: start it with GeoNear, or use WithinRadius"))
	}
	if len(p.stages) > 0 && f.uses(func(s *Filter) bool { return s.kind == kindTop && s.field == "$text" }) {
		return p.broken("$match", errors.New("Text must stand in the first stage"))
	}
	return p.add("$match", d)
}

// uses reports whether a part of the filter meets the condition.
func (f *Filter) uses(is func(*Filter) bool) bool {
	if is(f) {
		return true
	}
	for _, sub := range f.subs() {
		if sub.uses(is) {
			return true
		}
	}
	return false
}

// A GroupField is a field that a group computes; make it with Acc.
type GroupField struct {
	name string
	acc  acc.Accumulator
}

// Acc names an accumulator.
func Acc(name string, a acc.Accumulator) GroupField { return GroupField{name, a} }

// Group ($group) puts documents with equal ids into groups and computes fields for
// each. The id is an expression, for several parts an expr.Object, and nil
// for one group of all documents; then there must be something to compute.
func (p Pipeline) Group(id any, fields ...GroupField) Pipeline {
	key, err := expr.Of(id).Build()
	if err != nil {
		return p.broken("$group", fmt.Errorf("_id: %w", err))
	}
	if key == nil && len(fields) == 0 {
		return p.broken("$group", errors.New("the group is empty: it has neither an id nor a field"))
	}
	d, err := groupFields(bson.D{{Key: "_id", Value: key}}, fields)
	if err != nil {
		return p.broken("$group", err)
	}
	return p.add("$group", d)
}

func groupFields(d bson.D, fields []GroupField) (bson.D, error) {
	var errs []error
	for i, f := range fields {
		if err := name.Key(f.name); err != nil {
			errs = append(errs, err)
		}
		if f.name == "_id" {
			errs = append(errs, errors.New("_id is the group's id, a field can't be called so"))
		}
		for _, earlier := range fields[:i] {
			if earlier.name == f.name {
				errs = append(errs, fmt.Errorf("field %q is given twice", f.name))
			}
		}
		v, err := f.acc.BuildGroup()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
		d = append(d, bson.E{Key: f.name, Value: v})
	}
	return d, errors.Join(errs...)
}

// Project ($project) keeps, drops or computes fields.
func (p Pipeline) Project(projection Projection) Pipeline {
	d, err := projection.Build()
	switch {
	case err != nil:
		return p.broken("$project", err)
	case len(d) == 0:
		return p.broken("$project", errors.New("the projection is empty"))
	}
	for _, e := range d {
		if v, ok := e.Value.(bson.D); ok && len(v) == 1 && v[0].Key == "$elemMatch" {
			return p.broken("$project", fmt.Errorf("%s: FirstMatch works in a find only; use expr.Filter", e.Key))
		}
		if v, ok := e.Value.(bson.D); ok && len(v) == 1 && v[0].Key == "$slice" {
			if _, expression := v[0].Value.(bson.A); !expression || projection.mode != 1 {
				return p.broken("$project", fmt.Errorf("%s: Slice works in a find only; use expr.Slice", e.Key))
			}
		}
	}
	return p.add("$project", d)
}

// AddFields ($addFields) adds or replaces fields.
func (p Pipeline) AddFields(fields ...expr.NamedExpr) Pipeline {
	return p.setFields("$addFields", fields)
}

// Set ($set) is AddFields under its shorter name.
func (p Pipeline) Set(fields ...expr.NamedExpr) Pipeline { return p.setFields("$set", fields) }

func (p Pipeline) setFields(op string, fields []expr.NamedExpr) Pipeline {
	if len(fields) == 0 {
		return p.broken(op, errors.New("it sets no field"))
	}
	var errs []error
	d := make(bson.D, 0, len(fields))
	for i, f := range fields {
		if err := name.Path(f.Name); err != nil {
			errs = append(errs, err)
		}
		for _, earlier := range fields[:i] {
			if name.Conflict(earlier.Name, f.Name) {
				errs = append(errs, fmt.Errorf("%q and %q overlap", earlier.Name, f.Name))
			}
		}
		v, err := expr.Of(f.Value).Build()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Name, err))
		}
		d = append(d, bson.E{Key: f.Name, Value: v})
	}
	if err := errors.Join(errs...); err != nil {
		return p.broken(op, err)
	}
	return p.add(op, d)
}

// Unset ($unset) takes fields out.
func (p Pipeline) Unset(fields ...string) Pipeline {
	if err := paths(fields); err != nil {
		return p.broken("$unset", err)
	}
	list := make(bson.A, len(fields))
	for i, f := range fields {
		for _, earlier := range fields[:i] {
			if name.Conflict(earlier, f) {
				return p.broken("$unset", fmt.Errorf("%q and %q overlap", earlier, f))
			}
		}
		list[i] = f
	}
	return p.add("$unset", list)
}

func paths(fields []string) error {
	if len(fields) == 0 {
		return errors.New("it names no field")
	}
	var errs []error
	for _, f := range fields {
		errs = append(errs, name.Path(f))
	}
	return errors.Join(errs...)
}

// Sort ($sort) orders the documents.
func (p Pipeline) Sort(keys ...SortKey) Pipeline {
	d, err := buildSort(keys)
	switch {
	case err != nil:
		return p.broken("$sort", err)
	case len(d) == 0:
		return p.broken("$sort", errors.New("the order is empty"))
	}
	return p.add("$sort", d)
}

// Limit ($limit) keeps the first n documents; n must be positive.
func (p Pipeline) Limit(n int64) Pipeline {
	if n <= 0 {
		return p.broken("$limit", fmt.Errorf("%d is not positive", n))
	}
	return p.add("$limit", whole(n))
}

// Skip ($skip) drops the first n documents.
func (p Pipeline) Skip(n int64) Pipeline {
	if n < 0 {
		return p.broken("$skip", fmt.Errorf("%d is negative", n))
	}
	return p.add("$skip", whole(n))
}

// Sample ($sample) keeps n documents chosen at random.
func (p Pipeline) Sample(n int64) Pipeline {
	if n <= 0 {
		return p.broken("$sample", fmt.Errorf("%d is not positive", n))
	}
	return p.add("$sample", bson.D{{Key: "size", Value: whole(n)}})
}

// Count ($count) makes one document with the number of documents in the field.
// There is none when there is nothing to count.
func (p Pipeline) Count(field string) Pipeline {
	if err := name.Key(field); err != nil {
		return p.broken("$count", err)
	}
	return p.add("$count", field)
}

// SortByCount ($sortByCount) makes documents {_id, count} for the distinct
// values of the expression, the most frequent first.
func (p Pipeline) SortByCount(e any) Pipeline {
	v, err := expr.Of(e).Build()
	if err != nil {
		return p.broken("$sortByCount", err)
	}
	switch x := v.(type) {
	case string:
		if strings.HasPrefix(x, "$") {
			return p.add("$sortByCount", v)
		}
	case bson.D:
		if len(x) == 1 && strings.HasPrefix(x[0].Key, "$") && x[0].Key != "$literal" {
			return p.add("$sortByCount", v)
		}
	}
	return p.broken("$sortByCount", errors.New("it needs an expression over the document, such as expr.Field"))
}

// ReplaceRoot ($replaceRoot) makes an embedded or computed document the whole one.
func (p Pipeline) ReplaceRoot(e any) Pipeline {
	v, err := computed(e)
	if err != nil {
		return p.broken("$replaceRoot", err)
	}
	return p.add("$replaceRoot", bson.D{{Key: "newRoot", Value: v}})
}

// ReplaceWith ($replaceWith) is ReplaceRoot under its shorter name.
func (p Pipeline) ReplaceWith(e any) Pipeline {
	v, err := computed(e)
	if err != nil {
		return p.broken("$replaceWith", err)
	}
	return p.add("$replaceWith", v)
}

// Redact ($redact) keeps, prunes or descends into documents, as the expression says.
func (p Pipeline) Redact(e any) Pipeline {
	v, err := computed(e)
	if err != nil {
		return p.broken("$redact", err)
	}
	return p.add("$redact", v)
}

// computed builds an expression that must not be a plain number, text or list:
// a path, an operator or a document.
func computed(e any) (any, error) {
	v, err := expr.Of(e).Build()
	if err != nil {
		return nil, err
	}
	constant := true
	switch x := v.(type) {
	case string:
		constant = !strings.HasPrefix(x, "$")
	case bson.D:
		// A text that looks like a path is written as a literal.
		constant = false
		if len(x) == 1 && x[0].Key == "$literal" {
			_, constant = x[0].Value.(string)
		}
	}
	if constant {
		return nil, errors.New("it needs an expression over the document, such as expr.Field, and not a constant")
	}
	return v, nil
}

// Unwind ($unwind) makes one document for each element of the array.
func (p Pipeline) Unwind(path string) Pipeline {
	if err := name.Path(path); err != nil {
		return p.broken("$unwind", err)
	}
	return p.add("$unwind", "$"+path)
}

// UnwindOptions are those of UnwindWith.
type UnwindOptions struct {
	// IndexField receives the index of the element; empty: none.
	IndexField string
	// KeepEmpty keeps documents whose array is empty, null or missing.
	KeepEmpty bool
}

// UnwindWith ($unwind) is Unwind with options.
func (p Pipeline) UnwindWith(path string, o UnwindOptions) Pipeline {
	if err := name.Path(path); err != nil {
		return p.broken("$unwind", err)
	}
	d := bson.D{{Key: "path", Value: "$" + path}}
	if o.IndexField != "" {
		if err := name.Path(o.IndexField); err != nil {
			return p.broken("$unwind", err)
		}
		d = append(d, bson.E{Key: "includeArrayIndex", Value: o.IndexField})
	}
	if o.KeepEmpty {
		d = append(d, bson.E{Key: "preserveNullAndEmptyArrays", Value: true})
	}
	return p.add("$unwind", d)
}
