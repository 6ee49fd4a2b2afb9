// Package value works on BSON values where they lie: it compares, orders,
// builds and calculates with bson.RawValue and bson.Raw without decoding
// documents into Go values.
//
// A missing value is the zero RawValue (its Type is 0). Buffers are immutable:
// whatever this package returns may share memory with what it was given, so
// nobody writes into a document or value once it exists.
//
// Malformed bytes never make the package panic: a value that runs over its
// buffer ends the document it stands in.
package value
