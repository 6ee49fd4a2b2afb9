// Package match decides whether documents satisfy a filter of the MongoDB
// query language.
//
// Parse checks a filter once, with the refusals of a real server, and builds a
// tree of predicates; Match then walks the raw bytes of a document. Nothing is
// decoded, and a filter without $expr matches without allocating.
//
// Arrays are traversed as the server does it: a path that meets an array looks
// at every element that is a document, a numeric component names a position
// and a field alike, and a leaf array is tried element by element and then as
// a whole.
//
// A Filter is immutable and safe for concurrent use. It keeps references into
// the filter document it was parsed from, which must not change.
package match
