// Package eventstore is the contract of an event store: streams of events
// appended with optimistic concurrency, and one log of all of them.
//
// # Streams
//
// A stream is named "category-key" ([StreamID]). Its first event has version 1
// and its versions have no gaps, ever; version 0 means "no events". An append
// says which version it expects the stream to have ([ExpectedVersion]) and is a
// [*ConflictError] when the stream has another. A store never makes a gap:
// Exact(5) on a stream at version 3 is a conflict too.
//
// An append is all or nothing, also over several streams at once, including
// streams that are only checked and not written. It either happened, or did not
// ([ErrNotWritten]), or its outcome is unknown ([ErrOutcomeUnknown]); the three
// are never confused. Appending the same event ids at the same place again
// returns the first result, marked as a duplicate, so that an append of unknown
// outcome is simply made again.
//
// # The log
//
// Every committed event gets a [Position] in the log: dense from 1, given after
// the commit, never changed. No reader ever sees n+1 and later n, and events of
// one stream stand in version order. So a checkpoint is one integer, "applied up
// to n" means all of 1..n, and a rebuild sees what live readers saw.
//
// The log may lag behind the streams. [Log.Await] turns the token of an append
// into the position at which the log includes it.
//
// # What it is not
//
// The contract knows no aggregates, projections or snapshots; they are built on
// it by the packages of those names. Payloads are encoded: [Registry] turns Go
// values into events and back, and brings old schemas up to date on the way.
//
// Stores: simstore (in memory, for tests) and mongostore (MongoDB). The suite
// in eventstore/eventstoretest holds any store to this contract.
package eventstore
