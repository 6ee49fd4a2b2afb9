// Package mongostore keeps events, snapshots, checkpoints and leases in MongoDB.
//
// [Store] implements the contract of eventstore on mongo-driver v2 and MongoDB
// 4.4 or newer, as a replica set or sharded. [Migrate] makes its collections and
// indexes, [Open] checks them.
//
// # How it works
//
// The unique index on (stream_id, version) of the events collection is the
// concurrency control. A single event is one insert; several events, or several
// streams, are one transaction. Appends that wait while others are being written
// go out together.
//
// The log is written after the commit, by whichever process holds the
// sequencer's lease: it tails the change stream of events and inserts batches of
// entries into the collection log, at the next position. Two sequencers at once
// are harmless, since only one of them can insert at a position. A store becomes
// a candidate for it when its log is first used.
//
// # Guarantees
//
// Everything is written with write concern majority and read with read concern
// majority from the primary, so what was read cannot be rolled back. Reads of a
// store see its own writes, also across a failover. docs/mongodb.md describes
// what is stored and what happens under each failure.
package mongostore
