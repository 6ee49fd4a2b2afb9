// Package project shapes documents by the projection of a find, as a MongoDB
// server does: fields included or excluded, computed by expressions, parts of
// arrays chosen by $slice, $elemMatch or the positional operator.
//
// Parse checks a projection once, with the refusals of a real server. A
// Projection is immutable and safe for concurrent use.
package project
