// Package projection turns the log of an event store into read models and other
// effects.
//
// What is to be done is a [Definition]:
//
//   - A [Fold] is a read model: pure functions from a document and an event to
//     the document. Documents and checkpoint are written in one step, so every
//     event counts exactly once.
//   - A [Projection] has handlers of any kind, which get each event at least once.
//   - A [Publisher] hands events on, as to a broker, at least once.
//   - A process manager is in package process.
//
// A [Worker] runs definitions, together with the workers of other processes: the
// keys are divided into partitions, each leased to one worker at a time. An event
// that cannot be handled is parked with what follows for its key while all others
// flow. A [Control] steers all that from any process, and waits until a caller can
// read its own writes. A new version of a definition is built beside the old one
// and replaces it when it has caught up; a [Resolver] tells readers which is the
// current one.
//
// Where all is kept is a [Backend], in one database. Package projectiontest holds
// a backend to its contract.
//
// Two things need no backend: a [Runner] runs one [Projection] in one process, with
// nothing but a checkpoint, and a [LiveView] folds events when it is read.
//
// Because the log's positions are dense and stable, a checkpoint is one integer,
// and a rebuild sees exactly what live readers saw.
package projection
