// Package command answers MongoDB's commands.
//
// An [Engine] is one node: its collections, sessions, cursors, fail points and
// its place in a replica set of one. [Engine.Handle] takes a request through the
// checks that every command shares, in the server's order (session, fail point, database, primary,
// time limit, read and write concern, transaction), then runs the command, then
// completes the reply with labels, operationTime and $clusterTime.
//
// A command is one entry of the table in table.go and one function, in the file
// of its family. What an entry does not allow (transactions, secondaries, write
// concerns, unknown fields) is refused before the function runs, so the function
// deals with its own fields only.
package command
