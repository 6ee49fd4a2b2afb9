package query

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// The server's limits, in operations and bytes of one command. A little is left
// for what surrounds the operations.
const (
	maxBulkOperations = 100_000
	maxBulkBytes      = 48_000_000 - 16*1024
	operationOverhead = 256
)

// A Bulk is a list of writes to be sent together. Its methods add to it and
// return it; it is not safe for concurrent use. Filters and updates are checked
// when they are added, documents are encoded when they are sent: don't change
// them before.
type Bulk[T any] struct {
	coll      *Collection[T]
	items     []bulkItem
	errs      []error
	unordered bool
	comment   string
	maxOps    int
	maxBytes  int
}

type bulkKind uint8

// The kinds that go into one command each: the driver repeats the first three
// after a network error, the others never.
const (
	bulkInsert bulkKind = iota
	bulkUpdateOne
	bulkDeleteOne
	bulkUpdateMany
	bulkDeleteMany
	bulkKinds
)

type bulkItem struct {
	index int
	kind  bulkKind
	op    string
	size  int
	model mongo.WriteModel
}

// Bulk starts a list of writes, ordered unless Unordered is called.
func (c *Collection[T]) Bulk() *Bulk[T] {
	return &Bulk[T]{coll: c, maxOps: maxBulkOperations, maxBytes: maxBulkBytes}
}

// Unordered lets the server do the writes in any order and go on after a failed
// one. Ordered ones stop at the first that fails.
func (b *Bulk[T]) Unordered() *Bulk[T] {
	b.unordered = true
	return b
}

// Comment is found in the server's log and profiler.
func (b *Bulk[T]) Comment(text string) *Bulk[T] {
	b.comment = text
	return b
}

// Len returns the number of writes, which is the index of the next one.
func (b *Bulk[T]) Len() int { return len(b.items) }

func (b *Bulk[T]) add(kind bulkKind, op string, err error, size int, model mongo.WriteModel) *Bulk[T] {
	index := len(b.items)
	if err != nil {
		b.errs = append(b.errs, invalidf("write %d (%s): %v", index, op, err))
	}
	b.items = append(b.items, bulkItem{index: index, kind: kind, op: op, size: size + operationOverhead, model: model})
	return b
}

// Insert adds documents to insert.
func (b *Bulk[T]) Insert(documents ...T) *Bulk[T] {
	for _, d := range documents {
		b.add(bulkInsert, "insert", nil, encodedSize(d), mongo.NewInsertOneModel().SetDocument(d))
	}
	return b
}

// UpdateOne adds an update of one document.
func (b *Bulk[T]) UpdateOne(filter Filter, update Update, o ...UpdateOptions) *Bulk[T] {
	f, u, err := buildUpdate(filter, update)
	opts := first(o)
	m := mongo.NewUpdateOneModel().SetFilter(f).SetUpdate(u).SetUpsert(opts.Upsert)
	if af := update.arrayFilters(); af != nil {
		m.SetArrayFilters(af)
	}
	if opts.Hint != "" {
		m.SetHint(opts.Hint)
	}
	if opts.Collation != nil {
		m.SetCollation(opts.Collation)
	}
	return b.add(bulkUpdateOne, "update one", err, encodedSize(f)+encodedSize(u), m)
}

// UpdateMany adds an update of all documents that match.
func (b *Bulk[T]) UpdateMany(filter Filter, update Update, o ...UpdateOptions) *Bulk[T] {
	f, u, err := buildUpdate(filter, update)
	if _, lax := filter.deliberate(); err == nil {
		err = lax
	}
	opts := first(o)
	m := mongo.NewUpdateManyModel().SetFilter(f).SetUpdate(u).SetUpsert(opts.Upsert)
	if af := update.arrayFilters(); af != nil {
		m.SetArrayFilters(af)
	}
	if opts.Hint != "" {
		m.SetHint(opts.Hint)
	}
	if opts.Collation != nil {
		m.SetCollation(opts.Collation)
	}
	return b.add(bulkUpdateMany, "update many", err, encodedSize(f)+encodedSize(u), m)
}

// Replace adds a replacement of one document.
func (b *Bulk[T]) Replace(filter Filter, document T, o ...UpdateOptions) *Bulk[T] {
	f, err := filter.Build()
	opts := first(o)
	m := mongo.NewReplaceOneModel().SetFilter(f).SetReplacement(document).SetUpsert(opts.Upsert)
	if opts.Hint != "" {
		m.SetHint(opts.Hint)
	}
	if opts.Collation != nil {
		m.SetCollation(opts.Collation)
	}
	return b.add(bulkUpdateOne, "replace", err, encodedSize(f)+encodedSize(document), m)
}

// DeleteOne adds a deletion of one document.
func (b *Bulk[T]) DeleteOne(filter Filter) *Bulk[T] {
	f, err := filter.Build()
	return b.add(bulkDeleteOne, "delete one", err, encodedSize(f), mongo.NewDeleteOneModel().SetFilter(f))
}

// DeleteMany adds a deletion of all documents that match.
func (b *Bulk[T]) DeleteMany(filter Filter) *Bulk[T] {
	f, err := filter.deliberate()
	return b.add(bulkDeleteMany, "delete many", err, encodedSize(f), mongo.NewDeleteManyModel().SetFilter(f))
}

// encodedSize is the size of a document as the driver encodes it by default, to
// decide where to split; with other options of the client it is an estimate. What can't be
// encoded is left to the driver, whose error names the reason.
func encodedSize(v any) int {
	switch x := v.(type) {
	case bson.Raw:
		return len(x)
	case bson.A: // an update by pipeline
		v = bson.D{{Key: "u", Value: x}}
	}
	raw, err := bson.Marshal(v)
	if err != nil {
		return 0
	}
	return len(raw)
}

// A BulkResult counts what a Bulk did.
type BulkResult struct {
	Inserted, Matched, Modified, Deleted, Upserted int64
	// UpsertedIDs are the _ids of inserted documents by the index of their write.
	UpsertedIDs map[int]any
}

// Run sends the writes, split into as few commands as the server's limits
// allow. If some failed, the error is (or wraps) a *BulkError that names them by
// their index in the Bulk, and the result counts the others. An empty Bulk does nothing.
func (b *Bulk[T]) Run(ctx context.Context) (BulkResult, error) {
	const op = "bulk write"
	if len(b.errs) > 0 {
		return BulkResult{}, writeError(op, b.coll.coll, joinInvalid(b.errs))
	}
	r := bulkRun{result: BulkResult{UpsertedIDs: map[int]any{}}}
	for _, chunk := range b.chunks() {
		if r.stopped || ctx.Err() != nil {
			r.skip(chunk)
			continue
		}
		models := make([]mongo.WriteModel, len(chunk))
		for i, item := range chunk {
			models[i] = item.model
		}
		opts := options.BulkWrite().SetOrdered(!b.unordered)
		if b.comment != "" {
			opts.SetComment(b.comment)
		}
		done, err := b.coll.coll.BulkWrite(ctx, models, opts)
		r.add(chunk, done, err, !b.unordered)
	}
	return r.result, b.failure(op, r, ctx.Err())
}

func (b *Bulk[T]) failure(op string, r bulkRun, cause error) error {
	e := r.failed
	if len(e.Items) == 0 && len(e.Unknown) == 0 && len(e.NotAttempted) == 0 && e.WriteConcern == nil {
		return nil
	}
	slices.SortFunc(e.Items, func(x, y ItemError) int { return x.Index - y.Index })
	slices.Sort(e.Unknown)
	slices.Sort(e.NotAttempted)
	e.Result, e.cause = r.result, cause
	return &Error{Op: op, Collection: namespace(b.coll.coll), Err: &e, kinds: e.kinds()}
}

// chunks splits the writes into runs of one kind within the limits. A document
// that is over the limit by itself gets a chunk of its own, so that its failure is its alone.
func (b *Bulk[T]) chunks() [][]bulkItem {
	items := b.items
	if b.unordered {
		items = slices.Clone(items)
		slices.SortStableFunc(items, func(x, y bulkItem) int { return int(x.kind) - int(y.kind) })
	}
	var chunks [][]bulkItem
	start, bytes := 0, 0
	for i, item := range items {
		full := i-start >= b.maxOps || bytes+item.size > b.maxBytes
		alone := item.size > maxDocument || i > start && items[i-1].size > maxDocument
		if i > start && (full || alone || items[i-1].kind != item.kind) {
			chunks = append(chunks, items[start:i])
			start, bytes = i, 0
		}
		bytes += item.size
	}
	if start < len(items) {
		chunks = append(chunks, items[start:])
	}
	return chunks
}

// maxDocument is the server's limit on one document, in bytes.
const maxDocument = 16 * 1024 * 1024

type bulkRun struct {
	result  BulkResult
	failed  BulkError
	stopped bool
}

func (r *bulkRun) skip(chunk []bulkItem) {
	for _, item := range chunk {
		r.failed.NotAttempted = append(r.failed.NotAttempted, item.index)
	}
}

// add takes in what the driver says of one chunk.
func (r *bulkRun) add(chunk []bulkItem, done *mongo.BulkWriteResult, err error, ordered bool) {
	if done != nil {
		r.result.Inserted += done.InsertedCount
		r.result.Matched += done.MatchedCount
		r.result.Modified += done.ModifiedCount
		r.result.Deleted += done.DeletedCount
		r.result.Upserted += done.UpsertedCount
		for i, id := range done.UpsertedIDs {
			if int(i) < len(chunk) {
				r.result.UpsertedIDs[chunk[i].index] = id
			}
		}
	}
	if err == nil {
		return
	}
	var partial mongo.BulkWriteException
	if !errors.As(err, &partial) {
		r.whole(chunk, err)
		r.stopped = ordered
		return
	}
	if partial.WriteConcernError != nil {
		r.failed.WriteConcern = *partial.WriteConcernError
	}
	for _, we := range partial.WriteErrors {
		if we.Index < 0 || we.Index >= len(chunk) {
			continue
		}
		item := chunk[we.Index]
		r.failed.Items = append(r.failed.Items, ItemError{Index: item.index, Op: item.op, Code: we.Code, Err: we.WriteError})
		if ordered {
			r.skip(chunk[we.Index+1:])
			r.stopped = true
		}
	}
}

// whole notes an error that is about no single write.
func (r *bulkRun) whole(chunk []bulkItem, err error) {
	unknown := outcomeUnknown(err)
	for _, item := range chunk {
		if unknown {
			r.failed.Unknown = append(r.failed.Unknown, item.index)
			r.failed.unknownCause = err
			continue
		}
		code := 0
		var server mongo.ServerError
		if errors.As(err, &server) && len(server.ErrorCodes()) > 0 {
			code = server.ErrorCodes()[0]
		}
		r.failed.Items = append(r.failed.Items, ItemError{Index: item.index, Op: item.op, Code: code, Err: err})
	}
}
