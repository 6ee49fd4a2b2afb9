package pipeline

import (
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
)

// A Namespace names a collection; Coll is empty for a pipeline that runs on a
// database ({aggregate: 1}).
type Namespace struct {
	DB, Coll string
}

// String joins the two with a dot, as the server does.
func (n Namespace) String() string { return n.DB + "." + n.Coll }

// A Host is the server around a pipeline: what its stages read from and write
// to besides the documents that flow in. Its methods are called from the
// goroutine that ranges over Run's result, within that command's session and
// transaction. Errors should be *mongoerr.Error; they reach the client as
// they are. Documents that it yields are never written to.
type Host interface {
	// Scan yields the documents of a collection that match the filter, in
	// natural order; nil matches all. A collection that doesn't exist is empty.
	Scan(ctx context.Context, ns Namespace, f *match.Filter) iter.Seq2[bson.Raw, error]

	// CollStats answers the $collStats stage, whose argument is spec.
	CollStats(ctx context.Context, ns Namespace, spec bson.Raw) (bson.Raw, error)

	// IndexStats yields a document for each index, for $indexStats.
	IndexStats(ctx context.Context, ns Namespace) iter.Seq2[bson.Raw, error]

	// Exists tells whether the collection exists.
	Exists(ctx context.Context, ns Namespace) (bool, error)

	// UniqueOn tells whether a unique, non-partial index has exactly these
	// fields in any order, as $merge asks of its "on".
	UniqueOn(ctx context.Context, ns Namespace, fields []string) (bool, error)

	// Replace makes docs the whole contents of the collection, all at once or,
	// when docs yields an error, not at all. Indexes are kept. It is $out.
	Replace(ctx context.Context, ns Namespace, docs iter.Seq2[bson.Raw, error]) error

	// Insert inserts a document; one without _id gets an ObjectId.
	Insert(ctx context.Context, ns Namespace, doc bson.Raw) error

	// Update changes at most one document and tells how many matched.
	Update(ctx context.Context, ns Namespace, u Update) (matched int, err error)
}

// An Update is what $merge asks of its target.
type Update struct {
	Filter bson.Raw
	Change bson.RawValue // a replacement, operators, or the array of a pipeline
	Let    bson.Raw      // variables for a pipeline
	Upsert bool          // insert when nothing matches
	Insert bson.Raw      // with Upsert: what to insert (upsertSupplied); nil means what Change makes of the filter
}
