package query

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// An UpdateResult tells what an update did.
type UpdateResult struct {
	// Matched counts the documents that the filter found, Modified those that changed.
	Matched, Modified int64
	// UpsertedID is the _id of an inserted document, nil if there was none.
	UpsertedID any
}

// UpdateOptions are options of writes. The zero value works.
type UpdateOptions struct {
	// Upsert inserts a document if none matches.
	Upsert bool
	// Hint is the name of the index to use; empty: the server chooses.
	Hint string
	// Collation are the rules by which strings compare; nil: those of the collection.
	Collation *options.Collation
	// Comment is found in the server's log and profiler.
	Comment string
}

// InsertOne inserts a document and returns its _id. It fails with ErrDuplicate
// if the _id or another unique key is taken.
func (c *Collection[T]) InsertOne(ctx context.Context, document T) (any, error) {
	r, err := c.coll.InsertOne(ctx, document)
	if err != nil {
		return nil, writeError("insert", c.coll, err)
	}
	return r.InsertedID, nil
}

// UpdateOne changes one document that matches.
func (c *Collection[T]) UpdateOne(ctx context.Context, filter Filter, update Update, o ...UpdateOptions) (UpdateResult, error) {
	r, err := c.updateOne(ctx, filter, update, first(o))
	return r, writeError("update one", c.coll, err)
}

func first(o []UpdateOptions) UpdateOptions {
	if len(o) == 0 {
		return UpdateOptions{}
	}
	return o[0]
}

func (c *Collection[T]) updateOne(ctx context.Context, filter Filter, update Update, o UpdateOptions) (UpdateResult, error) {
	f, u, err := buildUpdate(filter, update)
	if err != nil {
		return UpdateResult{}, err
	}
	opts := options.UpdateOne().SetUpsert(o.Upsert)
	if af := update.arrayFilters(); af != nil {
		opts.SetArrayFilters(af)
	}
	if o.Hint != "" {
		opts.SetHint(o.Hint)
	}
	if o.Collation != nil {
		opts.SetCollation(o.Collation)
	}
	if o.Comment != "" {
		opts.SetComment(o.Comment)
	}
	return updated(upsert(ctx, o.Upsert, func() (*mongo.UpdateResult, error) { return c.coll.UpdateOne(ctx, f, u, opts) }))
}

// upsert repeats an upsert once when a unique index refused it: somebody else
// inserted the document between the server's look and its insert, and this time it is found.
// Within a session the error may have ended a transaction, so it is left to its owner.
func upsert(ctx context.Context, isUpsert bool, do func() (*mongo.UpdateResult, error)) (*mongo.UpdateResult, error) {
	r, err := do()
	if isUpsert && mongo.IsDuplicateKeyError(err) && mongo.SessionFromContext(ctx) == nil {
		return do()
	}
	return r, err
}

// UpdateMany changes all documents that match. Neither the driver nor this
// package repeats it: after an error that matches ErrOutcomeUnknown some of
// the documents may have been changed. To change all documents say Everything(): a filter
// without conditions is taken for a mistake.
func (c *Collection[T]) UpdateMany(ctx context.Context, filter Filter, update Update, o ...UpdateOptions) (UpdateResult, error) {
	r, err := c.updateMany(ctx, filter, update, first(o))
	return r, writeError("update many", c.coll, err)
}

func (c *Collection[T]) updateMany(ctx context.Context, filter Filter, update Update, o UpdateOptions) (UpdateResult, error) {
	if _, err := filter.deliberate(); err != nil {
		return UpdateResult{}, err
	}
	f, u, err := buildUpdate(filter, update)
	if err != nil {
		return UpdateResult{}, err
	}
	opts := options.UpdateMany().SetUpsert(o.Upsert)
	if af := update.arrayFilters(); af != nil {
		opts.SetArrayFilters(af)
	}
	if o.Hint != "" {
		opts.SetHint(o.Hint)
	}
	if o.Collation != nil {
		opts.SetCollation(o.Collation)
	}
	if o.Comment != "" {
		opts.SetComment(o.Comment)
	}
	return updated(c.coll.UpdateMany(ctx, f, u, opts))
}

// deliberate builds a filter for a write to many documents.
func (f Filter) deliberate() (bson.D, error) {
	if f.kind == kindEverything && !f.explicit {
		return nil, invalidf("the filter has no conditions: say query.Everything() if all documents are meant")
	}
	return f.Build()
}

func buildUpdate(filter Filter, update Update) (bson.D, any, error) {
	f, ferr := filter.Build()
	u, uerr := update.Build()
	return f, u, errors.Join(ferr, uerr)
}

func updated(r *mongo.UpdateResult, err error) (UpdateResult, error) {
	if r == nil {
		return UpdateResult{}, err
	}
	return UpdateResult{Matched: r.MatchedCount, Modified: r.ModifiedCount, UpsertedID: r.UpsertedID}, err
}

// ReplaceOne puts a document in the place of one that matches.
func (c *Collection[T]) ReplaceOne(ctx context.Context, filter Filter, document T, o ...UpdateOptions) (UpdateResult, error) {
	r, err := c.replaceOne(ctx, filter, document, first(o))
	return r, writeError("replace", c.coll, err)
}

func (c *Collection[T]) replaceOne(ctx context.Context, filter Filter, document T, o UpdateOptions) (UpdateResult, error) {
	f, err := filter.Build()
	if err != nil {
		return UpdateResult{}, err
	}
	opts := options.Replace().SetUpsert(o.Upsert)
	if o.Hint != "" {
		opts.SetHint(o.Hint)
	}
	if o.Collation != nil {
		opts.SetCollation(o.Collation)
	}
	if o.Comment != "" {
		opts.SetComment(o.Comment)
	}
	return updated(upsert(ctx, o.Upsert, func() (*mongo.UpdateResult, error) { return c.coll.ReplaceOne(ctx, f, document, opts) }))
}

// DeleteOne deletes one document that matches and reports whether there was one.
func (c *Collection[T]) DeleteOne(ctx context.Context, filter Filter) (bool, error) {
	f, err := filter.Build()
	if err != nil {
		return false, writeError("delete one", c.coll, err)
	}
	r, err := c.coll.DeleteOne(ctx, f)
	if err != nil {
		return false, writeError("delete one", c.coll, err)
	}
	return r.DeletedCount > 0, nil
}

// DeleteMany deletes all documents that match and returns how many there were.
// To empty a collection say Everything(): a filter without conditions is taken
// for a mistake. Like UpdateMany it is never repeated.
func (c *Collection[T]) DeleteMany(ctx context.Context, filter Filter) (int64, error) {
	f, err := filter.deliberate()
	if err != nil {
		return 0, writeError("delete many", c.coll, err)
	}
	r, err := c.coll.DeleteMany(ctx, f)
	if err != nil {
		return 0, writeError("delete many", c.coll, err)
	}
	return r.DeletedCount, nil
}

// Which says which version of a document FindAndUpdate returns.
type Which bool

const (
	// Before is the document as it was.
	Before Which = false
	// After is the document as it is now.
	After Which = true
)

// FindAndUpdate changes the first document of the find's filter and order and
// returns it, as it was or as it is now, in the find's projection. It fails with
// ErrNotFound if none matches; with an upsert, only Before can.
func (f Find[T]) FindAndUpdate(ctx context.Context, update Update, which Which, o ...UpdateOptions) (doc T, _ error) {
	b, err := f.build()
	u, uerr := update.Build()
	if err := errors.Join(err, uerr); err != nil {
		return doc, writeError("find and update", f.coll.coll, err)
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	opts := options.FindOneAndUpdate().SetReturnDocument(which.driver()).SetUpsert(first(o).Upsert)
	if af := update.arrayFilters(); af != nil {
		opts.SetArrayFilters(af)
	}
	if b.sort != nil {
		opts.SetSort(b.sort)
	}
	if b.projection != nil {
		opts.SetProjection(b.projection)
	}
	if f.spec.hint != nil {
		opts.SetHint(f.spec.hint)
	}
	if f.spec.collation != nil {
		opts.SetCollation(f.spec.collation)
	}
	if f.spec.comment != "" {
		opts.SetComment(f.spec.comment)
	}
	err = f.coll.coll.FindOneAndUpdate(ctx, b.filter, u, opts).Decode(&doc)
	return doc, writeError("find and update", f.coll.coll, err)
}

// FindAndDelete deletes the first document of the find's filter and order and
// returns it; ErrNotFound if none matches.
func (f Find[T]) FindAndDelete(ctx context.Context) (doc T, _ error) {
	b, err := f.build()
	if err != nil {
		return doc, writeError("find and delete", f.coll.coll, err)
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	opts := options.FindOneAndDelete()
	if b.sort != nil {
		opts.SetSort(b.sort)
	}
	if b.projection != nil {
		opts.SetProjection(b.projection)
	}
	if f.spec.hint != nil {
		opts.SetHint(f.spec.hint)
	}
	if f.spec.collation != nil {
		opts.SetCollation(f.spec.collation)
	}
	if f.spec.comment != "" {
		opts.SetComment(f.spec.comment)
	}
	err = f.coll.coll.FindOneAndDelete(ctx, b.filter, opts).Decode(&doc)
	return doc, writeError("find and delete", f.coll.coll, err)
}

func (w Which) driver() options.ReturnDocument {
	if w == After {
		return options.After
	}
	return options.Before
}
