// Package aggregate runs commands against state that is folded from a stream of
// events.
//
// There are two ways to write an aggregate, and one [Repository] for both. A
// [Decider] is three functions: the initial state, what a command decides, and
// how an event changes the state. A root is a struct that embeds [Root] and has
// methods which record events; [FromRoot] makes a decider of it.
//
// [Repository.Run] loads the state, decides, appends what was decided where it
// was decided, and starts again when somebody else was faster. An append whose
// outcome is unknown is made again with the same event ids, so it is never
// doubled. With a command id ([WithCommandID]) the same holds for the command as
// a whole, over a crash of the caller.
//
// Loading is shortened by snapshots (package snapshot) and by a cache of states,
// which reads only what was appended since.
package aggregate
