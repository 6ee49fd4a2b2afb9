package query

// SetBulkLimits makes chunks small enough to be seen in a test.
func SetBulkLimits[T any](b *Bulk[T], ops, bytes int) *Bulk[T] {
	b.maxOps, b.maxBytes = ops, bytes
	return b
}
