package query

import "go.mongodb.org/mongo-driver/v2/bson"

// SetBulkLimits makes chunks small enough to be seen in a test.
func SetBulkLimits[T any](b *Bulk[T], ops, bytes int) *Bulk[T] {
	b.maxOps, b.maxBytes = ops, bytes
	return b
}

// BuildTogether is Filter.Build without its short way for conditions that are apart.
func BuildTogether(f Filter) (bson.D, error) { return packTogether(f.subs()) }
