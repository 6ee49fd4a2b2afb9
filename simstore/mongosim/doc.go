// Package mongosim is a MongoDB server for tests: in pure Go, in the test's own
// process, reached by the real driver over the real protocol. It answers as a
// replica set of one node does, with transactions, sessions, retryable writes,
// indexes, aggregation and change streams, and it fails on demand.
//
//	func TestOrders(t *testing.T) {
//		client := mongosim.Start(t).Client(t)
//		...
//	}
//
// [Start] serves a test through in-memory pipes, without a port, and closes with
// it. [New] makes a server whose owner closes it; [Server.Listen] serves it over TCP
// as well, for other processes.
//
// It is a test double and no database: nothing is durable, nothing is
// distributed, and everything is kept in memory. It does what a MongoDB 4.4 server
// answered when it was asked; what it does not do it refuses, rather than doing
// something else. See docs/mongosim.md for the list.
//
// # Failures
//
// A test provokes what production rarely shows: [Server.FailCommand] makes commands fail, be
// slow, or lose their connection or their reply, [Server.StepDown] makes the node a
// secondary, [Server.DropConnections] hangs up on every client, [Server.TruncateOplog] makes
// change streams lose their history. Clients that know the real server's failCommand
// may use configureFailPoint instead.
//
// # Concurrency
//
// All methods of a Server may be called from any goroutine at any time.
package mongosim
