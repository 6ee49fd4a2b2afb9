// Package storage keeps mongosim's data: databases and collections of BSON
// documents in memory, each document with as many versions as open snapshots
// need, indexes over them, a planner that picks an index for a query, and the
// oplog that change streams follow.
//
// # Guarantees
//
//   - A write of one document is atomic. A transaction is atomic over all it
//     wrote and reads from one snapshot plus its own writes.
//   - Every committed write has a Timestamp; timestamps grow strictly and the
//     oplog holds the writes in that order.
//   - Two transactions never both change a document, or a unique key, that one
//     of them does not see: the later one gets WriteConflict (112), labelled
//     TransientTransactionError. A plain write waits for the open transaction
//     instead, without holding a lock, as long as its context allows.
//   - A cursor sees each document at most once unless a concurrent write moves
//     it along the index that is being read, as on the real server.
//
// # What it is not
//
// Nothing is durable and nothing is replicated. Collations are not supported.
//
// # Ownership
//
// Insert copies the documents it is given. Update functions hand over the
// document they return. Documents that are read must not be changed: they are
// the stored bytes.
//
// # Locks
//
// In the order in which they may be taken: the catalog's, a transaction's, a
// collection's, the commit section. None is held while waiting for anything
// but the next of them.
package storage
