// Package projection turns the log of an event store into read models and other
// effects.
//
// A [Projection] is a name, a version and handlers by event type; the handlers
// are its subscription filter. A [Runner] takes batches from the log, behind the
// projection's checkpoint and then live, hands each event to its handler, saves
// the checkpoint, retries what fails, and tells how far it has got. Because the
// log's positions are dense and stable, the checkpoint is one integer, and a
// rebuild sees exactly what live readers saw.
//
// Handlers get each event at least once: after a crash those behind the last
// checkpoint come again, in the same order. What they do must bear that;
// package projectiontest has a helper that checks it.
package projection
