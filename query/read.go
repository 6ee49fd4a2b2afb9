package query

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// within applies MaxTime.
func (s *findSpec) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.maxTime == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.maxTime)
}

// open runs the find and returns its cursor.
func (f Find[T]) open(ctx context.Context, b builtFind) (*mongo.Cursor, error) {
	var cursor *mongo.Cursor
	err := f.coll.retry.read(ctx, func(ctx context.Context) (err error) {
		cursor, err = f.spec.on(f.coll.coll).Find(ctx, b.filter, &b)
		return err
	})
	return cursor, err
}

// closeCursor frees the cursor on the server even if the context has ended.
func closeCursor(ctx context.Context, cursor *mongo.Cursor) {
	if cursor.ID() == 0 {
		// Nothing is left on the server; closing gives the session back.
		_ = cursor.Close(ctx)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// The server forgets an idle cursor by itself: an error here harms nobody.
	_ = cursor.Close(ctx)
}

// All returns all documents, an empty slice if there are none.
func (f Find[T]) All(ctx context.Context) ([]T, error) {
	items, err := f.all(ctx)
	if err != nil {
		return nil, readError("find", f.coll.coll, err)
	}
	return items, nil
}

func (f Find[T]) all(ctx context.Context) ([]T, error) {
	b, err := f.build()
	if err != nil {
		return nil, err
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	cursor, err := f.open(ctx, b)
	if err != nil {
		return nil, err
	}
	return collect[T](ctx, cursor)
}

// collect reads a cursor to its end and closes it.
func collect[T any](ctx context.Context, cursor *mongo.Cursor) ([]T, error) {
	defer closeCursor(ctx, cursor)
	items := make([]T, 0, min(cursor.RemainingBatchLength(), 1024))
	for cursor.Next(ctx) {
		items = append(items, *new(T))
		if err := decode(cursor, &items[len(items)-1]); err != nil {
			return nil, err
		}
	}
	return items, cursor.Err()
}

// First returns the first document in the order of the find; ErrNotFound if
// there is none.
func (f Find[T]) First(ctx context.Context) (T, error) {
	items, err := f.Limit(1).all(ctx)
	return f.single("find first", items, err)
}

// One returns the only document that matches; ErrNotFound if there is none,
// ErrNotUnique if there are more.
func (f Find[T]) One(ctx context.Context) (T, error) {
	if f.spec.limit == 0 || f.spec.limit > 2 {
		f.spec.limit = 2
	}
	items, err := f.all(ctx)
	if err == nil && len(items) > 1 {
		err = ErrNotUnique
	}
	return f.single("find one", items, err)
}

func (f Find[T]) single(op string, items []T, err error) (none T, _ error) {
	if err == nil && len(items) == 0 {
		err = errNoDocument
	}
	if err != nil {
		return none, readError(op, f.coll.coll, err)
	}
	return items[0], nil
}

// errNoDocument is ErrNotFound and mongo.ErrNoDocuments in one.
var errNoDocument = &notFoundError{}

type notFoundError struct{}

func (*notFoundError) Error() string { return "no document matches" }
func (*notFoundError) Is(target error) bool {
	return target == ErrNotFound || target == mongo.ErrNoDocuments
}

// Count returns how many documents match, within Skip and Limit if they are set.
func (f Find[T]) Count(ctx context.Context) (int64, error) {
	n, err := f.count(ctx)
	return n, readError("count", f.coll.coll, err)
}

func (f Find[T]) count(ctx context.Context) (int64, error) {
	b, err := f.build()
	if err != nil {
		return 0, err
	}
	if f.filter.uses(func(s *Filter) bool { return s.kind == kindNear }) {
		return 0, invalidf("count: Near can't be counted; use WithinRadius")
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	o := options.Count()
	if f.spec.skip > 0 {
		o.SetSkip(f.spec.skip)
	}
	if f.spec.limit > 0 {
		o.SetLimit(f.spec.limit)
	}
	if f.spec.hint != nil {
		o.SetHint(f.spec.hint)
	}
	if f.spec.collation != nil {
		o.SetCollation(f.spec.collation)
	}
	if f.spec.comment != "" {
		o.SetComment(f.spec.comment)
	}
	var n int64
	err = f.coll.retry.read(ctx, func(ctx context.Context) (err error) {
		n, err = f.spec.on(f.coll.coll).CountDocuments(ctx, b.filter, o)
		return err
	})
	return n, err
}

// EstimatedCount returns the size of the collection from its metadata: fast, and
// off after an unclean shutdown or on a sharded cluster. The filter must be Everything.
func (f Find[T]) EstimatedCount(ctx context.Context) (int64, error) {
	if !f.filter.IsEverything() {
		return 0, readError("estimated count", f.coll.coll, invalidf("the metadata knows no filter"))
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	var n int64
	err := f.coll.retry.read(ctx, func(ctx context.Context) (err error) {
		n, err = f.spec.on(f.coll.coll).EstimatedDocumentCount(ctx)
		return err
	})
	return n, readError("estimated count", f.coll.coll, err)
}

// Exists reports whether a document matches. It fetches an _id at most.
func (f Find[T]) Exists(ctx context.Context) (bool, error) {
	id := Find[bson.Raw]{
		coll: &Collection[bson.Raw]{coll: f.coll.coll, retry: f.coll.retry}, filter: f.filter, spec: f.spec,
	}
	id.spec.sort = nil
	_, err := id.Project(Include("_id")).First(ctx)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Distinct returns the distinct values of a field among the documents of the
// find, those of an array one by one. Order, skip and limit do not apply. The
// answer is one document and so held to 16 MB.
func Distinct[V, T any](ctx context.Context, f Find[T], field Path) ([]V, error) {
	values, err := distinct[V](ctx, f, field.Path())
	return values, readError("distinct", f.coll.coll, err)
}

// A Path names a field; Field, StringField and ArrayField are ones, and Name
// makes one out of a string.
type Path interface{ Path() string }

// Name makes a Path out of a string.
type Name string

// Path returns the name.
func (n Name) Path() string { return string(n) }

func distinct[V, T any](ctx context.Context, f Find[T], field string) ([]V, error) {
	b, err := f.build()
	if err != nil {
		return nil, err
	}
	if err := checkPath(field); err != nil {
		return nil, err
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	o := options.Distinct()
	if f.spec.collation != nil {
		o.SetCollation(f.spec.collation)
	}
	if f.spec.comment != "" {
		o.SetComment(f.spec.comment)
	}
	if f.spec.hint != nil {
		o.SetHint(f.spec.hint)
	}
	values := []V{}
	err = f.coll.retry.read(ctx, func(ctx context.Context) error {
		result := f.spec.on(f.coll.coll).Distinct(ctx, field, b.filter, o)
		if err := result.Err(); err != nil {
			return err
		}
		values = values[:0]
		return result.Decode(&values)
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// Stream yields the documents one by one; an error comes last. Breaking out of
// the loop frees everything. The next batch is fetched and decoded while the
// reader works on this one, see Prefetch.
func (f Find[T]) Stream(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		b, err := f.build()
		if err != nil {
			yield(*new(T), readError("find", f.coll.coll, err))
			return
		}
		ctx, cancel := f.spec.within(ctx)
		defer cancel()
		open := func(ctx context.Context) (*mongo.Cursor, error) { return f.open(ctx, b) }
		wrap := func(err error) error { return readError("find", f.coll.coll, err) }
		stream(ctx, open, f.spec.prefetch, wrap, yield)
	}
}
