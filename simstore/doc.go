// Package simstore is an event store in memory, for tests and for trying things
// out. It keeps the contract of package eventstore in full, and what it stores
// are encoded bytes: what MongoDB would refuse, it refuses.
//
//	store := simstore.New(simstore.Config{})
//	defer store.Close()
//
// One [Store] is an [eventstore.EventStore], an [eventstore.Streams] and a
// [projection.Backend]; [Store.Snapshots] gives the [snapshot.Store] that goes
// with it.
//
// # Faults
//
// [Store.Inject] makes operations fail, hang or be late, by rule or by seed, so
// that a program's own retries can be tested: conflicts, an unavailable store,
// appends whose outcome is unknown, reads that break off in the middle. With
// [Config.LogDelay] or [Store.HoldLog] the log lags behind the streams, as it
// does on a distributed store.
//
// # Time
//
// The store reads no clock but [Config.Clock], and starts no goroutines of its own.
// With [Config.LogDelay] each append sets a timer, whose goroutine runs for a moment
// when the log catches up, also after Close. All of it works in the bubbles of
// testing/synctest.
//
// # What it is not
//
// Nothing is kept on disk and nothing is freed: events, and the ids of appends,
// live as long as the store.
package simstore
