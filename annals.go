// Package annals is the root of Annals, event sourcing for Go on MongoDB. It
// holds no code; start with one of these:
//
//   - eventstore: the contract: streams, versions, the log, events and their
//     types.
//   - aggregate: run commands on state folded from events.
//   - projection: turn events into read models.
//   - query: filters, pages and pipelines over read models on MongoDB.
//   - mongostore: the store on MongoDB.
//   - simstore: the store in memory, for tests; simstore/mongosim is a MongoDB
//     server in memory, for tests of everything that talks to one.
package annals
