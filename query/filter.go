package query

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/internal/literal"
	"github.com/annals-es/annals/query/internal/name"
)

// A Filter says which documents match. It is an immutable value: combining
// filters makes new ones and leaves the parts as they were, so parts can be kept in
// package variables and shared between goroutines. The zero Filter matches
// everything.
//
// Values are data: a document, a map or a regular expression given as a value
// is compared as it is and never read as operators. Field names are checked. A
// mistake is kept inside the Filter and comes out of Build (and of every
// operation that uses the Filter), together with all other mistakes.
type Filter struct {
	_    [0]func() // not comparable with ==
	kind kind
	// broken is set when a mistake is anywhere inside.
	broken bool
	// explicit tells Everything from a filter that happens to have no conditions.
	explicit bool
	// field is the path, or the operator's name for an operator that stands at the top level.
	field string
	// value is the operand, a *group for a Filter made of Filters, and the error
	// of a Filter of kind kindInvalid.
	value any
}

// A group holds the Filters that another one is made of. They are apart from it
// because a Filter without them fits into the registers of a processor.
type group struct{ list []Filter }

// roomy is a group in one piece of memory with the place for its list.
type roomy[A any] struct {
	group
	room A
}

// groupFor returns an empty group with room for n Filters.
func groupFor(n int) *group {
	switch {
	case n <= 2:
		g := new(roomy[[2]Filter])
		g.list = g.room[:0]
		return &g.group
	case n <= 5:
		g := new(roomy[[5]Filter])
		g.list = g.room[:0]
		return &g.group
	}
	return &group{list: make([]Filter, 0, n)}
}

func groupOf(filters ...Filter) *group {
	g := groupFor(len(filters))
	g.list = append(g.list, filters...)
	return g
}

// subs are the Filters that this one is made of. They are shared: read only.
func (f *Filter) subs() []Filter {
	if g, ok := f.value.(*group); ok {
		return g.list
	}
	return nil
}

// Element stands for the field name in conditions on the elements of an array,
// where the elements themselves are compared and not fields of them:
//
//	query.ElemMatch("scores", query.Gte(query.Element, 80), query.Lt(query.Element, 85))
const Element = "."

type kind uint8

const (
	kindEverything kind = iota
	kindNothing
	kindInvalid
	// kindBare is equality written without an operator: {field: value}.
	kindBare
	// kindAnd, kindOr and kindNor have a group.
	kindAnd
	kindOr
	kindNor
	// kindNot negates the one condition of its group, which is on one field.
	kindNot
	// kindElem is $elemMatch with a group.
	kindElem
	// kindTop is an operator at the top level: field holds its name.
	kindTop
	// kindDoc has several operators that belong together: value is a bson.D.
	kindDoc
	// kindUnchecked is a document taken as it is.
	kindUnchecked
	// From here on: one operator on one field.
	kindEq
	kindNe
	kindGt
	kindGte
	kindLt
	kindLte
	kindIn
	kindNin
	kindExists
	kindType
	kindAll
	kindSize
	kindRegex
	kindMod
	kindBitsAllSet
	kindBitsAllClear
	kindBitsAnySet
	kindBitsAnyClear
	kindGeoWithin
	kindGeoIntersects
	kindNear
)

var operators = [...]string{
	kindNot:           "$not",
	kindElem:          "$elemMatch",
	kindEq:            "$eq",
	kindNe:            "$ne",
	kindGt:            "$gt",
	kindGte:           "$gte",
	kindLt:            "$lt",
	kindLte:           "$lte",
	kindIn:            "$in",
	kindNin:           "$nin",
	kindExists:        "$exists",
	kindType:          "$type",
	kindAll:           "$all",
	kindSize:          "$size",
	kindRegex:         "$regex",
	kindMod:           "$mod",
	kindBitsAllSet:    "$bitsAllSet",
	kindBitsAllClear:  "$bitsAllClear",
	kindBitsAnySet:    "$bitsAnySet",
	kindBitsAnyClear:  "$bitsAnyClear",
	kindGeoWithin:     "$geoWithin",
	kindGeoIntersects: "$geoIntersects",
	kindNear:          "$near",
}

// onField reports whether the condition is about one field, and so can stand
// under $not and in the document of its field.
func (f Filter) onField() bool {
	return f.kind == kindBare || f.kind == kindNot || f.kind == kindElem || f.kind == kindDoc || f.kind >= kindEq
}

// NotAValue keeps a Filter from being taken for a value.
func (f Filter) NotAValue() string { return "a query.Filter" }

// Everything matches every document. Unlike the zero Filter and an And of nothing it says so
// on purpose: UpdateMany and DeleteMany ask for it.
func Everything() Filter { return Filter{explicit: true} }

// Nothing matches no document, and asks the server to look at none.
func Nothing() Filter { return Filter{kind: kindNothing} }

// And matches what all of the filters match. And of nothing matches everything.
func And(filters ...Filter) Filter {
	n, broken, explicit, nothing := 0, false, false, false
	for i := range filters {
		f := &filters[i]
		broken = broken || f.broken
		switch f.kind {
		case kindEverything:
			explicit = explicit || f.explicit
		case kindNothing:
			nothing = true
			n++
		case kindAnd:
			n += len(f.subs())
		default:
			n++
		}
	}
	if nothing && !broken {
		return Nothing()
	}
	if n == 0 {
		return Filter{explicit: explicit}
	}
	all := groupFor(n)
	for i := range filters {
		switch f := &filters[i]; f.kind {
		case kindEverything:
		case kindAnd:
			all.list = append(all.list, f.subs()...)
		default:
			all.list = append(all.list, *f)
		}
	}
	if n == 1 {
		return all.list[0]
	}
	return Filter{kind: kindAnd, value: all, broken: broken}
}

// Or matches what at least one of the filters matches. Or of nothing matches
// nothing.
func Or(filters ...Filter) Filter {
	subs, broken := make([]Filter, 0, len(filters)), false
	everything := false
	for _, f := range filters {
		broken = broken || f.broken
		switch f.kind {
		case kindEverything:
			everything = true
		case kindNothing:
		case kindOr:
			subs = append(subs, f.subs()...)
		default:
			subs = append(subs, f)
		}
	}
	switch {
	case everything && !broken:
		return Filter{explicit: true}
	case len(subs) == 0:
		return Nothing()
	case len(subs) == 1:
		return subs[0]
	}
	return Filter{kind: kindOr, value: &group{subs}, broken: broken}
}

// Nor matches what none of the filters matches. Nor of nothing matches
// everything.
func Nor(filters ...Filter) Filter {
	f := Or(filters...)
	switch f.kind {
	case kindEverything:
		return Nothing()
	case kindNothing:
		return Everything()
	case kindOr:
		return Filter{kind: kindNor, value: f.value, broken: f.broken}
	}
	return Filter{kind: kindNor, value: groupOf(f), broken: f.broken}
}

// Not matches what the filter doesn't match: with a condition on a field, also
// the documents that lack the field.
func Not(f Filter) Filter {
	switch {
	case f.kind == kindInvalid:
		return f
	case f.kind == kindNot:
		return f.subs()[0]
	case f.kind == kindNor && len(f.subs()) == 1:
		return f.subs()[0]
	case f.kind == kindNor:
		return Filter{kind: kindOr, value: f.value, broken: f.broken}
	case f.kind == kindBare:
		return Filter{kind: kindNe, field: f.field, value: f.value}
	case f.kind == kindNe:
		return compareChecked(kindEq, f.field, f.value)
	case f.onField():
		return Filter{kind: kindNot, field: f.field, value: groupOf(f), broken: f.broken}
	}
	return Nor(f)
}

// And is And(f, others...).
func (f Filter) And(others ...Filter) Filter {
	if len(others) == 1 {
		return And(f, others[0])
	}
	return And(append([]Filter{f}, others...)...)
}

// Or is Or(f, others...).
func (f Filter) Or(others ...Filter) Filter {
	return Or(append([]Filter{f}, others...)...)
}

// Not is Not(f).
func (f Filter) Not() Filter { return Not(f) }

// IsEverything reports whether the filter is the one that matches everything.
func (f Filter) IsEverything() bool { return f.kind == kindEverything }

// Err returns every mistake in the filter, joined, or nil.
func (f Filter) Err() error {
	if !f.broken {
		return nil
	}
	var errs []error
	f.collect(&errs)
	return errors.Join(errs...)
}

func (f Filter) collect(errs *[]error) {
	if !f.broken {
		return
	}
	if f.kind == kindInvalid {
		*errs = append(*errs, f.value.(error))
	}
	for _, s := range f.subs() {
		s.collect(errs)
	}
}

func wrong(format string, args ...any) Filter {
	return Filter{kind: kindInvalid, broken: true, value: invalidf(format, args...)}
}

// checkField accepts Element besides real paths.
func checkField(field string) error {
	if field == Element {
		return nil
	}
	return name.Path(field)
}

// bare reports whether a value of the class can stand behind a field without $eq.
func bare(c literal.Class) bool { return c <= literal.Array }

// compare makes a condition of one operator and one value that is data.
func compare(k kind, field string, value any) Filter {
	if err := checkField(field); err != nil {
		return wrong("filter: %v", err)
	}
	return compareChecked(k, field, value)
}

func compareChecked(k kind, field string, value any) Filter {
	v, class, err := literal.Of(value)
	if err != nil {
		return wrong("filter on %q: %v", field, err)
	}
	switch {
	case k == kindEq && bare(class):
		return Filter{kind: kindBare, field: field, value: v}
	case class == literal.Regex && k == kindNe:
		// The server takes no regular expression under $ne.
		return Not(Filter{kind: kindEq, field: field, value: v})
	case class == literal.Regex && k != kindEq:
		return wrong("filter on %q: a regular expression has no order, %s can't compare with it", field, operators[k])
	}
	return Filter{kind: k, field: field, value: v}
}

// Unchecked is the way out for what this package doesn't know: the document is
// sent as it is. It must be written by the programmer: never build it from what
// came from outside. Server-side JavaScript is refused here as well.
func Unchecked(filter bson.D) Filter {
	v, _, err := literal.Of(filter)
	if err != nil {
		return wrong("unchecked filter: %v", err)
	}
	if err := literal.RefuseJavaScript(v); err != nil {
		return wrong("unchecked filter: %v", err)
	}
	if len(filter) == 0 {
		return Everything()
	}
	return Filter{kind: kindUnchecked, value: v}
}

// String shows the filter as Extended JSON, for logs and tests: it holds the
// values, so mind where it goes.
func (f Filter) String() string {
	d, err := f.Build()
	if err != nil {
		return fmt.Sprintf("invalid filter: %v", err)
	}
	j, err := bson.MarshalExtJSON(d, false, false)
	if err != nil {
		return fmt.Sprintf("invalid filter: %v", err)
	}
	return string(j)
}
