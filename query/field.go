package query

import (
	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/internal/name"
)

// A Field is a field of the stored documents whose values are of type T: its
// comparisons take nothing else. Make one with FieldOf, or let querygen write them.
// A mistake made there comes out of Build of whatever uses the Field.
type Field[T any] struct {
	path string
	err  error
}

// NewField makes a Field out of a path, where no Go struct describes the
// documents.
func NewField[T any](path string) Field[T] {
	return Field[T]{path: path, err: checkField(path)}
}

// Path returns the dotted path of the field in the stored documents.
func (f Field[T]) Path() string { return f.path }

// Err returns what is wrong with the field, or nil.
func (f Field[T]) Err() error { return f.err }

// String returns the path.
func (f Field[T]) String() string { return f.path }

// Ref refers to the field in an expression.
func (f Field[T]) Ref() expr.Expr {
	if f.err != nil {
		return expr.Field("")
	}
	return expr.Field(f.path)
}

func (f Field[T]) compare(k kind, value any) Filter {
	if f.err != nil {
		return wrong("filter: %v", f.err)
	}
	return compareChecked(k, f.path, value)
}

// Eq matches documents whose field equals the value.
func (f Field[T]) Eq(value T) Filter { return f.compare(kindEq, value) }

// Ne matches what Eq doesn't, so also documents without the field.
func (f Field[T]) Ne(value T) Filter { return f.compare(kindNe, value) }

// Gt matches greater values.
func (f Field[T]) Gt(value T) Filter { return f.compare(kindGt, value) }

// Gte matches greater and equal values.
func (f Field[T]) Gte(value T) Filter { return f.compare(kindGte, value) }

// Lt matches lesser values.
func (f Field[T]) Lt(value T) Filter { return f.compare(kindLt, value) }

// Lte matches lesser and equal values.
func (f Field[T]) Lte(value T) Filter { return f.compare(kindLte, value) }

// Between matches from <= value < to.
func (f Field[T]) Between(from, to T) Filter { return And(f.Gte(from), f.Lt(to)) }

// In matches documents whose field equals one of the values; of none, nothing.
func (f Field[T]) In(values ...T) Filter {
	if f.err != nil {
		return wrong("filter: %v", f.err)
	}
	return in(f.path, values)
}

// Nin matches documents whose field equals none of the values.
func (f Field[T]) Nin(values ...T) Filter {
	if f.err != nil {
		return wrong("filter: %v", f.err)
	}
	return nin(f.path, values)
}

// Exists matches documents that have the field.
func (f Field[T]) Exists() Filter { return f.guard(Exists) }

// Missing matches documents that lack the field.
func (f Field[T]) Missing() Filter { return f.guard(Missing) }

// Null matches documents that have the field with the value null.
func (f Field[T]) Null() Filter { return f.guard(Null) }

// NullOrMissing matches documents in which the field is null or not there.
func (f Field[T]) NullOrMissing() Filter { return f.compare(kindEq, nil) }

func (f Field[T]) guard(make func(string) Filter) Filter {
	if f.err != nil {
		return wrong("filter: %v", f.err)
	}
	return make(f.path)
}

// Asc sorts by the field, least first.
func (f Field[T]) Asc() SortKey { return SortKey{path: f.path, err: f.err} }

// Desc sorts by the field, greatest first.
func (f Field[T]) Desc() SortKey { return SortKey{path: f.path, descending: true, err: f.err} }

// Set sets the field in an update.
func (f Field[T]) Set(value T) Update { return f.update("$set", value) }

// SetOnInsert sets the field if the update inserts the document.
func (f Field[T]) SetOnInsert(value T) Update { return f.update("$setOnInsert", value) }

// Inc adds to the number in the field.
func (f Field[T]) Inc(by T) Update { return f.number("$inc", by) }

// Mul multiplies the number in the field.
func (f Field[T]) Mul(by T) Update { return f.number("$mul", by) }

// SetMin sets the field if the value is less than what is there.
func (f Field[T]) SetMin(value T) Update { return f.update("$min", value) }

// SetMax sets the field if the value is greater than what is there.
func (f Field[T]) SetMax(value T) Update { return f.update("$max", value) }

// Unset takes the field out of the document.
func (f Field[T]) Unset() Update { return f.update("$unset", "") }

func (f Field[T]) update(op string, value any) Update {
	if f.err != nil {
		return Update{errs: []error{invalidf("update: %v", f.err)}}
	}
	return Update{}.set(op, f.path, value)
}

// A StringField is a Field of strings.
type StringField[T ~string] struct{ Field[T] }

// HasPrefix matches strings that start with the text; an index serves it.
func (f StringField[T]) HasPrefix(text string) Filter { return f.text(HasPrefix, text) }

// HasSuffix matches strings that end with the text.
func (f StringField[T]) HasSuffix(text string) Filter { return f.text(HasSuffix, text) }

// Contains matches strings that hold the text.
func (f StringField[T]) Contains(text string) Filter { return f.text(Contains, text) }

// EqualFold matches strings equal to the text without regard to case.
func (f StringField[T]) EqualFold(text string) Filter { return f.text(EqualFold, text) }

// ContainsFold matches strings that hold the text, without regard to case.
func (f StringField[T]) ContainsFold(text string) Filter { return f.text(ContainsFold, text) }

// Regex matches strings by a pattern; see the function Regex.
func (f StringField[T]) Regex(pattern, options string) Filter {
	return f.text(func(path, p string) Filter { return Regex(path, p, options) }, pattern)
}

func (f StringField[T]) text(make func(path, text string) Filter, text string) Filter {
	if f.err != nil {
		return wrong("filter: %v", f.err)
	}
	return make(f.path, text)
}

// An ArrayField is a field that holds an array with elements of type E. Its comparisons
// ask for at least one element that meets the condition.
type ArrayField[E any] struct {
	path string
	err  error
}

// NewArrayField makes an ArrayField out of a path.
func NewArrayField[E any](path string) ArrayField[E] {
	return ArrayField[E]{path: path, err: checkField(path)}
}

// Path returns the dotted path of the field in the stored documents.
func (f ArrayField[E]) Path() string { return f.path }

// Err returns what is wrong with the field, or nil.
func (f ArrayField[E]) Err() error { return f.err }

// String returns the path.
func (f ArrayField[E]) String() string { return f.path }

// Ref refers to the array in an expression.
func (f ArrayField[E]) Ref() expr.Expr { return Field[E](f).Ref() }

// Has matches arrays with an element that equals the value.
func (f ArrayField[E]) Has(value E) Filter { return Field[E](f).Eq(value) }

// HasNot matches arrays without such an element, and documents without the array.
func (f ArrayField[E]) HasNot(value E) Filter { return Field[E](f).Ne(value) }

// HasAny matches arrays with an element that equals one of the values.
func (f ArrayField[E]) HasAny(values ...E) Filter { return Field[E](f).In(values...) }

// HasNone matches arrays without an element that equals one of the values.
func (f ArrayField[E]) HasNone(values ...E) Filter { return Field[E](f).Nin(values...) }

// HasAll matches arrays that hold every one of the values.
func (f ArrayField[E]) HasAll(values ...E) Filter {
	return Field[E](f).guard(func(path string) Filter { return HasAll(path, values...) })
}

// Equals matches the array with exactly these elements in this order.
func (f ArrayField[E]) Equals(elements ...E) Filter { return Field[E](f).compare(kindEq, elements) }

// Match matches arrays with at least one element that meets all of the
// conditions. Field names are those of the elements; Elem stands for the element
// itself.
func (f ArrayField[E]) Match(conditions ...Filter) Filter {
	return Field[E](f).guard(func(path string) Filter { return ElemMatch(path, conditions...) })
}

// Elem is the element itself, in the conditions of Match.
func (f ArrayField[E]) Elem() Field[E] { return Field[E]{path: Element} }

// Size matches arrays of exactly n elements.
func (f ArrayField[E]) Size(n int) Filter {
	return Field[E](f).guard(func(path string) Filter { return Size(path, n) })
}

// Exists matches documents that have the field.
func (f ArrayField[E]) Exists() Filter { return Field[E](f).Exists() }

// Missing matches documents that lack the field.
func (f ArrayField[E]) Missing() Filter { return Field[E](f).Missing() }

// Set sets the whole array in an update.
func (f ArrayField[E]) Set(elements ...E) Update {
	return Field[E](f).update("$set", append([]E{}, elements...))
}

// Push appends elements in an update.
func (f ArrayField[E]) Push(elements ...E) Update {
	if f.err != nil {
		return Update{errs: []error{invalidf("update: %v", f.err)}}
	}
	return Push(f.path, elements...)
}

// AddToSet appends those elements that are not there yet.
func (f ArrayField[E]) AddToSet(elements ...E) Update {
	if f.err != nil {
		return Update{errs: []error{invalidf("update: %v", f.err)}}
	}
	return AddToSet(f.path, elements...)
}

// Pull removes every element equal to one of the given ones.
func (f ArrayField[E]) Pull(elements ...E) Update {
	if f.err != nil {
		return Update{errs: []error{invalidf("update: %v", f.err)}}
	}
	return Pull(f.path, elements...)
}

// Unset takes the array out of the document.
func (f ArrayField[E]) Unset() Update { return Field[E](f).Unset() }

// Within places a field of an array's elements under the array, for conditions that
// any element may meet: Within(Orders.Lines, Lines.SKU).Eq("x") asks for
// {"lines.sku": "x"}.
func Within[E, T any](array ArrayField[E], field Field[T]) Field[T] {
	return Field[T](joined(array.path, array.err, field.path, field.err))
}

// Under places a field of an embedded document under the document's field.
func Under[D, T any](document Field[D], field Field[T]) Field[T] {
	return Field[T](joined(document.path, document.err, field.path, field.err))
}

type pathAndError struct {
	path string
	err  error
}

func joined(outer string, outerErr error, inner string, innerErr error) pathAndError {
	if outerErr != nil {
		return pathAndError{err: outerErr}
	}
	if innerErr != nil {
		return pathAndError{err: innerErr}
	}
	p := outer + "." + inner
	return pathAndError{path: p, err: name.Path(p)}
}

func (f Field[T]) number(op string, by any) Update {
	if f.err != nil {
		return Update{errs: []error{invalidf("update: %v", f.err)}}
	}
	return Update{}.number(op, f.path, by)
}
