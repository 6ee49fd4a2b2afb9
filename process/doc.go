// Package process runs process managers: what reacts to events of many streams
// with commands, remembers how far each case has got, and does something when an
// answer does not come in time.
//
// A [Manager] has a state of type S for each correlation key, such as the id of an
// order. Events change the state, send commands and set timers; a timer that runs
// out does the same. State, commands and timers of an event are written in one
// step with the checkpoint, so an event counts exactly once, whatever crashes. The
// commands are sent after that, at least once, each with an id that is the same
// whenever it is sent: what carries it out does so once by using the id as that of
// its append ([eventstore.AppendRequest], aggregate's WithCommandID).
//
// A manager is run by a [projection.Worker], with partitions, dead letters,
// control and rebuild as everything that workers run.
package process
