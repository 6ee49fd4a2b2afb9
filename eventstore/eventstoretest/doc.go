// Package eventstoretest holds event stores to their contract. Any store, or
// wrapper of one, runs the suite:
//
//	func TestStore(t *testing.T) {
//		eventstoretest.Run(t, func(t testing.TB) eventstoretest.Store {
//			store := simstore.New(simstore.Config{})
//			return eventstoretest.Store{EventStore: store, Streams: store, Close: store.Close}
//		})
//	}
//
// What the suite asks for is what the documentation of package eventstore
// promises, and each sub-test is named after a promise: Append, Idempotence,
// Atomicity, Read, Log, Wait, Event, Names, Limits, Streams, Lifecycle,
// Concurrency, Random. A store whose log lags behind its streams passes.
//
// [History] is the judge of the concurrent tests. Programs that torture a store
// for longer, or kill it, can use it by themselves.
//
// The package is for tests and imports testing.
package eventstoretest
