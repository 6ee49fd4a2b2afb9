package query

import (
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/annals-es/annals/query/expr"
)

// A Find is a query under construction. It is an immutable value: every method
// returns a new one, so a common start can be kept and shared. Nothing is sent
// before one of the methods that take a context. Mistakes come out there, all
// at once, as errors that match ErrInvalid.
type Find[T any] struct {
	coll   *Collection[T]
	filter Filter
	spec   findSpec
}

type findSpec struct {
	projection   Projection
	sort         []SortKey
	skip, limit  int64
	hint         any
	collation    *options.Collation
	preference   *readpref.ReadPref
	concern      *readconcern.ReadConcern
	maxTime      time.Duration
	batchSize    int32
	comment      string
	let          []expr.NamedExpr
	allowDiskUse bool
	prefetch     int
	errs         []error
}

func (f Find[T]) fail(format string, args ...any) Find[T] {
	f.spec.errs = append(slices.Clip(f.spec.errs), invalidf(format, args...))
	return f
}

// Filter narrows the find to what these filters match too.
func (f Find[T]) Filter(filters ...Filter) Find[T] {
	f.filter = And(append([]Filter{f.filter}, filters...)...)
	return f
}

// Project asks for a part of each document.
func (f Find[T]) Project(p Projection) Find[T] {
	f.spec.projection = p
	return f
}

// Sort orders the documents.
func (f Find[T]) Sort(keys ...SortKey) Find[T] {
	f.spec.sort = append([]SortKey(nil), keys...)
	return f
}

// Skip drops the first n documents.
func (f Find[T]) Skip(n int64) Find[T] {
	if n < 0 {
		return f.fail("find: Skip is %d, it can't be negative", n)
	}
	f.spec.skip = n
	return f
}

// Limit keeps the first n documents; 0 means all.
func (f Find[T]) Limit(n int64) Find[T] {
	if n < 0 {
		return f.fail("find: Limit is %d, it can't be negative", n)
	}
	f.spec.limit = n
	return f
}

// Hint makes the server use the index of that name.
func (f Find[T]) Hint(index string) Find[T] {
	if index == "" {
		return f.fail("find: the hint is empty")
	}
	f.spec.hint = index
	return f
}

// HintKeys makes the server use the index with these keys.
func (f Find[T]) HintKeys(keys ...SortKey) Find[T] {
	d, err := buildSort(keys)
	if err != nil || len(d) == 0 {
		return f.fail("find: the hint needs keys of an index: %v", err)
	}
	f.spec.hint = d
	return f
}

// Collation sets the rules by which strings compare; it must be that of an index for the index to serve.
func (f Find[T]) Collation(c options.Collation) Find[T] {
	f.spec.collation = &c
	return f
}

// ReadPreference says which members of the replica set may answer.
func (f Find[T]) ReadPreference(p *readpref.ReadPref) Find[T] {
	f.spec.preference = p
	return f
}

// ReadConcern says how durable what is read must be.
func (f Find[T]) ReadConcern(c *readconcern.ReadConcern) Find[T] {
	f.spec.concern = c
	return f
}

// MaxTime bounds the whole operation, for a stream from the first to the last
// document. It works as a deadline of the context; the driver tells the server
// for operations of one round trip other than a find or an aggregation, and otherwise cuts
// the connection, which makes the server stop. 0 means no limit.
func (f Find[T]) MaxTime(d time.Duration) Find[T] {
	if d < 0 {
		return f.fail("find: MaxTime is %v, it can't be negative", d)
	}
	f.spec.maxTime = d
	return f
}

// BatchSize is how many documents come in one round trip; 0 means the server's default.
func (f Find[T]) BatchSize(n int32) Find[T] {
	if n < 0 {
		return f.fail("find: BatchSize is %d, it can't be negative", n)
	}
	f.spec.batchSize = n
	return f
}

// Comment is found in the server's log and profiler.
func (f Find[T]) Comment(text string) Find[T] {
	f.spec.comment = text
	return f
}

// Let defines variables for the filter's Expr (server 5.0).
func (f Find[T]) Let(vars ...expr.NamedExpr) Find[T] {
	f.spec.let = append([]expr.NamedExpr(nil), vars...)
	return f
}

// AllowDiskUse lets the server sort on disk what doesn't fit into its memory.
func (f Find[T]) AllowDiskUse() Find[T] {
	f.spec.allowDiskUse = true
	return f
}

// Prefetch is how many batches a stream fetches and decodes ahead of its reader
// (default 1). With 0 the next batch is fetched when it is needed, and breaking
// out of the stream never interrupts a fetch. Inside a session nothing is fetched ahead.
func (f Find[T]) Prefetch(batches int) Find[T] {
	if batches < 0 {
		return f.fail("find: Prefetch is %d, it can't be negative", batches)
	}
	f.spec.prefetch = batches
	return f
}

// A plan for the driver: everything checked and built.
type builtFind struct {
	filter, projection, sort, let bson.D
	spec                          *findSpec
}

// Build returns the filter, the projection and the order as documents, or all
// mistakes of the find.
func (f Find[T]) Build() (filter, projection, sort bson.D, err error) {
	b, err := f.build()
	return b.filter, b.projection, b.sort, err
}

func (f Find[T]) build() (b builtFind, err error) {
	errs := f.spec.errs
	b.spec = &f.spec
	if b.filter, err = f.filter.Build(); err != nil {
		errs = append(slices.Clip(errs), err)
	}
	if b.projection, err = f.spec.projection.Build(); err != nil {
		errs = append(slices.Clip(errs), err)
	}
	if b.sort, err = buildSort(f.spec.sort); err != nil {
		errs = append(slices.Clip(errs), err)
	}
	if b.let, err = variables(f.spec.let); err != nil {
		errs = append(slices.Clip(errs), invalidf("find: %v", err))
	}
	if len(errs) > 0 {
		return b, joinInvalid(errs)
	}
	return b, nil
}

// List hands the options to the driver in one go.
func (b *builtFind) List() []func(*options.FindOptions) error {
	return []func(*options.FindOptions) error{b.apply}
}

func (b *builtFind) apply(o *options.FindOptions) error {
	s := b.spec
	if b.projection != nil {
		o.Projection = b.projection
	}
	if b.sort != nil {
		o.Sort = b.sort
	}
	if s.skip > 0 {
		o.Skip = &s.skip
	}
	if s.limit > 0 {
		o.Limit = &s.limit
	}
	if s.batchSize > 0 {
		o.BatchSize = &s.batchSize
	}
	if s.hint != nil {
		o.Hint = s.hint
	}
	if s.collation != nil {
		o.Collation = s.collation
	}
	if s.comment != "" {
		o.Comment = s.comment
	}
	if b.let != nil {
		o.Let = b.let
	}
	if s.allowDiskUse {
		o.AllowDiskUse = &s.allowDiskUse
	}
	return nil
}

// on returns the collection with the read preference and concern of the find.
func (s *findSpec) on(coll *mongo.Collection) *mongo.Collection {
	if s.preference == nil && s.concern == nil {
		return coll
	}
	o := options.Collection()
	if s.preference != nil {
		o.SetReadPreference(s.preference)
	}
	if s.concern != nil {
		o.SetReadConcern(s.concern)
	}
	return coll.Clone(o)
}
