package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Keyset asks for a page by position instead of number.
type Keyset struct {
	// Cursors makes and reads the cursors; required.
	Cursors *Cursors
	// Cursor is the Next or Prev of another page; empty for the first page.
	Cursor string
	// Size is how many items a page has; 0 means DefaultPageSize. It may differ from page to page.
	Size int
	// Scope, if set, is what cursors are bound to in place of the filter: for
	// filters that move on by themselves, such as "not older than an hour".
	Scope string
}

// DefaultPageSize and MaxPageSize are the limits of pages.
const (
	DefaultPageSize = 20
	MaxPageSize     = 10_000
)

// A KeysetPage is a page with the way to its neighbours. Marshalled as JSON it
// is what an HTTP handler may return.
type KeysetPage[T any] struct {
	// Items is never nil.
	Items []T `json:"items"`
	// PageSize is the size asked for; the last page may have less.
	PageSize int `json:"page_size"`
	// HasNext and HasPrev say whether there is more in a direction. The side that the
	// page was reached from is taken to be there still.
	HasNext bool `json:"has_next"`
	HasPrev bool `json:"has_prev"`
	// Next and Prev are the cursors of the neighbours, empty if there are none.
	Next string `json:"next,omitempty"`
	Prev string `json:"prev,omitempty"`
}

// Keyset returns a page in the order of the find's Sort, made complete by _id.
// Any number of keys in any mix of directions will do; null and missing
// count as one value; values of different types come in the order of their types.
//
// Pages are stable: a document that is neither inserted nor deleted nor changed
// in its sort keys while somebody pages through is seen exactly once,
// whatever happens to others. The cost doesn't grow with the distance from
// the start, provided that an index serves filter and order; see Explain and
// SortKey.Uniform.
//
// A sort key that is an array has no single place in the order: a page that meets one
// is an error, and so are undefined, regular expressions and code. With a
// collation that takes different string _ids for equal, ties among those stay
// unbroken: use a collation for the sort keys only with _ids of another type.
func (f Find[T]) Keyset(ctx context.Context, k Keyset) (KeysetPage[T], error) {
	page, err := f.keyset(ctx, k)
	if err != nil {
		return KeysetPage[T]{}, readError("keyset page", f.coll.coll, err)
	}
	return page, nil
}

func (f Find[T]) keyset(ctx context.Context, k Keyset) (page KeysetPage[T], err error) {
	run, err := f.keysetRun(k)
	if err != nil {
		return page, err
	}
	page = KeysetPage[T]{Items: []T{}, PageSize: run.size}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	b, err := run.find.build()
	if err != nil {
		return page, err
	}
	cursor, err := run.find.open(ctx, b)
	if err != nil {
		return page, err
	}
	defer closeCursor(ctx, cursor)
	more := false
	var first, last []bson.RawValue
	for cursor.Next(ctx) {
		if len(page.Items) == run.size {
			more = true
			break
		}
		last, err = sortValues(cursor.Current, run.keys, last[:0])
		if err != nil {
			return page, err
		}
		if first == nil {
			first = cloneValues(last)
		}
		page.Items = append(page.Items, *new(T))
		if err := decode(cursor, &page.Items[len(page.Items)-1]); err != nil {
			return page, err
		}
		// The driver may reuse the bytes of the document with the next batch.
		if cursor.RemainingBatchLength() == 0 || len(page.Items) == run.size {
			last = cloneValues(last)
		}
	}
	if err := cursor.Err(); err != nil {
		return page, err
	}
	return page, run.finish(&page.HasNext, &page.HasPrev, &page.Next, &page.Prev, func() {
		slices.Reverse(page.Items)
	}, more, first, last)
}

// KeysetExplain tells how the server would find the page.
func (f Find[T]) KeysetExplain(ctx context.Context, k Keyset) (Plan, error) {
	run, err := f.keysetRun(k)
	if err != nil {
		return Plan{}, readError("explain", f.coll.coll, err)
	}
	return run.find.Explain(ctx)
}

// keysetRun is a page about to be read.
type keysetRun[T any] struct {
	find    Find[T]
	keys    []SortKey
	cursors *Cursors
	scope   scope
	size    int
	from    *position
}

func (f Find[T]) keysetRun(k Keyset) (*keysetRun[T], error) {
	run := &keysetRun[T]{cursors: k.Cursors, size: k.Size}
	switch {
	case k.Cursors == nil:
		return nil, invalidf("keyset page: Cursors is nil; make them with NewCursors")
	case k.Size < 0 || k.Size > MaxPageSize:
		return nil, invalidf("keyset page: Size is %d, it must be within 0 and %d", k.Size, MaxPageSize)
	case f.spec.skip > 0 || f.spec.limit > 0:
		return nil, invalidf("keyset page: the find has a Skip or a Limit; the page sets them")
	case k.Size == 0:
		run.size = DefaultPageSize
	}
	var err error
	if run.keys, err = withID(f.spec.sort); err != nil {
		return nil, err
	}
	if run.scope, err = f.scope(run.keys, k.Scope); err != nil {
		return nil, err
	}
	if k.Cursor != "" {
		p, err := k.Cursors.open(k.Cursor, run.scope, len(run.keys))
		if err != nil {
			return nil, err
		}
		run.from = &p
	}
	run.find, err = f.aimed(run)
	return run, err
}

// withID completes an order by _id, so that no two documents are equal in it.
func withID(sort []SortKey) ([]SortKey, error) {
	keys := make([]SortKey, 0, len(sort)+1)
	for _, k := range sort {
		if k.meta != "" {
			return nil, invalidf("keyset page: a text score is not stored, so no page can start after one")
		}
		keys = append(keys, k)
		if k.path == "_id" {
			return keys, nil
		}
	}
	// In the direction of the last key, an index can be read in one go both ways.
	descending := len(sort) > 0 && sort[len(sort)-1].descending
	return append(keys, SortKey{path: "_id", descending: descending}), nil
}

func (f Find[T]) scope(keys []SortKey, bound string) (scope, error) {
	sort, err := buildSort(keys)
	if err != nil {
		return scope{}, err
	}
	var filter any = bound
	if bound == "" {
		if filter, err = f.filter.Build(); err != nil {
			return scope{}, err
		}
	}
	return scopeOf(namespace(f.coll.coll), sort, filter, f.spec.collation)
}

// aimed returns the find for the page, one item longer to see whether there is more.
func (f Find[T]) aimed(run *keysetRun[T]) (Find[T], error) {
	keys := run.keys
	if run.from != nil && run.from.backward {
		keys = make([]SortKey, len(run.keys))
		for i, k := range run.keys {
			keys[i] = k.reversed()
		}
	}
	if run.from != nil {
		f.filter = And(f.filter, beyond(keys, *run.from))
	}
	paths := make([]string, len(keys))
	for i, k := range keys {
		paths[i] = k.path
	}
	var err error
	if f.spec.projection, err = f.spec.projection.with(paths); err != nil {
		return f, err
	}
	f.spec.sort = keys
	f.spec.limit = int64(run.size) + 1
	if f.spec.batchSize == 0 {
		// One more than the limit: the server closes the cursor in the same round trip.
		f.spec.batchSize = int32(run.size) + 2
	}
	return f, nil
}

// finish puts the items into the order asked for and makes the cursors.
func (run *keysetRun[T]) finish(
	hasNext, hasPrev *bool, next, prev *string, reverse func(), more bool, first, last []bson.RawValue,
) error {
	backward := run.from != nil && run.from.backward
	// "Ahead" is the direction of reading, "behind" where the reader came from.
	hasAhead, hasBehind, ahead, behind := hasNext, hasPrev, next, prev
	if backward {
		reverse()
		hasAhead, hasBehind, ahead, behind = hasPrev, hasNext, prev, next
	}
	*hasAhead, *hasBehind = more, run.from != nil
	var err error
	if more {
		if *ahead, err = run.cursors.seal(position{backward: backward, values: last}, run.scope); err != nil {
			return err
		}
	}
	if !*hasBehind {
		return nil
	}
	back := position{backward: !backward, values: first}
	if first == nil {
		// Nothing here: the way back starts where the reader stood.
		back = position{backward: !backward, inclusive: !run.from.inclusive, values: run.from.values}
	}
	*behind, err = run.cursors.seal(back, run.scope)
	return err
}

// sortValues reads a document's sort keys.
func sortValues(doc bson.Raw, keys []SortKey, into []bson.RawValue) ([]bson.RawValue, error) {
	for _, k := range keys {
		v, err := sortValue(doc, k.path)
		if err != nil {
			return nil, err
		}
		into = append(into, v)
	}
	return into, nil
}

func sortValue(doc bson.Raw, path string) (bson.RawValue, error) {
	null := bson.RawValue{Type: bson.TypeNull}
	rest := path
	for {
		part, tail, nested := strings.Cut(rest, ".")
		v, err := doc.LookupErr(part)
		if err != nil {
			return null, nil
		}
		if v.Type == bson.TypeArray || !nested && !pageable(v.Type) {
			return null, fmt.Errorf("sort key %q is of type %s in a document: it has no place in the order of pages", path, v.Type)
		}
		if !nested {
			return v, nil
		}
		inner, ok := v.DocumentOK()
		if !ok {
			return null, nil
		}
		doc, rest = inner, tail
	}
}

// cloneValues copies values out of a batch.
func cloneValues(values []bson.RawValue) []bson.RawValue {
	out := make([]bson.RawValue, len(values))
	for i, v := range values {
		out[i] = bson.RawValue{Type: v.Type, Value: slices.Clone(v.Value)}
	}
	return out
}
