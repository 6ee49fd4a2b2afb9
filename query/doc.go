// Package query reads and writes the documents of a MongoDB collection through the
// official driver: filters, finds, pages, pipelines, updates, bulk writes and
// repositories, all as immutable values that are checked before anything is sent.
//
//	orders := query.From[Order](db.Collection("orders"))
//	page, err := orders.
//		Find(query.Eq("status", "paid").And(query.Gte("total", 100))).
//		Sort(query.Desc("placed_at")).
//		Keyset(ctx, query.Keyset{Cursors: cursors, Cursor: r.FormValue("cursor")})
//
// # What it guarantees
//
// Values are data. A document, a map or a regular expression given as a value is
// compared, stored or returned as it is and never read as an operator, in
// filters, updates and pipelines alike. Names of fields, variables and
// collections are checked. Server-side JavaScript ($where, $function,
// $accumulator) is not offered. What this package doesn't know yet is written with
// Unchecked, Pipeline.Stage and the like, which are for programmers and not for
// input from outside; package urlfilter is for that.
//
// Everything a filter, an update, a pipeline or a find gets wrong comes back at
// once, from Build or from the operation that uses it, as an error that matches
// ErrInvalid; no server has been asked then. All other errors name the operation and
// the collection, hold the driver's error, and match ErrNotFound, ErrConflict,
// ErrDuplicate, ErrTimeout or ErrOutcomeUnknown. A write that failed without
// ErrOutcomeUnknown was not done.
//
// Streams are iterators; breaking out of one frees its cursor and its goroutine.
// Nothing else in the package runs in the background, and nothing needs closing.
//
// # What is repeated
//
// The driver repeats reads and writes of single documents once. This package
// repeats reads further, see Retry, and upserts that lost a race for their key.
// Nobody repeats UpdateMany, DeleteMany, Out and Merge, or the fetching of
// further batches. docs/queries.md has the whole list.
//
// # Typed fields
//
// FieldOf makes a Field out of a Go struct field, found by its address, so that a
// renamed or retyped struct field breaks the build. The command querygen
// writes such fields for whole structs.
//
// # What it is not
//
// It maps no relations, keeps no cache and no identity map, makes no indexes and
// no migrations. The driver's collection is one call away (Collection.Mongo).
package query
