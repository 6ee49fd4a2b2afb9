// Package projectiontest tests projections and what they run on:
// [CheckpointStore] and [LeaseStore] hold an implementation to its contract, and
// [Idempotent] checks that a projection bears to get events again.
package projectiontest
