package query

import (
	"context"
	"iter"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/annals-es/annals/query/expr"
)

// An Aggregation is a pipeline about to run on a collection, with results of
// type R. It is an immutable value, as Find is.
type Aggregation[R any] struct {
	coll     *Collection[R]
	pipeline Pipeline
	spec     findSpec
	bypass   bool
}

// Aggregate starts an aggregation on a collection, whatever its own documents
// are.
func Aggregate[R, T any](c *Collection[T], p Pipeline) Aggregation[R] {
	return Aggregation[R]{
		coll: &Collection[R]{coll: c.coll, retry: c.retry}, pipeline: p, spec: findSpec{prefetch: 1},
	}
}

func (a Aggregation[R]) fail(format string, args ...any) Aggregation[R] {
	a.spec.errs = append(slices.Clip(a.spec.errs), invalidf(format, args...))
	return a
}

// AllowDiskUse lets stages use the server's disk for what doesn't fit into 100 MB of memory.
func (a Aggregation[R]) AllowDiskUse() Aggregation[R] {
	a.spec.allowDiskUse = true
	return a
}

// BatchSize is how many results come in one round trip; 0 means the server's default.
func (a Aggregation[R]) BatchSize(n int32) Aggregation[R] {
	if n < 0 {
		return a.fail("aggregate: BatchSize is %d, it can't be negative", n)
	}
	a.spec.batchSize = n
	return a
}

// MaxTime bounds the whole operation from the first to the last result, as
// Find.MaxTime does. 0 means no limit.
func (a Aggregation[R]) MaxTime(d time.Duration) Aggregation[R] {
	if d < 0 {
		return a.fail("aggregate: MaxTime is %v, it can't be negative", d)
	}
	a.spec.maxTime = d
	return a
}

// Hint makes the server use the index of that name.
func (a Aggregation[R]) Hint(index string) Aggregation[R] {
	if index == "" {
		return a.fail("aggregate: the hint is empty")
	}
	a.spec.hint = index
	return a
}

// HintKeys makes the server use the index with these keys.
func (a Aggregation[R]) HintKeys(keys ...SortKey) Aggregation[R] {
	d, err := buildSort(keys)
	if err != nil || len(d) == 0 {
		return a.fail("aggregate: the hint needs keys of an index: %v", err)
	}
	a.spec.hint = d
	return a
}

// Collation sets the rules by which strings compare.
func (a Aggregation[R]) Collation(c options.Collation) Aggregation[R] {
	a.spec.collation = &c
	return a
}

// Comment is found in the server's log and profiler.
func (a Aggregation[R]) Comment(text string) Aggregation[R] {
	a.spec.comment = text
	return a
}

// Let defines variables for the pipeline's expressions (server 5.0); use them with expr.Var.
func (a Aggregation[R]) Let(vars ...expr.NamedExpr) Aggregation[R] {
	a.spec.let = append([]expr.NamedExpr(nil), vars...)
	return a
}

// ReadPreference says which members of the replica set may answer.
func (a Aggregation[R]) ReadPreference(p *readpref.ReadPref) Aggregation[R] {
	a.spec.preference = p
	return a
}

// ReadConcern says how durable what is read must be.
func (a Aggregation[R]) ReadConcern(c *readconcern.ReadConcern) Aggregation[R] {
	a.spec.concern = c
	return a
}

// BypassValidation lets Out and Merge write documents that the target's schema refuses.
func (a Aggregation[R]) BypassValidation() Aggregation[R] {
	a.bypass = true
	return a
}

// Prefetch is how many batches a stream fetches ahead, as for Find.
func (a Aggregation[R]) Prefetch(batches int) Aggregation[R] {
	if batches < 0 {
		return a.fail("aggregate: Prefetch is %d, it can't be negative", batches)
	}
	a.spec.prefetch = batches
	return a
}

type builtAggregation struct {
	stages []bson.D
	let    bson.D
}

func (a Aggregation[R]) build() (b builtAggregation, err error) {
	errs := a.spec.errs
	if b.stages, err = a.pipeline.Build(); err != nil {
		errs = append(slices.Clip(errs), err)
	}
	if b.let, err = variables(a.spec.let); err != nil {
		errs = append(slices.Clip(errs), invalidf("aggregate: %v", err))
	}
	if len(errs) > 0 {
		return b, joinInvalid(errs)
	}
	return b, nil
}

func (a Aggregation[R]) options(b builtAggregation) *options.AggregateOptionsBuilder {
	o := options.Aggregate()
	s := a.spec
	if s.allowDiskUse {
		o.SetAllowDiskUse(true)
	}
	if s.batchSize > 0 {
		o.SetBatchSize(s.batchSize)
	}
	if s.collation != nil {
		o.SetCollation(s.collation)
	}
	if s.comment != "" {
		o.SetComment(s.comment)
	}
	if s.hint != nil {
		o.SetHint(s.hint)
	}
	if b.let != nil {
		o.SetLet(b.let)
	}
	if a.bypass {
		o.SetBypassDocumentValidation(true)
	}
	return o
}

// open runs the pipeline; one that writes is never repeated.
func (a Aggregation[R]) open(ctx context.Context, b builtAggregation) (*mongo.Cursor, error) {
	o := a.options(b)
	var cursor *mongo.Cursor
	run := func(ctx context.Context) (err error) {
		cursor, err = a.spec.on(a.coll.coll).Aggregate(ctx, b.stages, o)
		return err
	}
	if a.pipeline.Writes() {
		err := run(ctx)
		return cursor, err
	}
	err := a.coll.retry.read(ctx, run)
	return cursor, err
}

func (a Aggregation[R]) wrap(err error) error {
	return wrapError("aggregate", a.coll.coll, err, a.pipeline.Writes())
}

// All returns all results, an empty slice if there are none.
func (a Aggregation[R]) All(ctx context.Context) ([]R, error) {
	items, err := a.all(ctx)
	if err != nil {
		return nil, a.wrap(err)
	}
	return items, nil
}

func (a Aggregation[R]) all(ctx context.Context) ([]R, error) {
	b, err := a.build()
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.spec.within(ctx)
	defer cancel()
	cursor, err := a.open(ctx, b)
	if err != nil {
		return nil, err
	}
	return collect[R](ctx, cursor)
}

// First returns the first result; ErrNotFound if there is none.
func (a Aggregation[R]) First(ctx context.Context) (R, error) {
	for r, err := range a.Prefetch(0).Stream(ctx) {
		return r, err
	}
	return *new(R), a.wrap(errNoDocument)
}

// Stream yields the results one by one, as Find.Stream does.
func (a Aggregation[R]) Stream(ctx context.Context) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		b, err := a.build()
		if err != nil {
			yield(*new(R), a.wrap(err))
			return
		}
		ctx, cancel := a.spec.within(ctx)
		defer cancel()
		open := func(ctx context.Context) (*mongo.Cursor, error) { return a.open(ctx, b) }
		stream(ctx, open, a.spec.prefetch, a.wrap, yield)
	}
}

// Run runs a pipeline that ends in Out or Merge and has no results to read.
func (a Aggregation[R]) Run(ctx context.Context) error {
	if !a.pipeline.Writes() && len(a.pipeline.errs) == 0 {
		return a.wrap(invalidf("aggregate: Run is for pipelines that end in Out or Merge; this one has results, read them"))
	}
	_, err := a.All(ctx)
	return err
}

// Explain tells how the server would run the pipeline. One that writes is refused.
func (a Aggregation[R]) Explain(ctx context.Context) (Plan, error) {
	b, err := a.build()
	if err == nil && a.pipeline.Writes() {
		err = invalidf("explain: the pipeline ends in %s; explain it without", b.stages[len(b.stages)-1][0].Key)
	}
	if err != nil {
		return Plan{}, readError("explain", a.coll.coll, err)
	}
	cmd := bson.D{{Key: "aggregate", Value: a.coll.coll.Name()}, {Key: "pipeline", Value: b.stages}, {Key: "cursor", Value: bson.D{}}}
	if a.spec.hint != nil {
		cmd = append(cmd, bson.E{Key: "hint", Value: a.spec.hint})
	}
	if a.spec.collation != nil {
		cmd = append(cmd, bson.E{Key: "collation", Value: a.spec.collation})
	}
	if a.spec.allowDiskUse {
		cmd = append(cmd, bson.E{Key: "allowDiskUse", Value: true})
	}
	if b.let != nil {
		cmd = append(cmd, bson.E{Key: "let", Value: b.let})
	}
	ctx, cancel := a.spec.within(ctx)
	defer cancel()
	p, err := explain(ctx, a.coll.coll, a.coll.retry, cmd, a.spec.preference)
	return p, readError("explain", a.coll.coll, err)
}
