// Package projectiontest tests projections and what they run on.
//
// [Backend] holds an implementation of [projection.Backend] to its contract;
// [CheckpointStore], [LeaseStore], [Documents], [Commits], [DeadLetters] and
// [Rows] are its parts. [Crash] lets workers on a backend die in every way while
// events are written, and compares what they leave with the fold of the log.
//
// [Idempotent] checks that a projection with handlers of its own kind bears to
// get events again.
package projectiontest
