// Package update changes documents as a MongoDB server's update command does:
// with field operators, with a replacement, or with a pipeline.
//
// Parse checks an update once, with the refusals of a real server. Apply
// changes one document and tells besides what a change stream reports about
// it; Upsert builds the document to insert where none matched.
//
// Operators of one update are applied in the order of their paths, component
// by component and byte by byte, which decides the order of new fields.
//
// An Update is immutable and safe for concurrent use. It keeps references into
// the documents it was parsed from, which must not change.
package update
