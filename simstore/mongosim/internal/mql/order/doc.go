// Package order sorts documents by a sort specification as a MongoDB server
// does.
//
// A document sorts by the key that an index on the same fields would hold for
// it: a missing field counts as null, an array as its least element in the
// direction of the sort, an empty one as less than null. With several fields
// the least combination counts, and two fields must not run through different
// arrays.
//
// Keys are computed once per document, as bytes that compare like the values
// they stand for.
package order
